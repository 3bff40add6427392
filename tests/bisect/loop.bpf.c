#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("xdp") int loop(struct xdp_md *ctx)
{
	__u32 sum = 0;

	for (int i = 0; i < 8; i++) {
		if (bpf_get_prandom_u32() & 1)
			sum += 3;
		barrier_var(sum);
	}
	return sum & 1 ? XDP_PASS : XDP_DROP;
}
