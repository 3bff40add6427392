// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * A context access is rewritten for the type of the root: an instruction that two roots reach with
 * contexts that differ must be refused, also behind calls, and accepted where it is not touched.
 */

void context_cases(void)
{
	{
		struct func f[] = {
			/* unknown kind, ctx2 NULL in K */
			ROOT("kp", KPROBE, MOV_REG(R2, R1), LD_VALUE(R4, counter_map, 64),
			     BPF_LDX_MEM(BPF_DW, R1, R4, 0), MOV_IMM(R3, 0), CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, MOV_REG(R3, R1), MOV_IMM(R1, 2), MOV_IMM(R2, 0), CALL_EXIT(2)),
			EXAMPLE_SUB
		};
		REFUSE("T02 unknown kind", f, EACCES, "invalid mem access 'scalar'");
	}
	struct func ctx_sub16 = SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT),
		    ctx_sub0 = SUB("s", BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT);
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
				    ctx_sub16 };
		REFUSE("T03 K,T ambiguous ctx", f, EINVAL, DIFFERENT_CONTEXTS);
		check("T03 names both", f, 3, EINVAL, "root#0 kp() vs root#1 tp()");
	}
	{
		struct func f[] = { ROOT("xd", XDP, CALL_EXIT(2)), ROOT("kp", KPROBE, CALL_EXIT(2)),
				    ctx_sub0 };
		REFUSE("T04 X,K packet ptr vs r15", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	{
		struct func f[] = {
			ROOT("kp", KPROBE, MOV_REG(R6, R1), CALL_FUNC(2), MOV_REG(R1, R6), CALL_EXIT(2)),
			ROOT("xd", XDP, MOV_REG(R6, R1), CALL_FUNC(2), MOV_REG(R1, R6), CALL_EXIT(2)),
			ctx_sub0
		};
		REFUSE("T05 K,X twice", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
				    SUB("s", CALL_FUNC(3), EXIT), SUB("s2", CALL_FUNC(4), EXIT),
				    SUB("s3", BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT) };
		REFUSE("T07 K,T chain", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
				    SUB("s", CALL_FUNC(3), EXIT), SUB("s2", CALL_FUNC(4), EXIT),
				    SUB("s3", MOV_IMM(R0, 0), EXIT) };
		ACCEPT_CLOSE("T08 K,T chain ctx not touched", f);
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("kb", KPROBE, CALL_EXIT(2)),
				    SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, 112), EXIT) };
		ACCEPT_CLOSE("T09 K,K same class", f);
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)),
				    ROOTE("kb", KPROBE, BPF_TRACE_KPROBE_SESSION, 0, CALL_EXIT(2)),
				    SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, 112), EXIT) };
		REFUSE("T10 K, K session", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)),
				    ROOT("xd", XDP, MOV_REG(R1, R10), BPF_ALU64_IMM(BPF_ADD, R1, -8),
					 BPF_ST_MEM(BPF_DW, R10, -8, 0), CALL_EXIT(2)),
				    ctx_sub0 };
		REFUSE("T10b ctx vs stack", f, EINVAL, "same insn cannot be used with different pointers");
		check("T10b names both", f, 3, EINVAL, "different pointers for root#0 kp() vs root#1 xd()");
	}
	{
		struct func f[] = { ROOT("xd", XDP, MOV_REG(R1, R10), BPF_ALU64_IMM(BPF_ADD, R1, -8),
					 BPF_ST_MEM(BPF_DW, R10, -8, 0), CALL_EXIT(2)),
				    ROOT("kp", KPROBE, CALL_EXIT(2)), ctx_sub0 };
		REFUSE("T10c stack vs ctx", f, EINVAL, "same insn cannot be used with different pointers");
	}
	/* ctx as plain memory to a helper (types without converter) */
	struct func update_sub = SUB("s", MOV_REG(R3, R1), BPF_ST_MEM(BPF_W, R10, -4, 0), MOV_REG(R2, R10),
				     BPF_ALU64_IMM(BPF_ADD, R2, -4), LD_MAP(R1, array_map), MOV_IMM(R4, 0),
				     HELPER(map_update_elem), MOV_IMM(R0, 0), EXIT);
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
				    update_sub };
		REFUSE("T10d K,T ctx as map value", f, EACCES, "R3 type=ctx expected");
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("xd", XDP, CALL_EXIT(2)),
				    update_sub };
		check("T10e K,X ctx as memory", f, 3, EACCES, NULL);
		close_all(&loaded);
	}
	/* store to ctx */
	{
		struct func f[] = { ROOT("c", TC, CALL_EXIT(2)),
				    ROOTE("g", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R2, 5), BPF_STX_MEM(BPF_W, R1, R2, 8), MOV_IMM(R0, 0),
					EXIT) };
		REFUSE("T10f C,G ctx store mark", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	{
		struct func f[] = { ROOT("c", TC, CALL_EXIT(2)), ROOT("fi", SOCKET_FILTER, CALL_EXIT(2)),
				    SUB("s", BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT) };
		REFUSE("T10g C,F skb->len", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	{
		struct func f[] = { ROOTE("gi", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, CALL_EXIT(2)),
				    ROOTE("ge", CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, CALL_EXIT(2)),
				    SUB("s", BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT) };
		REFUSE("T10h G ingress,egress skb->len", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	{
		struct func f[] = { ROOT("xa", XDP, CALL_EXIT(2)),
				    ROOTE("xb", XDP, 0, BPF_F_XDP_HAS_FRAGS, CALL_EXIT(2)),
				    SUB("s", BPF_LDX_MEM(BPF_W, R0, R1, 12), EXIT) };
		REFUSE("T10i X,X frags ctx", f, EINVAL, DIFFERENT_CONTEXTS);
	}
	/* a root that reads tstamp_type makes another thing of an access to tstamp */
	struct func tstamp = SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, offsetof(struct __sk_buff, tstamp)), EXIT);
	{
		struct func f[] = { ROOT("ca", TC, MOV_REG(R6, R1),
					 BPF_LDX_MEM(BPF_B, R2, R1, offsetof(struct __sk_buff, tstamp_type)),
					 MOV_REG(R1, R6), CALL_EXIT(2)),
				    ROOT("cb", TC, CALL_EXIT(2)), tstamp };
		REFUSE("T11 C,C tstamp", f, EINVAL, DIFFERENT_CONTEXTS ": tstamp");
		struct func g[] = { f[1], f[0], tstamp };
		REFUSE("T11b C,C tstamp, other order", g, EINVAL, DIFFERENT_CONTEXTS ": tstamp");
		struct func h[] = { f[0],
				    ROOT("ca2", TC, MOV_REG(R6, R1),
					 BPF_LDX_MEM(BPF_B, R2, R1, offsetof(struct __sk_buff, tstamp_type)),
					 MOV_REG(R1, R6), CALL_EXIT(2)),
				    tstamp };
		ACCEPT_CLOSE("T11c both read tstamp_type", h);
	}
	/* cb: root1 attached to a socket */
	{
		struct func f[] = { ROOT("fa", SOCKET_FILTER, CALL_FUNC(2), EXIT),
				    ROOT("fb", SOCKET_FILTER, CALL_FUNC(2), EXIT),
				    SUB("s", BPF_LDX_MEM(BPF_W, R2, R1, offsetof(struct __sk_buff, cb[4])),
					BPF_STX_MEM(BPF_W, R1, R1, offsetof(struct __sk_buff, cb[1])),
					LD_VALUE(R3, counter_map, 96), BPF_STX_MEM(BPF_W, R3, R2, 0),
					MOV_IMM(R4, 1), BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R3, R4, 8),
					MOV_IMM(R0, -1), EXIT) };
		f[2].insns[1] = (struct bpf_insn)BPF_ST_MEM(BPF_W, R1, offsetof(struct __sk_buff, cb[1]), 77);
		counters_zero();
		if (ACCEPT("T12 F,F cb", f)) {
			uint64_t v[16];
			int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0);
			struct sockaddr_in a = { .sin_family = AF_INET,
						 .sin_port = htons(5556),
						 .sin_addr.s_addr = htonl(0x7f000001) };
			close(loaded.fds[0]);
			loaded.fds[0] = -1;
			bind(r, (void *)&a, sizeof(a));
			int e = setsockopt(r, SOL_SOCKET, SO_ATTACH_BPF, &loaded.fds[1], 4);
			char b[8];
			sendto(s, "hi", 2, 0, (void *)&a, sizeof(a));
			int n = recv(r, b, 8, MSG_DONTWAIT);
			counters_read(v);
			result("T12/run", !e && n == 2 && v[13] == 1 && (uint32_t)v[12] == 0,
			       "attach %d recv %d runs %llu cb[4] %x", e, n, (long long)v[13],
			       (unsigned)v[12]);
			close(r);
			close(s);
		}
		close_all(&loaded);
	}
	/* packet */
	struct func reads_packet = SUB("s", MOV_REG(R3, R1), BPF_ALU64_IMM(BPF_ADD, R3, 8), MOV_IMM(R0, 0),
				       BPF_JMP_REG(BPF_JGT, R3, R2, 1), BPF_LDX_MEM(BPF_B, R0, R1, 2), EXIT);
	struct func writes_packet = SUB("s", MOV_REG(R3, R1), BPF_ALU64_IMM(BPF_ADD, R3, 8), MOV_IMM(R0, 0),
					BPF_JMP_REG(BPF_JGT, R3, R2, 2), MOV_IMM(R0, 9),
					BPF_STX_MEM(BPF_B, R1, R0, 2), EXIT);
#define XDP_PACKET BPF_LDX_MEM(BPF_W, R2, R1, 4), BPF_LDX_MEM(BPF_W, R1, R1, 0)
#define TC_PACKET BPF_LDX_MEM(BPF_W, R2, R1, 80), BPF_LDX_MEM(BPF_W, R1, R1, 76)
	{
		struct func f[] = { ROOT("xd", XDP, XDP_PACKET, CALL_FUNC(2), EXIT),
				    ROOT("tc", TC, TC_PACKET, CALL_FUNC(2), EXIT), reads_packet };
		int a = -1, b = -1;
		if (ACCEPT("T13 X,C packet by value", f)) {
			test_run(loaded.fds[0], &a);
			test_run(loaded.fds[1], &b);
			result("T13/run", a == 3 && b == 3, "%d %d", a, b);
		}
		close_all(&loaded);
	}
	{
		struct func f[] = { ROOT("tc", TC, TC_PACKET, CALL_EXIT(2)),
				    ROOTE("cg", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, TC_PACKET,
					  CALL_EXIT(2)),
				    writes_packet };
		REFUSE("T14 C,G packet write", f, EACCES, "cannot write into packet");
	}
	{
		struct func f[] = { ROOTE("cg", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, TC_PACKET,
					  CALL_EXIT(2)),
				    ROOT("tc", TC, TC_PACKET, CALL_EXIT(2)), writes_packet };
		REFUSE("T14b G,C packet write", f, EACCES, "cannot write into packet");
	}
	{
		struct func f[] = {
			ROOT("tc", TC, MOV_REG(R6, R1), TC_PACKET, CALL_FUNC(2), CALL_FUNC(3), EXIT),
			ROOT("kp", KPROBE, CALL_FUNC(3), EXIT), writes_packet, SUB("s2", MOV_IMM(R0, 5), EXIT)
		};
		int a = -1;
		if (ACCEPT("T15 C writes, K shares other", f)) {
			view_get(loaded.fds[0], &view0);
			view_get(loaded.fds[1], &view1);
			test_run(loaded.fds[0], &a);
			result("T15/prologue", view0.fi[1].off > 6 && view1.fi[1].off == 2 && a == 5,
			       "entry insns C %u (6 + prologue) K %u, ret %d", view0.fi[1].off,
			       view1.fi[1].off, a);
		}
		close_all(&loaded);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_FUNC(3), EXIT),
				    ROOT("tc", TC, MOV_REG(R6, R1), TC_PACKET, CALL_FUNC(2), CALL_FUNC(3),
					 EXIT),
				    writes_packet, SUB("s2", MOV_IMM(R0, 5), EXIT) };
		int a = -1;
		if (ACCEPT("T15b K, C writes", f)) {
			view_get(loaded.fds[0], &view0);
			view_get(loaded.fds[1], &view1);
			test_run(loaded.fds[1], &a);
			result("T15b/prologue", view1.fi[1].off > 6 && view0.fi[1].off == 2 && a == 5,
			       "entry insns C %u K %u, ret %d", view1.fi[1].off, view0.fi[1].off, a);
		}
		close_all(&loaded);
	}
}
