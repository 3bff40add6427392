// SPDX-License-Identifier: GPL-2.0-only
/*
 * libbpf asks the kernel about a score of features when it first needs them, by loads of its own. Asked
 * here, before the fork, each load's process inherits the answers. Not the one that reads all of /proc/kallsyms,
 * which takes twenty times as long as all others: only SEC("ksyscall") needs it.
 */
#include <bpf/libbpf_internal.h>
#undef ARRAY_SIZE
#include "runner.h"

void features_probe(void)
{
	int feature;

	for (feature = 0; feature < __FEAT_CNT; feature++)
		if (feature != FEAT_SYSCALL_WRAPPER)
			feat_supported(NULL, feature);
}
