// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Global functions are verified by themselves, once per root, with arguments each caller has to
 * fit. And a helper that only one root reaches must only bind that root.
 */

#define READS_PT_REGS \
	GLOBAL("g", PROTO_PTREGS, BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT)
#define HELPER_BEHIND_STATES \
	GLOBAL("g", PROTO_INT, \
	       MOV_REG(R6, R1), \
	       BPF_JMP_IMM(BPF_JEQ, R6, 1, 1), \
	       MOV_IMM(R7, 1), \
	       BPF_JMP_IMM(BPF_JEQ, R6, 2, 1), \
	       MOV_IMM(R7, 1), \
	       BPF_JMP_IMM(BPF_JEQ, R6, 3, 1), \
	       MOV_IMM(R7, 1), \
	       BPF_JMP_IMM(BPF_JEQ, R6, 4, 1), \
	       MOV_IMM(R7, 1), \
	       BPF_JMP_IMM(BPF_JEQ, R6, 5, 1), \
	       MOV_IMM(R7, 1), \
	       BPF_JMP_IMM(BPF_JEQ, R6, 6, 1), \
	       MOV_IMM(R7, 1), \
	       MOV_IMM(R1, 0), \
	       MOV_IMM(R2, 0), \
	       HELPER(redirect), \
	       RETURN(0))
/* moves the packet, by a dynptr of its own */
#define WRITES_SKB \
	GLOBAL("g", PROTO_SKB, \
	       SKB_DYNPTR, \
	       STACK(R1, -16), \
	       WRITE_DYNPTR(8), \
	       RETURN(0))
#define TC_KEEPS_PACKET \
	ROOT("tk", TC, \
	     MOV_REG(R6, R1), \
	     SKB_BYTES(1, 0), \
	     MOV_REG(R1, R6), \
	     CALL_FUNC(2), \
	     BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	     RETURN(5))

static void check_verified_twice(const char *name)
{
	char *first = strstr(log_text, "Validating g()");

	sub_result(name, "twice", first && strstr(first + 5, "Validating g()"),
		   "verified once per root");
}

static const struct insn_test tests[] = {
	/* no caller of the first root has a packet in use, but that of the other root */
	{
		.name = "packet_moved_for_both_roots",
		.funcs = { ROOT("tc", TC, CALL_EXIT(2)), TC_KEEPS_PACKET, WRITES_SKB },
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_moved_for_both_roots_reversed",
		.funcs = { TC_KEEPS_PACKET, ROOT("tc", TC, CALL_EXIT(2)), WRITES_SKB },
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "global_reads_ctx_of_first_root", /* T21 K,X global with pt_regs ctx */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("xd", XDP, CALL_EXIT(2)),
			READS_PT_REGS,
		},
		.err = EINVAL,
		.msg = "root#1",
	},
	{
		.name = "global_reads_ctx_names_caller", /* T21 caller message */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("xd", XDP, CALL_EXIT(2)),
			READS_PT_REGS,
		},
		.err = EINVAL,
		.msg = "Caller passes invalid args",
	},
	{
		.name = "global_reads_ctx_of_second_root", /* T21b */
		.funcs = {
			ROOT("xd", XDP, CALL_EXIT(2)),
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			READS_PT_REGS,
		},
		.err = EINVAL,
		.msg = "Caller passes invalid args",
	},
	{
		.name = "global_reads_ctx_of_both_roots", /* T21c */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			READS_PT_REGS,
		},
	},
	{
		.name = "global_int", /* T23 */
		.funcs = {
			ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
			ROOT("xd", XDP, MOV_IMM(R1, 1), CALL_EXIT(2)),
			GLOBAL("g", PROTO_INT,
			       MOV_REG(R0, R1),
			       BPF_ALU64_IMM(BPF_ADD, R0, 1),
			       EXIT),
		},
		.check = check_verified_twice,
	},
	/*
	 * States of XDP's walk through g() look like those of the kprobe's: were they still there,
	 * it would not be seen that a kprobe may not call what comes behind them.
	 */
	{
		.name = "global_helper_behind_states_of_first_root", /* T22 */
		.funcs = {
			ROOT("xd", XDP, MOV_IMM(R1, 1), CALL_EXIT(2)),
			ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
			HELPER_BEHIND_STATES,
		},
		.err = EINVAL,
		.msg = "cannot use helper bpf_redirect#23",
	},
	{
		.name = "global_void", /* T23b */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			GLOBAL("gv", PROTO_GVOID, RETURN(0)),
		},
	},
	/* only one of the roots has the helper, and must not use its packet after that */
	{
		.name = "packet_moved_by_helper_of_one_root",
		.funcs = {
			ROOT("tc", TC, RETURN(5)),
			ROOT("xd", XDP,
			     MOV_REG(R6, R1),
			     XDP_BYTES(1, 1),
			     MOV_REG(R1, R6),
			     CALL_FUNC(2),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			GLOBAL("g", PROTO_XDP, MOV_IMM(R2, 0), HELPER(xdp_adjust_head), RETURN(0)),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
};

/* What only the kprobe reaches must not keep the tracepoint from being attached. */
static void test_override_return(void)
{
	static const struct func funcs[] = {
		ROOT("kp", KPROBE, MOV_IMM(R2, 1), CALL_EXIT(2)),
		ROOT("tp", TRACEPOINT, MOV_IMM(R2, 2), CALL_EXIT(2)),
		SUB("s",
		    MOV_IMM(R0, 0),
		    BPF_JMP_IMM(BPF_JNE, R2, 1, 2),
		    MOV_IMM(R2, 0),
		    HELPER(override_return),
		    EXIT),
	};
	const char *name = "override_return_in_one_root"; /* T24 */
	int kprobe = 0, tracepoint = -1;

	if (!load_group(funcs, ARRAY_SIZE(funcs))) {
		tracepoint = attach_tracepoint(loaded.fds[1], "sched/sched_switch");
		kprobe = attach_kprobe(loaded.fds[0], "__set_task_comm");
	}
	if (strstr(log_text, "cannot use helper"))
		skipped(name, "no override_return in this kernel");
	else
		result(name, !loaded.err && tracepoint >= 0 && kprobe == -EINVAL,
		       "load %d tracepoint %d kprobe %d", loaded.err, tracepoint, kprobe);
	if (tracepoint >= 0)
		close(tracepoint);
	close_all(&loaded);
}

const struct insn_group globals_group = {
	.name = "globals",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = test_override_return,
};
