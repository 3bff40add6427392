// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Kfuncs are specialised per program type, and some are allowed for some types only.
 */

void kfuncs_cases(void)
{
	int dfs = kbtf_find("bpf_dynptr_from_skb", BTF_KIND_FUNC, NULL),
	    bthr = kbtf_find("bpf_throw", BTF_KIND_FUNC, NULL),
	    objnew = kbtf_find("bpf_obj_new_impl", BTF_KIND_FUNC, NULL),
	    rl = kbtf_find("bpf_rcu_read_lock", BTF_KIND_FUNC, NULL),
	    ru = kbtf_find("bpf_rcu_read_unlock", BTF_KIND_FUNC, NULL);
	struct func dynptr_sub = SUB("s", MOV_IMM(R2, 0), MOV_REG(R3, R10), BPF_ALU64_IMM(BPF_ADD, R3, -16),
				     KFUNC(dfs), MOV_IMM(R0, 0), EXIT);
	{
		struct func f[] = { ROOT("tc", TC, CALL_EXIT(2)),
				    ROOTE("cg", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, CALL_EXIT(2)),
				    dynptr_sub };
		REFUSE("T25 C,G dynptr_from_skb", f, EINVAL,
		       "kfunc bpf_dynptr_from_skb has different implementations");
		struct func g[] = { f[1], f[0], dynptr_sub };
		REFUSE("T25b G,C dynptr_from_skb", g, EINVAL,
		       "kfunc bpf_dynptr_from_skb has different implementations");
	}
	{
		struct func f[] = { ROOT("tc", TC, CALL_EXIT(2)), ROOT("xd", XDP, CALL_EXIT(2)), dynptr_sub };
		REFUSE("T25c C,X dynptr_from_skb", f, EACCES,
		       "calling kernel function bpf_dynptr_from_skb is not allowed");
	}
	{
		struct func f[] = { ROOT("ca", TC, CALL_EXIT(2)), ROOT("cb", TC, CALL_EXIT(2)), dynptr_sub };
		int a = -1;
		if (ACCEPT("T25d C,C dynptr_from_skb", f)) {
			test_run(loaded.fds[1], &a);
			result("T25d/run", a == 0, "%d", a);
		}
		close_all(&loaded);
	}
	{
		struct func f[] = { ROOTE("ga", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, CALL_FUNC(2),
					  MOV_IMM(R0, 1), EXIT),
				    ROOTE("gb", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, CALL_FUNC(2),
					  MOV_IMM(R0, 1), EXIT),
				    SUB("s", MOV_IMM(R2, 0), MOV_REG(R3, R10),
					BPF_ALU64_IMM(BPF_ADD, R3, -16), KFUNC(dfs),
					BPF_ST_MEM(BPF_DW, R10, -24, 0), MOV_REG(R1, R10),
					BPF_ALU64_IMM(BPF_ADD, R1, -16), MOV_IMM(R2, 0), MOV_REG(R3, R10),
					BPF_ALU64_IMM(BPF_ADD, R3, -24), MOV_IMM(R4, 8), MOV_IMM(R5, 0),
					HELPER(dynptr_write), LD_VALUE(R3, counter_map, 0),
					BPF_STX_MEM(BPF_DW, R3, R0, 0), MOV_IMM(R0, 0), EXIT) };
		int a = -1;
		counters_zero();
		if (ACCEPT("T25e G,G rdonly dynptr", f)) {
			uint64_t v[16];
			char pkt[64] = { 0x45 };
			pkt[12] = 8;
			int e = test_run_full(loaded.fds[1], pkt, 64, NULL, 0, NULL, 0, &a);
			counters_read(v);
			result("T25e/run", !e && (int64_t)v[0] == -EINVAL, "run %d dynptr_write gives %lld",
			       e, (long long)v[0]);
		}
		close_all(&loaded);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("xd", XDP, CALL_EXIT(2)),
				    SUB("s", KFUNC(rl), KFUNC(ru), MOV_IMM(R0, 0), EXIT) };
		ACCEPT_CLOSE("T25f K,X rcu kfuncs", f);
	}
	{
		struct func f[] = { ROOT("xa", XDP, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R1, 0), KFUNC(bthr), MOV_IMM(R0, 0), EXIT) };
		REFUSE("T44 bpf_throw", f, EINVAL, "bpf_throw is not supported in a multi-root load");
	}
	{
		struct func f[] = { ROOT("xa", XDP, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R1, 3), MOV_IMM(R2, 0), KFUNC(objnew), MOV_IMM(R0, 0),
					EXIT) };
		REFUSE("T44b bpf_obj_new", f, EINVAL,
		       "bpf_obj_new_impl is not supported in a multi-root load");
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("kb", KPROBE, CALL_EXIT(2)),
				    SUB("s", LD_MAP(R1, array_map), LD_FUNC(R2, 3),
					HELPER(timer_set_callback), MOV_IMM(R0, 0), EXIT),
				    SUB("cb", MOV_IMM(R0, 0), EXIT) };
		REFUSE("T43 timer", f, EINVAL,
		       "bpf_timer_set_callback is not supported in a multi-root load");
	}
}
