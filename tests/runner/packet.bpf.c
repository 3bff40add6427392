// SPDX-License-Identifier: GPL-2.0-only
/* Packets of 16 bytes of payload to UDP port 47001, seen by a cgroup, tc and XDP. */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PORT 47001

__u64 in_cgroup, in_tc, in_xdp;

static __noinline int is_ours(void *data, void *data_end)
{
	struct iphdr *ip = data;
	struct udphdr *udp = (void *)(ip + 1);

	if ((void *)(udp + 1) > data_end)
		return 0;
	return ip->protocol == 17 && udp->dest == bpf_htons(PORT);
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	if (is_ours((void *)(long)skb->data, (void *)(long)skb->data_end))
		in_cgroup++;
	return 1;
}

SEC("tc")
int classify(struct __sk_buff *skb)
{
	if (is_ours((void *)(long)skb->data + 14, (void *)(long)skb->data_end))
		in_tc++;
	return 0;
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	if (is_ours((void *)(long)ctx->data + 14, (void *)(long)ctx->data_end))
		in_xdp++;
	return 2;
}

char _license[] SEC("license") = "GPL";
