// SPDX-License-Identifier: GPL-2.0-only
/* The test cgroup: cgroup programs are attached to it, and the triggers' sockets are made in it. */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];

/* A kernel without cgroup v2 still runs everything that needs none. */
int cgroup_create(void)
{
	snprintf(path, sizeof(path), "/sys/fs/cgroup/bpfroots-%d", getpid());
	if (access("/sys/fs/cgroup/cgroup.procs", W_OK) || (mkdir(path, 0755) && errno != EEXIST)) {
		path[0] = '\0';
		return -1;
	}
	return 0;
}

int cgroup_join(void)
{
	char procs[96];
	int fd, err;

	if (!path[0])
		return 0;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	fd = open(procs, O_WRONLY);
	if (fd < 0)
		return -1;
	err = write(fd, "0", 1) == 1 ? 0 : -1;
	close(fd);
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

void cgroup_remove(void)
{
	if (path[0] && rmdir(path))
		perror(path);
}
