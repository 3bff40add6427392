// SPDX-License-Identifier: GPL-2.0-only
/* Programs that every kernel refuses, and one that it accepts: tests/capture_verifier.py. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static __noinline int twice(int value)
{
	volatile int copy[4] = { value };

	return copy[0] + value;
}

SEC("xdp")
int accept_calls(struct xdp_md *ctx)
{
	return twice(ctx->rx_queue_index) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int reject_packet(struct xdp_md *ctx)
{
	return *(__u8 *)(long)ctx->data;
}

SEC("tc")
int reject_scalar(struct __sk_buff *ctx)
{
	__u64 *somewhere = (void *)(long)ctx->len;

	return *somewhere;
}

SEC("tc")
int reject_null(struct __sk_buff *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&values, &key);

	return *value;
}

SEC("tc")
int reject_reference(struct __sk_buff *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	return record != NULL;
}

SEC("cgroup_skb/egress")
int reject_return_value(struct __sk_buff *ctx)
{
	return 9;
}

SEC("socket")
int reject_helper(struct __sk_buff *ctx)
{
	return bpf_redirect(1, 0);
}

SEC("kprobe/__set_task_comm")
int reject_argument(struct pt_regs *ctx)
{
	__u32 *key = NULL;

	return bpf_map_lookup_elem(&values, key) != NULL;
}

struct task_args;

__noinline int with_unknown(struct task_args *args)
{
	return args != NULL;
}

SEC("kprobe/__set_task_comm")
int reject_global_argument(struct pt_regs *ctx)
{
	return with_unknown((void *)ctx);
}

SEC("socket")
int reject_uninitialised(struct __sk_buff *ctx)
{
	int value;

	asm volatile("%0 = r7" : "=r"(value));
	return value;
}

SEC("socket")
int reject_loop(struct __sk_buff *ctx)
{
	asm volatile("1: if %0 == 0 goto 1b" : : "r"(0L));
	return 0;
}
