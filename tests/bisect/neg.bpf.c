#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* A negation with an immediate, which is reserved. */
SEC("xdp") __attribute__((naked)) int neg(struct xdp_md *ctx)
{
	asm volatile("r0 = 1; .long 0x87; .long 1; r0 = 2; exit;" ::: "r0");
}
