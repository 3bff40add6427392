// SPDX-License-Identifier: GPL-2.0-only
/* Two roots that share code as people do today: a prog array, filled by libbpf at load. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

__u64 target_ran;

SEC("tc")
int target(struct __sk_buff *skb)
{
	target_ran++;
	return 7;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = { [1] = (void *)&target },
};

SEC("tc")
int constant_index(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &jumps, 1);
	return 1;
}

SEC("tc")
int variable_index(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jumps, skb->len > 14);
	return 2;
}

char _license[] SEC("license") = "GPL";
