// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every BPF_PROG_LOAD that libbpf makes, and what the kernel answers. libbpf tells only in words whether the
 * kernel refused a program or was never asked, and does not tell which programs it loads together. So its
 * syscall() comes here (--wrap=syscall in the Makefile).
 *
 * The kernel is asked twice. First for the verdict, with statistics and error messages as its whole log: that
 * is small, and quick however large the program is. Then, where it is wanted, for the whole log, which may take
 * a hundred times as long: within a time limit, into memory that there is, and sent in pieces.
 */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* include/linux/bpf_verifier.h: BPF_LOG_STATS, and BPF_LOG_LEVEL2 with it */
#define LEVEL_NOTES 4
#define LEVEL_WHOLE 6

#define NOTES_SIZE (64U << 10)
#define NOTES_SIZE_MAX (16U << 20)
#define WHOLE_SIZE (256U << 20)
/* Of a log that does not fit: its end. */
#define TAIL_SIZE (1U << 20)
#define CHUNK (48U << 10)
/* What an instruction takes in a log of level 2, with its state and its share of source lines. */
#define BYTES_PER_INSN 128

/* One attempt's loads, in order, and the log buffers by which libbpf tells us whose load it is. */
static struct {
	const struct load *load;
	struct bpf_object *obj;
	struct result *result;
	char *logs;
	size_t log_size, nr_logs;
	struct prog_load *first, *last;
} watched;

long __real_syscall(long nr, ...);

static size_t available_memory(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib << 10;
}

static int ask(union bpf_attr *attr, unsigned int size)
{
	return __real_syscall(__NR_bpf, BPF_PROG_LOAD, attr, size);
}

/* The verdict: as libbpf asks for it, but with a log of our own. Returns as bpf(2). */
static int ask_verdict(const union bpf_attr *asked, unsigned int size, struct prog_load *found)
{
	static char first[NOTES_SIZE];
	size_t notes_size = sizeof(first);
	char *notes = first, *more;
	union bpf_attr attr;
	int got;

	for (;;) {
		attr = *asked;
		attr.log_level = LEVEL_NOTES;
		attr.log_buf = (uintptr_t)notes;
		attr.log_size = notes_size;
		notes[0] = '\0';
		got = ask(&attr, size);
		found->err = got < 0 ? errno : 0;
		if (found->err != ENOSPC || notes_size >= NOTES_SIZE_MAX)
			break;
		/* Not a verdict: the kernel had more to say. */
		more = malloc(notes_size * 16);
		if (!more)
			break;
		if (notes != first)
			free(notes);
		notes = more;
		notes_size *= 16;
	}
	found->notes = strdup(notes);
	if (notes != first)
		free(notes);
	errno = found->err;
	return got;
}

#ifdef HAVE_MULTI_ROOT
/* The roots are where the kernel writes their file descriptors: a second load needs an array of its own. */
static void *copy_roots(union bpf_attr *attr)
{
	size_t size = (size_t)attr->root_cnt * attr->root_rec_size;
	void *copy = size ? malloc(size) : NULL;

	if (copy) {
		memcpy(copy, (void *)(uintptr_t)attr->roots, size);
		attr->roots = (uintptr_t)copy;
	}
	return copy;
}

static const struct bpf_prog_root *root_of(const union bpf_attr *attr, __u32 i)
{
	return (void *)(uintptr_t)(attr->roots + (__u64)i * attr->root_rec_size);
}

static void close_roots(const union bpf_attr *attr)
{
	__u32 i;

	for (i = 0; i < attr->root_cnt; i++)
		close(root_of(attr, i)->fd);
}

static int keep_fds(struct prog_load *found, const union bpf_attr *attr, int got)
{
	__u32 i, nr = attr->root_cnt ?: 1;

	found->fds = calloc(nr, sizeof(*found->fds));
	if (!found->fds)
		return -1;
	for (i = 0; i < nr; i++)
		found->fds[i] = attr->root_cnt ? root_of(attr, i)->fd : got;
	found->nr_fds = nr;
	return 0;
}
#else
static void *copy_roots(union bpf_attr *attr)
{
	(void)attr;
	return NULL;
}

static void close_roots(const union bpf_attr *attr)
{
	(void)attr;
}

static int keep_fds(struct prog_load *found, const union bpf_attr *attr, int got)
{
	(void)attr;
	found->fds = calloc(1, sizeof(*found->fds));
	if (!found->fds)
		return -1;
	found->fds[0] = got;
	found->nr_fds = 1;
	return 0;
}
#endif

static void nothing(int signal)
{
	(void)signal;
}

/* do_check() ends with EAGAIN at any signal; half of the time that is left is for the loads that follow. */
static void limit_time(const struct load *load)
{
	struct sigaction action = { .sa_handler = nothing };
	int64_t left = load_time_left(load) / 2;
	struct itimerval timer = { .it_value = { left / 1000000, left % 1000000 } };

	if (left <= 0)
		timer.it_value.tv_usec = 1;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void unlimit_time(void)
{
	struct itimerval timer = {};

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Its memory goes back at once: the next program's log may be as large. */
static void send_log(struct prog_load *found)
{
	char *log = watched.logs + found->prog * watched.log_size;
	size_t len = strlen(log), done = 0;

	/* From a whole line on. */
	if (found->truncated && len > TAIL_SIZE)
		done = len - TAIL_SIZE + strcspn(log + len - TAIL_SIZE, "\n") + 1;
	for (; done < len; done += CHUNK)
		put_now(json_pack("{s:s, s:s, s:i, s:o}", "type", "log", "id", watched.load->id, "load",
				  found->number, "data",
				  json_base64(log + done, len - done < CHUNK ? len - done : CHUNK)));
	madvise(log, watched.log_size, MADV_DONTNEED);
	found->whole = false;
}

static bool fits(const struct prog_load *found, size_t size)
{
	const char *processed = strstr(found->notes, "processed ");
	size_t insns = 0;

	if (processed)
		sscanf(processed, "processed %zu insns", &insns);
	return insns <= size / BYTES_PER_INSN;
}

/*
 * Into libbpf's buffer for this program, where libbpf makes what it knows of CO-RE part of a refusal's text
 * (fixup_verifier_log()).
 */
static void ask_log(const union bpf_attr *asked, unsigned int size, struct prog_load *found)
{
	/* The verifier's states are in the same memory. */
	size_t available = available_memory() / 4;
	union bpf_attr attr;
	void *roots;
	int got;

	found->log_size = available < watched.log_size ? available : watched.log_size;
	found->truncated = true;
	if (!fits(found, found->log_size))
		return;
	attr = *asked;
	roots = copy_roots(&attr);
	attr.log_level = LEVEL_WHOLE;
	attr.log_size = found->log_size;
	limit_time(watched.load);
	got = ask(&attr, size);
	unlimit_time();
	/* EAGAIN: out of time. ENOSPC: it did not fit, and the buffer has its end. */
	found->truncated = got < 0 && (errno == EAGAIN || errno == ENOSPC);
	found->whole = true;
	if (got >= 0)
		close_roots(&attr);
	if (got > 0)
		close(got);
	free(roots);
}

static int watch(union bpf_attr *asked, unsigned int size)
{
	/* libbpf clears no more of its attributes than it passes. */
	union bpf_attr whole = {}, *attr = &whole;
	size_t prog = (asked->log_buf - (uintptr_t)watched.logs) / watched.log_size;
	struct prog_load *found = calloc(1, sizeof(*found));
	__u32 len = sizeof(found->info);
	int got, err;

	if (!found)
		return ask(asked, size);
	memcpy(attr, asked, size);
	found->prog = prog;
	found->number = watched.result->nr_prog_loads++;
	if (watched.last)
		watched.last->next = found;
	else
		watched.first = found;
	watched.last = found;
	got = ask_verdict(attr, size, found);
	err = errno;
	if (got >= 0 && !keep_fds(found, attr, got) && bpf_prog_get_info_by_fd(found->fds[0], &found->info, &len))
		memset(&found->info, 0, sizeof(found->info));
	if (watched.load->collect & COLLECT_LOG && (got >= 0 || prog_load_is_verdict(found))) {
		ask_log(attr, size, found);
		if (got >= 0 && found->whole)
			send_log(found);
	}
	errno = err;
	return got;
}

/* libbpf.c, bpf_object__probe_loading(): before each object, can this process load anything at all? */
static bool is_probe(const union bpf_attr *attr)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT },
	};

	return attr->prog_type == BPF_PROG_TYPE_SOCKET_FILTER && attr->insn_cnt == ARRAY_SIZE(insns) &&
	       !attr->log_level && !attr->prog_flags &&
	       !memcmp((void *)(uintptr_t)attr->insns, insns, sizeof(insns));
}

/* It could when it was asked first. A small program's own load takes hardly longer than this one. */
static int probe(union bpf_attr *attr, unsigned int size)
{
	static int kept = -1;

	if (kept < 0)
		kept = ask(attr, size);
	return kept < 0 ? kept : fcntl(kept, F_DUPFD_CLOEXEC, 0);
}

long __wrap_syscall(long nr, ...)
{
	va_list args;
	long arg[6];
	size_t i;

	va_start(args, nr);
	for (i = 0; i < ARRAY_SIZE(arg); i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (nr == __NR_bpf && (int)arg[0] == BPF_PROG_LOAD && watched.logs) {
		union bpf_attr *attr = (union bpf_attr *)arg[1];
		uintptr_t start = (uintptr_t)watched.logs;

		/* libbpf probes the kernel with programs of its own, which have other logs. */
		if (arg[2] <= (long)sizeof(*attr) && attr->log_buf >= start && attr->log_buf < start + watched.nr_logs * watched.log_size)
			return watch(attr, (unsigned int)arg[2]);
		if (is_probe(attr))
			return probe(attr, (unsigned int)arg[2]);
	}
	return __real_syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* Watch the loads of @obj's programs. @result is told of each that matters. */
int prog_loads_begin(const struct load *load, struct bpf_object *obj, struct result *result)
{
	bool whole = load->collect & COLLECT_LOG;
	struct bpf_program *prog;
	size_t i = 0;

	watched.load = load;
	watched.obj = obj;
	watched.result = result;
	watched.nr_logs = 0;
	bpf_object__for_each_program(prog, obj)
		watched.nr_logs++;
	if (!watched.nr_logs)
		return 0;
	watched.log_size = whole ? WHOLE_SIZE : sizeof(long);
	if (whole) {
		watched.logs = mmap(NULL, watched.nr_logs * watched.log_size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (watched.logs == MAP_FAILED)
			watched.logs = NULL;
	} else {
		watched.logs = calloc(watched.nr_logs, watched.log_size);
	}
	if (!watched.logs)
		return -ENOMEM;
	bpf_object__for_each_program(prog, obj) {
		bpf_program__set_log_buf(prog, watched.logs + i++ * watched.log_size, watched.log_size);
		bpf_program__set_log_level(prog, LEVEL_NOTES);
	}
	return 0;
}

void prog_loads_end(void)
{
	struct prog_load *found, *next;

	for (found = watched.first; found; found = next) {
		next = found->next;
		free(found->fds);
		free(found->notes);
		free(found);
	}
	if (watched.log_size == WHOLE_SIZE && watched.logs)
		munmap(watched.logs, watched.nr_logs * watched.log_size);
	else
		free(watched.logs);
	memset(&watched, 0, sizeof(watched));
}

static size_t index_of(const struct bpf_program *prog)
{
	struct bpf_program *p;
	size_t i = 0;

	bpf_object__for_each_program(p, watched.obj) {
		if (p == prog)
			break;
		i++;
	}
	return i;
}

/*
 * The load that @prog was part of: the accepted one that gave its file descriptor, else the last that had its log.
 * (libbpf tries more than once where the kernel is older than itself.)
 */
struct prog_load *prog_load_of(const struct bpf_program *prog)
{
	size_t k, i = index_of(prog);
	struct prog_load *found, *last = NULL;
	int fd = bpf_program__fd(prog);

	for (found = watched.first; found; found = found->next) {
		if (found->prog == i)
			last = found;
		for (k = 0; k < found->nr_fds; k++)
			if (found->fds[k] == fd)
				return found;
	}
	return last;
}

/* The load that the kernel refused, which was then the last; NULL where it refused none. */
struct prog_load *prog_load_refused(void)
{
	return watched.last && watched.last->err && prog_load_is_verdict(watched.last) ? watched.last : NULL;
}

/* The program in whose log the kernel wrote: the only one of its load, or the first. */
struct bpf_program *prog_load_program(const struct prog_load *found)
{
	struct bpf_program *prog;
	size_t i = 0;

	bpf_object__for_each_program(prog, watched.obj)
		if (i++ == found->prog)
			return prog;
	return NULL;
}

/* Is what the kernel answered about the program, or was it in no position to tell? */
bool prog_load_is_verdict(const struct prog_load *found)
{
	return found->err != EAGAIN && found->err != ENOMEM && found->err != EINTR;
}

/* Report @found in the result, once, and the whole log of a refusal. Returns its number. */
int prog_load_report(struct prog_load *found)
{
	json_t *json;

	if (!found)
		return -1;
	if (found->whole)
		send_log(found);
	if (found->reported)
		return found->number;
	found->reported = true;
	json = json_object();
	if (found->number)
		set_integer(json, "number", found->number);
	set_text(json, "notes", found->notes);
	if (found->err)
		set_integer(json, "errno", found->err);
	if (found->info.verified_insns)
		set_integer(json, "verified_insns", found->info.verified_insns);
	if (found->truncated)
		set_value(json, "truncated", json_true());
	json_array_append_new(watched.result->loads, json);
	return found->number;
}
