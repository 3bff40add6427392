// SPDX-License-Identifier: GPL-2.0-only
/* Linked into the kernel tree's test_verifier, whose sources stay as they are (ld --wrap). */
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

int __real_load_bpf_testmod(bool verbose);
int __wrap_load_bpf_testmod(bool verbose);

/* Where a kernel has no bpf_testmod the tests that need none are still worth running. */
int __wrap_load_bpf_testmod(bool verbose)
{
	return access("bpf_testmod.ko", F_OK) ? 0 : __real_load_bpf_testmod(verbose);
}

/* A guest that dies takes the test it died in, not the four kilobytes before it. */
__attribute__((constructor)) static void whole_lines(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
}
