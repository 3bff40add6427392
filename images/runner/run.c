// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads in a child process. Whatever becomes of one (a crash in libbpf on a strange object, a
 * deadline, no memory), the next load starts clean, and everything it had loaded and attached goes
 * with its file descriptors.
 *
 * Loads that ask for a verdict and nothing else leave nothing behind that closing the object does not
 * take away: they share a process, which is several times faster under emulation than one for each. Where
 * one of them ends the process, the next has a new one.
 */
#include "runner.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

/*
 * Emulated, a brief load takes a millisecond; so does a packet with its line, and a line in the kernel
 * log a third of that, which goes byte by byte through a UART. So brief loads have both only this often.
 */
#define TOGETHER_US 1000000
#define HEAP_KEPT (8 << 20)
/* The child does not say when it starts the next load, whose deadline may be another. */
#define LOOK_AGAIN_MS 100

/*
 * Where the child is, and what it has not written yet. It writes to our stdout itself, so we have to
 * know this to follow it.
 */
struct progress {
	size_t load;		/* which one */
	int64_t start;		/* since when */
	bool writing;		/* its result: too late for its deadline */
	size_t kept;		/* bytes of text */
	char text[65536];	/* its stdout's buffer */
};
static volatile struct progress *progress;

/*
 * Into the kernel log as well: whatever the kernel says next on its console, it says in this load. Opened
 * each time, because a file of /dev/kmsg takes ten lines in five seconds (kernel/printk/printk.c).
 */
static void log_start(const struct load *load)
{
	FILE *log = fopen("/dev/kmsg", "w");

	if (!log)
		return;
	fprintf(log, "<1>bpfroots: load %.200s\n", load->id);
	fclose(log);
}

void say_start(const struct load *load)
{
	log_start(load);
	emit(json_pack("{s:s, s:s}", "type", "start", "id", load->id));
}

/* It asks for a verdict and nothing else. */
bool load_is_brief(const struct load *load)
{
	return !json_array_size(load->steps) && !load->collect;
}

/* Until its deadline, in microseconds. */
int64_t load_time_left(const struct load *load)
{
	return progress->start + (int64_t)(load->timeout_s * 1e6) - now_us();
}

/* A line ahead of the result, whole: the process is not ended in the middle of it. Takes @line. */
void put_now(json_t *line)
{
	progress->writing = true;
	emit(line);
	progress->writing = false;
}

/* protocol.py's Loaded. Takes what is in @result. */
static json_t *result_json(const struct load *load, const struct result *result)
{
	json_t *json = json_object();
	const struct {
		const char *key;
		json_t *value;
	} parts[] = {
		{ "loads", result->loads }, { "programs", result->programs }, { "runs", result->runs },
		{ "maps", result->maps }, { "costs", result->costs }, { "symbols", result->symbols },
		{ "remarks", result->remarks },
	};
	size_t i;

	set_text(json, "type", "load");
	set_text(json, "id", load->id);
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].value)
			set_value(json, parts[i].key, parts[i].value);
	if (result->error[0])
		set_text(json, "error", result->error);
	set_integer(json, "duration_us", now_us() - progress->start);
	return json;
}

static void run_one(const struct load *load)
{
	struct result result = { .programs = json_array(), .loads = json_array() };
	int err = json_array_size(load->steps) ? cgroup_enter() : 0;

	if (!load_is_brief(load)) {
		result.runs = json_array();
		result.maps = json_array();
		result.costs = json_array();
		result.symbols = json_object();
		result.remarks = json_array();
	}
	if (err)
		fail(&result, "cannot move to the test cgroup: %s", errno_name(err));
	load_object(load, &result);
	progress->writing = true;
	put(result_json(load, &result));
}

/* What libbpf frees it wants again at once, and giving it back and faulting it in takes a tenth of a load. */
static void keep_heap(void)
{
	mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
	mallopt(M_MMAP_THRESHOLD, HEAP_KEPT);
}

/* A report of the kernel's has the name of the process it was in: "load 17". */
static void take_name(size_t nr)
{
	char name[16];

	snprintf(name, sizeof(name), "load %u", (unsigned int)nr);
	prctl(PR_SET_NAME, name);
}

/* Loads of the job from its load @first on. */
static void run_brief(const struct load *loads, size_t nr_loads, size_t first)
{
	int64_t said = 0, now;
	size_t i;

	keep_heap();
	for (i = 0; i < nr_loads; i++) {
		progress->writing = true;
		take_name(first + i);
		/* The clock of an emulated guest is an I/O port. */
		now = now_us();
		if (now - said > TOGETHER_US) {
			say_start(&loads[i]);
			said = now = now_us();
		}
		progress->kept = __fpending(stdout);
		progress->load = i;
		progress->start = now;
		progress->writing = false;
		run_one(&loads[i]);
	}
}

static void child(const struct load *loads, size_t nr_loads, size_t first)
{
	stdout = fdopen(STDOUT_FILENO, "w");
	setvbuf(stdout, (char *)progress->text, _IOFBF, sizeof(progress->text));
	if (load_is_brief(loads)) {
		run_brief(loads, nr_loads, first);
	} else {
		progress->start = now_us();
		run_one(loads);
	}
	fflush(stdout);
}

/* Wait for the child's end, which closes @fd, or for the deadline of the load it is at. */
static void follow(int fd, const struct load *loads)
{
	struct pollfd pollfd = { .fd = fd };

	for (;;) {
		int ready;

		if (!progress->writing && load_time_left(loads + progress->load) <= 0)
			return;
		ready = poll(&pollfd, 1, LOOK_AGAIN_MS);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return;
	}
}

static void emit_error(const struct load *load, const char *error, bool timed_out)
{
	emit(json_pack("{s:s, s:s, s:s, s:b, s:I}", "type", "load", "id", load->id, "error", error, "timed_out",
		       timed_out, "duration_us", (json_int_t)(now_us() - progress->start)));
}

/* The child was ended by @status in the middle of a load. */
static void died(const struct load *load, int status)
{
	const char *signal = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
	bool timed_out = signal && load_time_left(load) <= 0;
	char error[128];

	if (progress->writing) {
		/* In the middle of its line, which no one can read now; nor is this run then done. */
		fprintf(stderr, "%s: its process ended (%s%s) while it wrote its result\n", load->id,
			signal ? "SIG" : "status", signal ?: "");
		exit(1);
	}
	fwrite((const char *)progress->text, 1, progress->kept, stdout);
	if (timed_out)
		snprintf(error, sizeof(error), "timed out after %g s", load->timeout_s);
	else if (signal)
		snprintf(error, sizeof(error), "the runner's process for this load died: SIG%s", signal);
	else
		snprintf(error, sizeof(error), "the runner's process for this load ended without a result");
	emit_error(load, error, timed_out);
}

/* What a program with per-CPU maps returns must not depend on where the scheduler puts us. */
static void stay_on_one_cpu(void)
{
	cpu_set_t cpus;
	int cpu = 0;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return;
	while (cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &cpus))
		cpu++;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* Loads of the job from @first on, brief ones or a single one; how many have come to an end: one at least. */
size_t run_loads(const struct job *job, size_t first, size_t nr_loads)
{
	const struct load *loads = job->loads + first;
	int pipe_fds[2], status;
	pid_t pid;

	if (!progress)
		progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	progress->load = progress->kept = 0;
	progress->start = now_us();
	progress->writing = load_is_brief(loads);
	if (!load_is_brief(loads)) {
		say_start(loads);
		/* Before the fork, so that only the first load pays. */
		features_probe();
		if (loads->collect & (COLLECT_XLATED | COLLECT_JITED))
			symbols_load();
		if (json_array_size(loads->steps))
			cgroup_enter();
	}
	if (pipe(pipe_fds) || (pid = fork()) < 0) {
		emit_error(loads, "cannot start a process for the load", false);
		return 1;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pipe_fds[0]);
		stay_on_one_cpu();
		child(loads, nr_loads, first);
		_exit(0);
	}
	close(pipe_fds[1]);
	follow(pipe_fds[0], loads);
	close(pipe_fds[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (status)
		died(loads + progress->load, status);
	return progress->load + 1;
}
