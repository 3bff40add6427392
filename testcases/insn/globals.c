// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Global functions are verified by themselves, once per root, with arguments each caller has to fit.
 * And a helper that only one root reaches must only bind that root.
 */

void globals_cases(void)
{
	{
		struct func f[] = { ROOT("kp", KPROBE, CALL_EXIT(2)),
				    ROOT("xd", XDP, CALL_EXIT(2)),
				    { .name = "g",
				      .global = 1,
				      .proto = PROTO_PTREGS,
				      INSNS(BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT) } };
		check("T21 K,X global with pt_regs ctx", f, 3, EINVAL, "root#1");
		check("T21 caller message", f, 3, EINVAL, "Caller passes invalid args");
		struct func h[] = { f[1], f[0], f[2] };
		check("T21b X,K", h, 3, EINVAL, "Caller passes invalid args");
		close_all(&loaded);
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)),
				    ROOT("kb", KPROBE, CALL_EXIT(2)),
				    { .name = "g",
				      .global = 1,
				      .proto = PROTO_PTREGS,
				      INSNS(BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT) } };
		ACCEPT_CLOSE("T21c K,K global with pt_regs ctx", f);
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
				    ROOT("xd", XDP, MOV_IMM(R1, 1), CALL_EXIT(2)),
				    { .name = "g",
				      .global = 1,
				      .proto = PROTO_INT,
				      INSNS(MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT) } };
		check("T23 K,X global int", f, 3, 0, NULL);
		char *p = strstr(log_text, "Validating g()");
		result("T23/twice", p && strstr(p + 5, "Validating g()"), "verified once per root");
		close_all(&loaded);
	}
	{
		/*
		 * States of XDP's walk through g() look like those of the kprobe's: were they still there,
		 * nobody would see that a kprobe may not call what comes behind them.
		 */
		struct func f[] = { ROOT("xd", XDP, MOV_IMM(R1, 1), CALL_EXIT(2)),
				    ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
				    { .name = "g",
				      .global = 1,
				      .proto = PROTO_INT,
				      INSNS(MOV_REG(R6, R1), BPF_JMP_IMM(BPF_JEQ, R6, 1, 1), MOV_IMM(R7, 1),
					    BPF_JMP_IMM(BPF_JEQ, R6, 2, 1), MOV_IMM(R7, 1),
					    BPF_JMP_IMM(BPF_JEQ, R6, 3, 1), MOV_IMM(R7, 1),
					    BPF_JMP_IMM(BPF_JEQ, R6, 4, 1), MOV_IMM(R7, 1),
					    BPF_JMP_IMM(BPF_JEQ, R6, 5, 1), MOV_IMM(R7, 1),
					    BPF_JMP_IMM(BPF_JEQ, R6, 6, 1), MOV_IMM(R7, 1), MOV_IMM(R1, 0),
					    MOV_IMM(R2, 0), HELPER(redirect), MOV_IMM(R0, 0), EXIT) } };
		REFUSE("T22 X,K helper behind states of X", f, EINVAL, "cannot use helper bpf_redirect#23");
	}
	{
		struct func f[] = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			{ .name = "gv", .global = 1, .proto = PROTO_GVOID, INSNS(MOV_IMM(R0, 0), EXIT) }
		};
		REFUSE("T23b plain global void", f, EINVAL, "doesn't return scalar");
	}
	{
		struct func f[] = { ROOT("kp", KPROBE, MOV_IMM(R2, 1), CALL_EXIT(2)),
				    ROOT("tp", TRACEPOINT, MOV_IMM(R2, 2), CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JNE, R2, 1, 2), MOV_IMM(R2, 0),
					HELPER(override_return), EXIT) };
		load_prepare(&loaded, f, 3);
		load_do(&loaded);
		if (strstr(log_text, "cannot use helper"))
			skip("T24 override_return only in K", "no override_return in this kernel");
		else {
			int tf = loaded.err ? -1 : attach_tp(loaded.fds[1], "sched/sched_switch"),
			    kf = loaded.err ? 0 : attach_kprobe(loaded.fds[0], "__set_task_comm");
			result("T24 override_return only in K", !loaded.err && tf >= 0 && kf == -EINVAL,
			       "load %d tp %d kprobe %d", loaded.err, tf, kf);
			if (tf >= 0)
				close(tf);
		}
		close_all(&loaded);
	}
}
