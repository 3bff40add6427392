// SPDX-License-Identifier: GPL-2.0-only
/* Loaded before the kernel tree's test_progs (LD_PRELOAD) where the kernel has no keys: that of 7.3 registers
 * the key that its signed programs are signed with, and ends if it cannot. Tests that need none are still worth
 * running; those with signed programs fail, because the kernel does not know the key. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

long syscall(long number, ...)
{
	long (*next)(long, long, long, long, long, long, long) = dlsym(RTLD_NEXT, "syscall");
	long a[6], answer;
	va_list words;
	int i;

	va_start(words, number);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(words, long);
	va_end(words);
	answer = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	/* The serial number of a key that no kernel gives. */
	return number == SYS_add_key && answer < 0 && errno == ENOSYS ? 1 : answer;
}
