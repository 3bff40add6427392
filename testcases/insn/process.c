// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* Loads by processes with fewer capabilities. */

/* Become an ordinary user with no capabilities but @keep. */
void drop_caps(__u64 keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = keep, .permitted = keep },
		{ .effective = keep >> 32, .permitted = keep >> 32 },
	};

	prctl(PR_SET_KEEPCAPS, 1);
	if (setuid(1000) || syscall(__NR_capset, &header, data))
		perror("capset");
}

/*
 * An ordinary load, or one of a group, by a process with these capabilities. Returns 0 or errno;
 * the end of its log goes to @said.
 */
int load_as(__u64 caps, const struct func *funcs, int n, char *said, int size)
{
	int ends[2], status, len, r;
	const char *tail;
	pid_t child;

	fflush(stdout);
	if (pipe(ends))
		return -1;
	child = fork();
	if (!child) {
		if (n > 1 && funcs[1].type) {
			load_prepare(&loaded, funcs, n);
			drop_caps(caps);
			r = -load_do(&loaded);
		} else {
			prepare_prog(funcs, n);
			drop_caps(caps);
			r = load_prepared();
		}
		tail = log_tail();
		if (write(ends[1], tail, strlen(tail)) < 0)
			_exit(255);
		_exit(r < 0 ? -r : 0);
	}
	close(ends[1]);
	len = read(ends[0], said, size - 1);
	said[len < 0 ? 0 : len] = 0;
	close(ends[0]);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
