// Source: cilium/ebpf#466, PR #1942, sched-ext/scx PR #3820 (own code)
// Expected: alone: no verdict, libbpf "failed to find BTF for extern 'adds'" or alike, the symbol is named. Linked before (`bpftool gen object both.bpf.o root.o library.o`): accept. On patched with --lib 32-part-library.bpf.c: accept once the function is declared __bpf_export there and __bpf_import here; the hint says so.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern int adds(__u32 a, __u32 b);

SEC("tc")
int uses_it(struct __sk_buff *skb)
{
	return adds(skb->mark, skb->ifindex) ? -1 : 0;
}
