// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Loads that can fault: BTF pointers trusted by one root only, and the exception table of a shared image.
 */

void memory_cases(void)
{
	int rp = kbtf_find("task_struct", BTF_KIND_STRUCT, "real_parent"),
	    pid = kbtf_find("task_struct", BTF_KIND_STRUCT, "pid");
	{
		struct func f[] = { ROOTE("ka", KPROBE, 0, BPF_F_SLEEPABLE, CALL_EXIT(2)),
				    ROOT("kb", KPROBE, CALL_EXIT(2)),
				    SUB("s", HELPER(get_current_task_btf), BPF_LDX_MEM(BPF_DW, R1, R0, rp),
					BPF_LDX_MEM(BPF_W, R2, R1, pid), LD_VALUE(R3, counter_map, 0),
					BPF_STX_MEM(BPF_W, R3, R2, 0), MOV_IMM(R4, 1),
					BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R3, R4, 8), MOV_IMM(R0, 0), EXIT) };
		counters_zero();
		if (ACCEPT("T20 sleepable+not real_parent", f)) {
			uint64_t v[16];
			int kf = attach_kprobe(loaded.fds[1], "__set_task_comm");
			set_comm(3);
			counters_read(v);
			result("T20/run", kf >= 0 && v[1] >= 3 && (int)v[0] == getppid(), "runs %llu ppid %d",
			       (long long)v[1], (int)v[0]);
			close(kf);
		}
		close_all(&loaded);
	}
	{ /* bad pointer read in shared code: extable of the shared image */
		int rc = kbtf_find("bpf_rdonly_cast", BTF_KIND_FUNC, NULL),
		    tid = kbtf_find("task_struct", BTF_KIND_STRUCT, NULL);
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("tb", TRACEPOINT, CALL_EXIT(2)),
				    SUB("s", BPF_LD_IMM64(R1, 0xffffffff00001000ull), MOV_IMM(R2, tid),
					KFUNC(rc), BPF_LDX_MEM(BPF_W, R2, R0, pid),
					LD_VALUE(R3, counter_map, 0), BPF_STX_MEM(BPF_DW, R3, R2, 0),
					MOV_IMM(R4, 1), BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R3, R4, 8),
					MOV_IMM(R0, 0), EXIT) };
		for (int i = 0; i < 2; i++) {
			counters_zero();
			if (ACCEPT("T20b faulting load in shared code", f)) {
				uint64_t v[16];
				int e = i ? attach_tp(loaded.fds[1], "sched/sched_switch") :
					    attach_kprobe(loaded.fds[0], "__set_task_comm");
				close(loaded.fds[i ? 0 : 1]);
				loaded.fds[i ? 0 : 1] = -1;
				rcu_settle();
				set_comm(5);
				counters_read(v);
				result("T20b/run", e >= 0 && v[1] > 0 && v[0] == 0,
				       "root%d runs %llu value %llx", i, (long long)v[1], (long long)v[0]);
				if (e >= 0)
					close(e);
			}
			close_all(&loaded);
		}
	}
}
