// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test cgroup: cgroup programs are attached to it, and the triggers' sockets are made in it. All loads that do
 * something have the same one, because the kernel waits for tens of milliseconds when a process moves.
 */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"

static char path[64];

static int move_to(const char *cgroup)
{
	char procs[96];
	int fd, err;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	fd = open(procs, O_WRONLY);
	if (fd < 0)
		return -1;
	err = write(fd, "0", 1) == 1 ? 0 : -1;
	close(fd);
	return err;
}

static void leave(void)
{
	if (move_to(ROOT) || rmdir(path))
		perror(path);
}

/*
 * Make the cgroup and move there, once; the processes of loads inherit it. A kernel without cgroup v2 still runs
 * everything that needs none.
 */
int cgroup_enter(void)
{
	static bool tried;
	static int err;

	if (tried)
		return err;
	tried = true;
	snprintf(path, sizeof(path), ROOT "/bpfroots-%d", getpid());
	if (access(ROOT "/cgroup.procs", W_OK) || mkdir(path, 0755)) {
		path[0] = '\0';
		return 0;
	}
	if (!move_to(path)) {
		atexit(leave);
		return 0;
	}
	err = errno;
	rmdir(path);
	return err;
}

int cgroup_open(void)
{
	if (!path[0]) {
		errno = ENOENT;
		return -1;
	}
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}
