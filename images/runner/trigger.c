// SPDX-License-Identifier: GPL-2.0-only
/* Make events happen: protocol.py's Trigger. */
#include "runner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

/* Fixed, so that packets are equal from run to run. */
#define PORT_RECEIVER 47001
#define PORT_SENDER 47002

static int comm(void)
{
	return prctl(PR_SET_NAME, "bpfroots-comm");
}

/* By its number: security modules are not asked about 0. */
static int getpgid_call(void)
{
	return syscall(SYS_getpgid, getpid()) < 0 ? -1 : 0;
}

static int getppid_call(void)
{
	return syscall(SYS_getppid) < 0 ? -1 : 0;
}

static int yield(void)
{
	/* long enough that the timer does not fire before there was a switch */
	return usleep(100);
}

static int udp_socket(unsigned short port, struct sockaddr_in *addr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	if (fd >= 0 && bind(fd, (struct sockaddr *)addr, sizeof(*addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * A datagram that is not delivered is no error: a program may have dropped it, or refused it to
 * the sender (EPERM). The first such ends the wait: lo delivers before send() returns unless
 * softirqs are behind, and a second in which nothing came is not for repeating.
 */
static int exchange(int sender, int receiver, const struct sockaddr_in *to, unsigned int count, void *data,
		    unsigned int size)
{
	struct timeval timeout = { .tv_sec = 1 };
	int flags = 0;

	setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	while (count--) {
		if (sendto(sender, data, size, 0, (const struct sockaddr *)to, sizeof(*to)) < 0) {
			if (errno != EPERM)
				return -1;
			continue;
		}
		if (recv(receiver, data, size, flags) < 0)
			flags = MSG_DONTWAIT;
	}
	return 0;
}

static int udp(unsigned int count, unsigned int size)
{
	struct sockaddr_in to, from;
	int receiver = udp_socket(PORT_RECEIVER, &to);
	int sender = udp_socket(PORT_SENDER, &from);
	unsigned char *data = malloc(size + 1);
	unsigned int i;
	int err = -1;

	for (i = 0; data && i < size; i++)
		data[i] = i;
	if (receiver >= 0 && sender >= 0 && data)
		err = exchange(sender, receiver, &to, count, data, size);
	i = errno;
	free(data);
	close(receiver);
	close(sender);
	errno = i;
	return err;
}

/* -1 with errno set. */
int trigger(const char *kind, unsigned int count, unsigned int size)
{
	static const struct {
		const char *kind;
		int (*once)(void);
	} kinds[] = {
		{ "comm", comm }, { "getpgid", getpgid_call }, { "getppid", getppid_call }, { "yield", yield },
	};
	size_t i;

	if (!strcmp(kind, "udp"))
		return udp(count, size);
	if (!strcmp(kind, "unix"))
		return socket_send(count, size);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kind, kinds[i].kind))
			continue;
		while (count--)
			if (kinds[i].once())
				return -1;
		return 0;
	}
	errno = EINVAL;
	return -1;
}
