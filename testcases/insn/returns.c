// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * The range of return values, and the highest context offset, belong to one root and its attach
 * type.
 */

static void check_egress_ingress(const char *name)
{
	int egress = cgroup_attach(loaded.fds[0], EGRESS);
	int wrong = cgroup_attach(loaded.fds[0], INGRESS);
	int ingress = cgroup_attach(loaded.fds[1], INGRESS);

	sub_result(name, "attach", !egress && wrong && !ingress,
		   "egress->egress %d, egress->ingress %d, ingress %d", egress, wrong, ingress);
	if (!egress)
		cgroup_detach(loaded.fds[0], EGRESS);
	if (!ingress)
		cgroup_detach(loaded.fds[1], INGRESS);
}

static void check_attach(const char *name, int root, bool attaches)
{
	int event = attach_tracepoint(loaded.fds[root], "sched/sched_switch");

	sub_result(name, "attach", attaches ? event >= 0 : event == -EACCES, "tracepoint %d",
		   event);
	if (event >= 0)
		close(event);
}

static void check_attaches(const char *name)
{
	check_attach(name, 0, true);
}

static void check_does_not_attach(const char *name)
{
	check_attach(name, 1, false);
}

static void check_none_attaches(const char *name)
{
	int first = attach_tracepoint(loaded.fds[0], "sched/sched_switch");
	int second = attach_tracepoint(loaded.fds[1], "sched/sched_switch");

	sub_result(name, "attach", first == -EACCES && second == -EACCES, "%d, %d", first, second);
	if (first >= 0)
		close(first);
	if (second >= 0)
		close(second);
}

static const struct insn_test tests[] = {
	{
		.name = "return_range_of_second_root", /* T31 */
		.funcs = {
			ROOT("kp", KPROBE, RETURN(7)),
			ROOT_AS("cg", CGROUP_SKB, 0, 0, RETURN(7)),
		},
		.err = EINVAL,
		.msg = "At program exit the register R0 has",
	},
	{
		.name = "return_2_ingress_egress", /* T32 */
		.funcs = {
			ROOT_AS("gi", CGROUP_SKB, INGRESS, 0,
				CALL_FUNC(2),
				EXIT),
			ROOT_AS("ge", CGROUP_SKB, EGRESS, 0,
				CALL_FUNC(2),
				EXIT),
			SUB("s", RETURN(2)),
		},
		.err = EINVAL,
		.msg = "should have been in [0, 1]",
	},
	{
		.name = "return_2_egress_ingress", /* T32b */
		.funcs = {
			ROOT_AS("ge", CGROUP_SKB, EGRESS, 0,
				CALL_FUNC(2),
				EXIT),
			ROOT_AS("gi", CGROUP_SKB, INGRESS, 0,
				CALL_FUNC(2),
				EXIT),
			SUB("s", RETURN(2)),
		},
		.err = EINVAL,
		.msg = "should have been in [0, 1]",
	},
	{
		.name = "return_2_egress", /* T32c */
		.funcs = {
			ROOT_AS("ge", CGROUP_SKB, EGRESS, 0,
				CALL_FUNC(2),
				EXIT),
			ROOT_AS("ge2", CGROUP_SKB, EGRESS, 0,
				CALL_FUNC(2),
				EXIT),
			SUB("s", RETURN(2)),
		},
	},
	{
		.name = "return_2_egress_1_ingress", /* T32d */
		.funcs = {
			ROOT_AS("ge", CGROUP_SKB, EGRESS, 0,
				CALL_FUNC(2),
				EXIT),
			ROOT_AS("gi", CGROUP_SKB, INGRESS, 0, RETURN(1)),
			SUB("s", RETURN(2)),
		},
		.check = check_egress_ingress,
	},
	{
		.name = "kprobe_reads_far_into_ctx", /* T33 */
		.funcs = {
			ROOT("tp", TRACEPOINT,
			     BPF_LDX_MEM(BPF_DW, R2, R1, 56),
			     CALL_EXIT(2)),
			ROOT("kp", KPROBE,
			     BPF_LDX_MEM(BPF_DW, R2, R1, 160),
			     CALL_EXIT(2)),
			SUB("s", RETURN(0)),
		},
		.check = check_attaches,
	},
	{
		.name = "tracepoint_reads_beyond_its_record", /* T33b */
		.funcs = {
			ROOT("kp", KPROBE,
			     BPF_LDX_MEM(BPF_DW, R2, R1, 16),
			     CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT,
			     BPF_LDX_MEM(BPF_DW, R2, R1, 160),
			     CALL_EXIT(2)),
			SUB("s", RETURN(0)),
		},
		.check = check_does_not_attach,
	},
	/* verified for the first root, the function would say nothing of the second */
	{
		.name = "function_of_equal_roots_reads_beyond_record",
		.funcs = {
			ROOT("ta", TRACEPOINT, CALL_EXIT(2)),
			ROOT("tb", TRACEPOINT, CALL_EXIT(2)),
			GLOBAL_TAG("g", PROTO_LONGS, "arg:ctx",
				   BPF_LDX_MEM(BPF_DW, R0, R1, 160),
				   RETURN(0)),
		},
		.check = check_none_attaches,
	},
};

const struct insn_group returns_group = {
	.name = "returns",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
