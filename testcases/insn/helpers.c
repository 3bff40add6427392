// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * A helper id can mean another function per program type, or one that may sleep. Attacks the
 * choice of the implementation, and the flags that sleepable roots put into arguments.
 */

#define PERF_EVENT_OUTPUT \
	SUB("s", \
	    BPF_ST_MEM(BPF_DW, R10, -8, 1), \
	    LD_MAP(R2, MAP_PERF_EVENT_ARRAY), \
	    BPF_MOV32_IMM(R3, -1), \
	    STACK(R4, -8), \
	    MOV_IMM(R5, 8), \
	    HELPER(perf_event_output), \
	    RETURN(0))
#define TASK_STORAGE_SUB SUB("s", TASK_STORAGE, RETURN(0))

/* The helper allocates, and never sleeps: no argument (GFP_ATOMIC, 0x820) tells it how to. */
static void check_atomic(const char *name)
{
	int n = 0, r, i;

	for (r = 0; r < 2; r++) {
		view_get(loaded.fds[r], &view0);
		for (i = 0; i < view0.nr_xlated; i++)
			n += view0.xlated[i].code == (BPF_ALU64 | BPF_MOV | BPF_K) &&
			     view0.xlated[i].dst_reg == R5 && view0.xlated[i].imm == 0x820;
	}
	sub_result(name, "atomic", !n, "GFP_ATOMIC seen in %d of 2 views", n);
}

static const struct insn_test tests[] = {
	{
		.name = "perf_event_output_kprobe_tracepoint", /* T16 */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			PERF_EVENT_OUTPUT,
		},
		.err = EINVAL,
		.msg = "helper bpf_perf_event_output has different implementations",
	},
	{
		.name = "perf_event_output_xdp_kprobe", /* T16b */
		.funcs = {
			ROOT("xd", XDP, CALL_EXIT(2)),
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			PERF_EVENT_OUTPUT,
		},
		.err = EINVAL,
		.msg = "has different implementations for root#0 xd() vs root#1 kp()",
	},
	{
		.name = "perf_event_output_kprobes", /* T16c */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			PERF_EVENT_OUTPUT,
		},
	},
	{
		.name = "redirect_xdp_tc", /* T17 */
		.funcs = {
			ROOT("xd", XDP, CALL_EXIT(2)),
			ROOT("tc", TC, CALL_EXIT(2)),
			SUB("s",
			    MOV_IMM(R1, 1),
			    MOV_IMM(R2, 0),
			    HELPER(redirect),
			    EXIT),
		},
		.err = EINVAL,
		.msg = "helper bpf_redirect has different implementations",
	},
	{
		.name = "inlined_helper_socket_filter_kprobe", /* T17b */
		.funcs = {
			ROOT("fi", SOCKET_FILTER, CALL_EXIT(2)),
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			SUB("s", HELPER(get_smp_processor_id), EXIT),
		},
	},
	{
		.name = "attach_cookie_kprobe_perf_event", /* T17c */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("pe", PERF_EVENT, CALL_EXIT(2)),
			SUB("s", HELPER(get_attach_cookie), EXIT),
		},
		.err = EINVAL,
		.msg = "has different implementations",
	},
	{
		.name = "ktime_kprobe_tracepoint", /* T17d */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			SUB("s", HELPER(ktime_get_ns), EXIT),
		},
	},
	{
		.name = "helper_of_one_root_in_its_arm", /* T17e */
		.funcs = {
			ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
			ROOT("xd", XDP,
			     MOV_REG(R2, R1),
			     MOV_IMM(R1, 2),
			     CALL_FUNC(2),
			     EXIT),
			SUB("s",
			    BPF_JMP_IMM(BPF_JNE, R1, 2, 5),
			    MOV_REG(R1, R2),
			    MOV_IMM(R2, -4),
			    HELPER(xdp_adjust_head),
			    RETURN(6),
			    RETURN(1)),
		},
		.runs = { [1] = RETURNS(6) },
	},
	{
		.name = "helper_of_one_root_reached_by_both", /* T17f */
		.funcs = {
			ROOT("kp", KPROBE, CALL_FUNC(2), EXIT),
			ROOT("xd", XDP, CALL_FUNC(2), EXIT),
			SUB("s",
			    MOV_IMM(R2, -4),
			    HELPER(xdp_adjust_head),
			    RETURN(6)),
		},
		.err = EINVAL,
		.msg = "program of this type cannot use helper bpf_xdp_adjust_head",
	},
	{
		.name = "storage_second_root_sleeps", /* T18 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			SLEEPABLE("kb", KPROBE, CALL_EXIT(2)),
			TASK_STORAGE_SUB,
		},
		.check = check_atomic,
	},
	{
		.name = "storage_first_root_sleeps", /* T18b */
		.funcs = {
			SLEEPABLE("ka", KPROBE, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			TASK_STORAGE_SUB,
		},
		.check = check_atomic,
	},
	{
		.name = "copy_from_user_second_root_sleeps", /* T19 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			SLEEPABLE("kb", KPROBE, CALL_EXIT(2)),
			SUB("s", COPY_FROM_USER, EXIT),
		},
		.err = EINVAL,
		.msg = "bpf_copy_from_user#148 is not allowed in non-sleepable program",
	},
	{
		.name = "copy_from_user_first_root_sleeps", /* T19b */
		.funcs = {
			SLEEPABLE("kb", KPROBE, CALL_EXIT(2)),
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			SUB("s", COPY_FROM_USER, EXIT),
		},
		.err = EINVAL,
		.msg = "bpf_copy_from_user#148 is not allowed in non-sleepable program",
	},
};

const struct insn_group helpers_group = {
	.name = "helpers",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
