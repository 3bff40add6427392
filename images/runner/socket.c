// SPDX-License-Identifier: GPL-2.0-only
/* Socket filters: each has a pair of UNIX sockets of its own. */
#include "runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Sender and receiver. A receiver that is closed has no filter any more. */
static int pairs[32][2];
static size_t nr_pairs;

/* The receiver, or -1 with errno set. */
int socket_attach(const struct bpf_program *prog)
{
	int fd = bpf_program__fd(prog), *pair = pairs[nr_pairs];

	if (nr_pairs == ARRAY_SIZE(pairs)) {
		errno = E2BIG;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	if (setsockopt(pair[1], SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd))) {
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	return pairs[nr_pairs++][1];
}

/* By the filter, which the sender is told, or because the receiver is gone. */
static bool is_dropped(int err)
{
	return err == EPERM || err == ECONNREFUSED || err == ENOTCONN || err == ECONNRESET;
}

/* @count datagrams to every filter. 0, or -1 with errno set. */
int socket_send(unsigned int count, unsigned int size)
{
	char *data = calloc(1, size + 1);
	size_t i;

	if (!data)
		return -1;
	memset(data, 'b', size);
	while (count--) {
		for (i = 0; i < nr_pairs; i++) {
			if (send(pairs[i][0], data, size, 0) < 0 && !is_dropped(errno)) {
				free(data);
				return -1;
			}
			recv(pairs[i][1], data, size, MSG_DONTWAIT);
		}
	}
	free(data);
	return 0;
}
