// SPDX-License-Identifier: GPL-2.0
#include "storm.h"

#include <sys/wait.h>
#include <time.h>

/*
 * storm SECONDS [--twin]: lets all works run at once, then checks that nothing of them is left. Prints
 * "work DONE ODD NAME" for each, "left WHAT" for what is left, "leak ..." for kmemleak's, and "end".
 */

struct board *board;
int me;

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

void done(void)
{
	board->worker[me].done++;
}

void odd(const char *fmt, ...)
{
	va_list args;

	if (board->worker[me].odd++)
		return;
	va_start(args, fmt);
	vsnprintf(board->worker[me].why, sizeof(board->worker[me].why), fmt, args);
	va_end(args);
}

static pid_t start(int worker)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	me = worker;
	srand(worker + 1);
	while (!board->stop)
		works[worker].round();
	_exit(0);
}

/* Wait until @count gives @wanted again: programs go after grace periods and from work queues. */
static bool settles(const char *what, int (*count)(void), int wanted)
{
	time_t end = now() + 60;
	int found;

	while ((found = count()) != wanted && now() < end) {
		rcu_settle();
		sched_yield();
	}
	if (found != wanted)
		printf("left %d %s, there were %d before\n", found, what, wanted);
	return found == wanted;
}

static int count_images(void)
{
	char line[512];
	int n = 0;
	FILE *file = fopen("/proc/kallsyms", "r");

	while (file && fgets(line, sizeof(line), file))
		n += !!strstr(line, "_storm_");
	if (file)
		fclose(file);
	return n;
}

/* Ask kmemleak for what cannot be reached. An object has to be some seconds old to count. */
static void scan_for_leaks(bool print)
{
	static const char path[] = "/sys/kernel/debug/kmemleak";
	char line[512];
	FILE *file;
	time_t end;
	int i;

	if (access(path, F_OK)) {
		if (print)
			printf("# this kernel has no kmemleak\n");
		return;
	}
	if (print) {
		/* mm/kmemleak.c: MSECS_MIN_AGE */
		for (end = now() + 6; now() < end;)
			usleep(100000);
	}
	for (i = 0; i < 2; i++)
		if (write_string(path, "scan"))
			printf("leak cannot scan: %s\n", strerror(errno));
	if (!print) {
		write_string(path, "clear");
		return;
	}
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		printf("leak %s", line);
	if (file)
		fclose(file);
}

static void storm(time_t seconds)
{
	pid_t pids[MAX_WORKERS];
	time_t end = now() + seconds;
	size_t i;

	for (i = 0; i < nr_works; i++)
		pids[i] = start(i);
	while (now() < end) {
		usleep(500000);
		printf("# %ld s left\n", (long)(end - now()));
	}
	board->stop = 1;
	for (i = 0; i < nr_works; i++)
		waitpid(pids[i], NULL, 0);
	for (i = 0; i < nr_works; i++)
		printf("work %lu %lu %s%s%s\n", board->worker[i].done, board->worker[i].odd, works[i].name,
		       board->worker[i].odd ? ": " : "", board->worker[i].why);
}

int main(int argc, char **argv)
{
	time_t seconds = argc > 1 ? atoi(argv[1]) : 10;
	int progs, images, fds, prog_array;
	bool twin = argc > 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	map_fd(MAP_COUNTERS);
	prog_array = map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0);
	board->prog_array = prog_array;
	board->library = load_library();
	enter_cgroup();
	loopback_up();
	rcu_settle();
	scan_for_leaks(false);
	progs = count_progs();
	images = count_images();
	fds = count_fds();

	storm(seconds);
	if (twin) {
		/* what must be noticed: a program that stays */
		struct func roots[] = { ROOT("storm_twin", XDP, MOV_IMM(R0, 2), EXIT) };

		load_prepare(&loaded, roots, 1);
		load_do(&loaded);
	}
	settles("programs", count_progs, progs);
	settles("images in kallsyms", count_images, images);
	settles("FDs", count_fds, fds);
	scan_for_leaks(true);
	printf("end\n");
	return 0;
}
