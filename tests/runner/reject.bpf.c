// SPDX-License-Identifier: GPL-2.0-only
/* One program the verifier refuses between two that it takes. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

SEC("xdp")
int good(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp")
int bad(struct xdp_md *ctx)
{
	return *(int *)(long)ctx->data; /* not compared with data_end */
}

SEC("tc")
int also_good(struct __sk_buff *skb)
{
	return skb->len & 1;
}

char _license[] SEC("license") = "GPL";
