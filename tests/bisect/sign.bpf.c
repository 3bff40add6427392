#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("xdp") int sign(struct xdp_md *ctx)
{
	__u64 value = bpf_ktime_get_ns();

	asm volatile("%0 = -%0" : "+r"(value));
	return value & 1 ? XDP_PASS : XDP_DROP;
}
