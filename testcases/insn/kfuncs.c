// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Kfuncs are specialised per program type, and some are allowed for some types only.
 */

#define DYNPTR_FROM_SKB \
	SUB("s", \
	    MOV_IMM(R2, 0), \
	    STACK(R3, -16), \
	    KFUNC(bpf_dynptr_from_skb), \
	    RETURN(0))

/* For cgroup_skb the dynptr is read-only. */
static void check_read_only(const char *name)
{
	char packet[64] = { 0x45, [12] = 8 };
	int ret = -1, err;
	__u64 v[16];

	counters_zero();
	err = test_run_packet(loaded.fds[1], packet, sizeof(packet), &ret);
	counters_read(v);
	sub_result(name, "run", !err && (__s64)v[0] == -EINVAL, "run %d dynptr_write gives %lld",
		   err, (__s64)v[0]);
}

static const struct insn_test tests[] = {
	{
		.name = "dynptr_from_skb_tc_cgroup", /* T25 */
		.funcs = {
			ROOT("tc", TC, CALL_EXIT(2)),
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0, CALL_EXIT(2)),
			DYNPTR_FROM_SKB,
		},
		.err = EINVAL,
		.msg = "kfunc bpf_dynptr_from_skb has different implementations",
	},
	{
		.name = "dynptr_from_skb_cgroup_tc", /* T25b */
		.funcs = {
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0, CALL_EXIT(2)),
			ROOT("tc", TC, CALL_EXIT(2)),
			DYNPTR_FROM_SKB,
		},
		.err = EINVAL,
		.msg = "kfunc bpf_dynptr_from_skb has different implementations",
	},
	{
		.name = "dynptr_from_skb_tc_xdp", /* T25c */
		.funcs = {
			ROOT("tc", TC, CALL_EXIT(2)),
			ROOT("xd", XDP, CALL_EXIT(2)),
			DYNPTR_FROM_SKB,
		},
		.err = EACCES,
		.msg = "calling kernel function bpf_dynptr_from_skb is not allowed",
	},
	{
		.name = "dynptr_from_skb_tcs", /* T25d */
		.funcs = {
			ROOT("ca", TC, CALL_EXIT(2)),
			ROOT("cb", TC, CALL_EXIT(2)),
			DYNPTR_FROM_SKB,
		},
		.runs = { [1] = RETURNS(0) },
	},
	{
		.name = "dynptr_read_only_cgroups", /* T25e */
		.funcs = {
			ROOT_AS("ga", CGROUP_SKB, INGRESS, 0,
				CALL_FUNC(2),
				RETURN(1)),
			ROOT_AS("gb", CGROUP_SKB, INGRESS, 0,
				CALL_FUNC(2),
				RETURN(1)),
			SUB("s",
			    MOV_IMM(R2, 0),
			    STACK(R3, -16),
			    KFUNC(bpf_dynptr_from_skb),
			    BPF_ST_MEM(BPF_DW, R10, -24, 0),
			    STACK(R1, -16),
			    MOV_IMM(R2, 0),
			    STACK(R3, -24),
			    MOV_IMM(R4, 8),
			    MOV_IMM(R5, 0),
			    HELPER(dynptr_write),
			    LD_VALUE(R3, MAP_COUNTERS, 0),
			    BPF_STX_MEM(BPF_DW, R3, R0, 0),
			    RETURN(0)),
		},
		.check = check_read_only,
	},
	{
		.name = "rcu_kfuncs_kprobe_xdp", /* T25f */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("xd", XDP, CALL_EXIT(2)),
			SUB("s",
			    KFUNC(bpf_rcu_read_lock),
			    KFUNC(bpf_rcu_read_unlock),
			    RETURN(0)),
		},
	},
	{
		.name = "throw_in_shared_function", /* T44 */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("xb", XDP, CALL_EXIT(2)),
			SUB("s", MOV_IMM(R1, 0), KFUNC(bpf_throw), RETURN(0)),
		},
		.err = EINVAL,
		.msg = "bpf_throw is not supported in a multi-root load",
	},
	{
		.name = "obj_new_in_shared_function", /* T44b */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("xb", XDP, CALL_EXIT(2)),
			SUB("s",
			    MOV_IMM(R1, 3),
			    MOV_IMM(R2, 0),
			    KFUNC(bpf_obj_new_impl),
			    RETURN(0)),
		},
		.err = EINVAL,
		.msg = "bpf_obj_new_impl is not supported in a multi-root load",
	},
	{
		.name = "timer_in_shared_function", /* T43 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s",
			    LD_MAP(R1, MAP_ARRAY),
			    LD_FUNC(R2, 3),
			    HELPER(timer_set_callback),
			    RETURN(0)),
			SUB("cb", RETURN(0)),
		},
		.err = EINVAL,
		.msg = "bpf_timer_set_callback is not supported in a multi-root load",
	},
	/* the kernel passes it the program, which is not one here */
	{
		.name = "implicit_argument_in_shared_function",
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("xb", XDP, CALL_EXIT(2)),
			SUB("s",
			    VALUE(MAP_WQ),
			    MOV_REG(R1, R0),
			    LD_FUNC(R2, 3),
			    MOV_IMM(R3, 0),
			    MOV_IMM(R4, 0),
			    KFUNC(bpf_wq_set_callback),
			    RETURN(0)),
			SUB("cb", RETURN(0)),
		},
		.err = EINVAL,
		.msg = "bpf_wq_set_callback is not supported in a multi-root load",
	},
};

#define MANY_CALLS 60000

/* Seconds that it takes to refuse a load with many calls that are only walked over */
static double refuse_many_calls(int nr_roots)
{
	static struct bpf_insn insns[MANY_CALLS + 3];
	struct func funcs[17] = {};
	struct timespec start, end;
	char names[16][8];
	int i, n = 0;

	insns[n++] = (struct bpf_insn)BPF_LDX_MEM(BPF_DW, R0, R9, 0);
	while (n <= MANY_CALLS)
		insns[n++] = (struct bpf_insn)KFUNC(bpf_dynptr_from_xdp);
	insns[n++] = (struct bpf_insn)MOV_IMM(R0, 0);
	insns[n++] = (struct bpf_insn)EXIT;
	for (i = 0; i < nr_roots; i++) {
		struct func root = ROOT(names[i], SOCKET_FILTER, CALL_FUNC(nr_roots), EXIT);

		snprintf(names[i], sizeof(names[i]), "r%d", i);
		funcs[i] = root;
	}
	/* the only one that may call it */
	funcs[i - 1].type = XDP;
	funcs[i].name = "s";
	funcs[i].long_insns = insns;
	funcs[i].long_len = n;
	opt_log_level = 1;
	load_prepare(&loaded, funcs, nr_roots + 1);
	opt_log_level = 2;
	clock_gettime(CLOCK_MONOTONIC, &start);
	load_do(&loaded);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9;
}

/* Who may call a kfunc is found out once, and not for every call and every root. */
static void many_calls(void)
{
	double two = refuse_many_calls(2), sixteen = refuse_many_calls(16);

	result("kfunc_called_often_with_sixteen_roots",
	       loaded.err == EACCES && sixteen < 3 * two + 1, "errno %d, %.2f s, with two %.2f s",
	       loaded.err, sixteen, two);
}

const struct insn_group kfuncs_group = {
	.name = "kfuncs",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = many_calls,
};
