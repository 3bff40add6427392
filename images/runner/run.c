// SPDX-License-Identifier: GPL-2.0-only
/*
 * One load in a child process of its own. Whatever becomes of it (a crash in libbpf on a strange
 * object, a deadline, no memory), the next load starts clean, and everything it had loaded
 * and attached goes with its file descriptors.
 */
#include "runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void child(const struct load *load)
{
	int64_t start = now_us();
	struct result result = {
		.programs = json_array(),
		.runs = json_array(),
		.maps = json_array(),
		.costs = json_array(),
		.symbols = json_object(),
	};

	if (cgroup_join())
		fail(&result, "cannot join the test cgroup: %s", errno_name(errno));
	load_object(load, &result);
	emit(json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "type", "load", "id", load->id,
		       "verdict", result.accepted ? "accept" : "reject", "programs", result.programs,
		       "runs", result.runs, "maps", result.maps, "costs", result.costs, "symbols", result.symbols,
		       "error", json_text(result.error, strlen(result.error)),
		       "duration_us", (json_int_t)(now_us() - start)));
}

/*
 * Copy the child's line to stdout. The child writes when it has everything, so the deadline
 * is for its first byte: true if that came in time.
 */
static bool relay(int fd, int64_t deadline)
{
	static char buffer[65536];
	bool started = false;
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	for (;;) {
		int64_t left = deadline - now_us();
		int ready = poll(&pollfd, 1, started ? -1 : left > 0 ? (int)(left / 1000) + 1 : 0);
		ssize_t got;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return false;
		got = read(fd, buffer, sizeof(buffer));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		started = true;
		fwrite(buffer, 1, got, stdout);
	}
	fflush(stdout);
	return started;
}

static void emit_error(const struct load *load, int64_t start, const char *error)
{
	emit(json_pack("{s:s, s:s, s:s, s:s, s:I}", "type", "load", "id", load->id, "verdict", "reject",
		       "error", error, "duration_us", (json_int_t)(now_us() - start)));
}

void run_load(const struct load *load)
{
	int64_t start = now_us();
	int pipe_fds[2], status;
	char error[128];
	bool relayed;
	pid_t pid;

	/* Before the fork, so that only the first load pays. */
	if (load->collect & (COLLECT_XLATED | COLLECT_JITED))
		symbols_load();
	cgroup_create();
	if (pipe(pipe_fds) || (pid = fork()) < 0) {
		emit_error(load, start, "cannot start a process for the load");
		return;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pipe_fds[1], STDOUT_FILENO);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		child(load);
		fflush(stdout);
		_exit(0);
	}
	close(pipe_fds[1]);
	relayed = relay(pipe_fds[0], start + (int64_t)(load->timeout_s * 1e6));
	close(pipe_fds[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (relayed && WIFSIGNALED(status)) {
		/* In the middle of its line, which nobody can read now; nor is this run then done. */
		fprintf(stderr, "%s: died of SIG%s while it wrote its result\n", load->id,
			sigabbrev_np(WTERMSIG(status)));
		cgroup_remove();
		exit(1);
	}
	if (!relayed) {
		if (WIFSIGNALED(status) && now_us() - start >= load->timeout_s * 1e6)
			snprintf(error, sizeof(error), "timed out after %g s", load->timeout_s);
		else if (WIFSIGNALED(status))
			snprintf(error, sizeof(error), "the runner's process for this load died: SIG%s",
				 sigabbrev_np(WTERMSIG(status)));
		else
			snprintf(error, sizeof(error), "the runner's process for this load ended without a result");
		emit_error(load, start, error);
	}
	cgroup_remove();
}
