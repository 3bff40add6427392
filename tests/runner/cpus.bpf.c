// SPDX-License-Identifier: GPL-2.0-only
/* On how many CPUs the process that runs it may be. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

SEC("xdp")
int cpus(struct xdp_md *ctx)
{
	return bpf_get_current_task_btf()->nr_cpus_allowed;
}

char LICENSE[] SEC("license") = "GPL";
