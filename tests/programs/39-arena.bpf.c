// SPDX-License-Identifier: GPL-2.0-only
/* An arena without an address: where libbpf maps it depends on what it has mapped before. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
} pages SEC(".maps");

SEC("syscall") int keeps_pages(void *ctx)
{
	asm volatile("" :: "r"(&pages));
	return 0;
}
