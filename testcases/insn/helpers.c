// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * A helper id can mean another function per program type, or one that may sleep.
 * Attacks the choice of the implementation and the flags that sleepable roots put into arguments.
 */

void helpers_cases(void)
{
	int pea = map_create(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0);
	struct func perf_output = SUB("s", BPF_ST_MEM(BPF_DW, R10, -8, 1), LD_MAP(R2, pea),
				      BPF_MOV32_IMM(R3, -1), MOV_REG(R4, R10), BPF_ALU64_IMM(BPF_ADD, R4, -8),
				      MOV_IMM(R5, 8), HELPER(perf_event_output), MOV_IMM(R0, 0), EXIT);
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
				    perf_output };
		REFUSE("T16 K,T perf_event_output", f, EINVAL,
		       "helper bpf_perf_event_output#25 has different implementations");
	}
	{
		struct func f[] = { ROOT("xd", XDP, CALL_EXIT(2)), ROOT("kp", KPROBE, CALL_EXIT(2)),
				    perf_output };
		REFUSE("T16b X,K perf_event_output", f, EINVAL,
		       "has different implementations for root#0 xd() vs root#1 kp()");
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("kb", KPROBE, CALL_EXIT(2)),
				    perf_output };
		ACCEPT_CLOSE("T16c K,K perf_event_output", f);
	}
	{
		struct func f[] = { ROOT("xd", XDP, CALL_EXIT(2)), ROOT("tc", TC, CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R1, 1), MOV_IMM(R2, 0), HELPER(redirect), EXIT) };
		REFUSE("T17 X,C redirect", f, EINVAL, "helper bpf_redirect#23 has different implementations");
	}
	{
		struct func f[] = { ROOT("fi", SOCKET_FILTER, CALL_EXIT(2)), ROOT("kp", KPROBE, CALL_EXIT(2)),
				    SUB("s", HELPER(get_smp_processor_id), EXIT) };
		ACCEPT_CLOSE("T17b F,K inlined smp_processor_id", f);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("pe", PERF_EVENT, CALL_EXIT(2)),
				    SUB("s", HELPER(get_attach_cookie), EXIT) };
		REFUSE("T17c K,P attach cookie", f, EINVAL, "has different implementations");
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)), ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
				    SUB("s", HELPER(ktime_get_ns), EXIT) };
		ACCEPT_CLOSE("T17d K,T ktime", f);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
				    ROOT("xd", XDP, MOV_REG(R2, R1), MOV_IMM(R1, 2), CALL_FUNC(2), EXIT),
				    SUB("s", BPF_JMP_IMM(BPF_JNE, R1, 2, 5), MOV_REG(R1, R2), MOV_IMM(R2, -4),
					HELPER(xdp_adjust_head), MOV_IMM(R0, 6), EXIT, MOV_IMM(R0, 1),
					EXIT) };
		int a = -1;
		if (ACCEPT("T17e helper of X in its arm", f)) {
			test_run(loaded.fds[1], &a);
			result("T17e/run", a == 6, "%d", a);
		}
		close_all(&loaded);
	}
	{
		struct func f[] = {
			ROOT("kp", KPROBE, CALL_FUNC(2), EXIT), ROOT("xd", XDP, CALL_FUNC(2), EXIT),
			SUB("s", MOV_IMM(R2, -4), HELPER(xdp_adjust_head), MOV_IMM(R0, 6), EXIT)
		};
		REFUSE("T17f helper of X live in K", f, EINVAL,
		       "program of this type cannot use helper bpf_xdp_adjust_head");
	}
	int ts = map_create_btf(BPF_MAP_TYPE_TASK_STORAGE, 4, 4, 0, BPF_F_NO_PREALLOC, 1);
	struct func task_storage = SUB("s", HELPER(get_current_task_btf), MOV_REG(R2, R0), LD_MAP(R1, ts),
				       MOV_IMM(R3, 0), MOV_IMM(R4, 1), HELPER(task_storage_get),
				       MOV_IMM(R0, 0), EXIT);
	for (int o = 0; o < 2; o++) {
		struct func f[] = { ROOTE("ka", KPROBE, 0, o ? BPF_F_SLEEPABLE : 0, CALL_EXIT(2)),
				    ROOTE("kb", KPROBE, 0, o ? 0 : BPF_F_SLEEPABLE, CALL_EXIT(2)),
				    task_storage };
		if (ACCEPT(o ? "T18b K sleepable,K task_storage" : "T18 K,K sleepable task_storage", f)) {
			int n = 0;
			for (int r = 0; r < 2; r++) {
				view_get(loaded.fds[r], &view0);
				for (int i = 0; i < view0.nx; i++)
					if (view0.xl[i].code == (BPF_ALU64 | BPF_MOV | BPF_K) &&
					    view0.xl[i].dst_reg == 5 && view0.xl[i].imm == 0x820)
						n++;
			}
			result("T18/atomic", n == 2, "GFP_ATOMIC seen in %d of 2 views", n);
		}
		close_all(&loaded);
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)),
				    ROOTE("kb", KPROBE, 0, BPF_F_SLEEPABLE, CALL_EXIT(2)),
				    SUB("s", MOV_REG(R1, R10), BPF_ALU64_IMM(BPF_ADD, R1, -8), MOV_IMM(R2, 8),
					MOV_IMM(R3, 0), HELPER(copy_from_user), EXIT) };
		REFUSE("T19 K,K sleepable copy_from_user", f, EINVAL,
		       "helper call might sleep in a non-sleepable prog");
		struct func g[] = { f[1], f[0], f[2] };
		REFUSE("T19b other order", g, EINVAL, "helper call might sleep in a non-sleepable prog");
	}
	close(pea);
	close(ts);
}
