// SPDX-License-Identifier: GPL-2.0-only
/* Two roots of different types that share a function, a map and global data. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

const volatile int target_tgid;
__u64 events;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} per_cpu SEC(".maps");

static __noinline int count(__u32 kind)
{
	__u64 one = 1, *value;
	__u32 *local;

	if (bpf_get_current_pid_tgid() >> 32 != target_tgid)
		return 0;
	__sync_fetch_and_add(&events, 1);
	local = bpf_map_lookup_elem(&per_cpu, &kind);
	if (local)
		(*local)++;
	value = bpf_map_lookup_elem(&counts, &kind);
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&counts, &kind, &one, BPF_ANY);
	return 0;
}

SEC("kprobe/__set_task_comm")
int on_comm(struct pt_regs *ctx)
{
	return count(0);
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_getpgid(void *ctx)
{
	return count(1);
}

char _license[] SEC("license") = "GPL";
