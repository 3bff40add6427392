// SPDX-License-Identifier: GPL-2.0-only
/*
 * bpfroots-runner awake: waits in a template for what its clones are told.
 *
 * A clone starts with the clock and the random pool its template had. The harness writes one line to the
 * console of each, "SECONDS NANOSECONDS SEED", before it asks anything of it: the time of day, and 32
 * bytes in hex of the host's randomness. The answer is a line of the kernel log.
 */
#include "runner.h"

#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

struct seed {
	int entropy_count;
	int buf_size;
	unsigned char buf[32];
};

static int parse_seed(const char *hex, struct seed *seed)
{
	size_t i;

	seed->buf_size = sizeof(seed->buf);
	seed->entropy_count = 8 * seed->buf_size;
	for (i = 0; i < sizeof(seed->buf); i++)
		if (sscanf(hex + 2 * i, "%2hhx", &seed->buf[i]) != 1)
			return -1;
	return 0;
}

/*
 * Not left to a vmgenid device: not all kernels have a driver for it, and under emulation 7% of the code that
 * is translated until a clone answers is ACPI's, for its notification.
 */
static int reseed(struct seed *seed)
{
	int err, fd = open("/dev/urandom", O_WRONLY);

	if (fd < 0)
		return -1;
	err = ioctl(fd, RNDADDENTROPY, seed) || ioctl(fd, RNDRESEEDCRNG);
	close(fd);
	return err;
}

static void say(const char *what, long long seconds)
{
	FILE *log = fopen("/dev/kmsg", "w");

	if (!log)
		return;
	fprintf(log, "<1>bpfroots: %s %lld\n", what, seconds);
	fclose(log);
}

int awake(void)
{
	struct termios tty;
	char line[256];

	/* The seed is a secret: no echo of it into the console's log. */
	if (!tcgetattr(STDIN_FILENO, &tty)) {
		tty.c_lflag &= ~(ECHO | ECHONL | ISIG);
		tcsetattr(STDIN_FILENO, TCSANOW, &tty);
	}
	while (fgets(line, sizeof(line), stdin)) {
		long long seconds;
		long nanoseconds;
		struct timespec now;
		struct seed seed;
		char hex[65];

		if (sscanf(line, "%lld %ld %64s", &seconds, &nanoseconds, hex) != 3 || strlen(hex) != 64 ||
		    parse_seed(hex, &seed))
			continue;
		now.tv_sec = seconds;
		now.tv_nsec = nanoseconds;
		if (reseed(&seed) || clock_settime(CLOCK_REALTIME, &now))
			say("asleep", seconds);
		else
			say("awake", seconds);
	}
	return 0;
}
