// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Stack depth is counted from each root; dead code is what is dead in all roots; views follow when
 * code moves; calls reach as far as a load is long.
 */

#define NEAR_DISTANCE 30000
#define FAR_DISTANCE 40000
#define STACK_OF_200 \
	SUB("s", BPF_ST_MEM(BPF_DW, R10, -200, 1), RETURN(0))

/* The function that is dead in all roots is gone, and those behind it have moved. */
static void check_dead_function(const char *name)
{
	int a = -1, b = -1, c = -1;

	test_run(loaded.fds[0], &a);
	test_run(loaded.fds[1], &b);
	test_run(loaded.fds[2], &c);
	view_get(loaded.fds[1], &view1);
	sub_result(name, "run",
		   a == 33 && b == 34 && c == 44 && kallsyms_count("_dead") == 0 &&
		   kallsyms_count("_s2") == 1 && kallsyms_count("_tb") == 1 &&
		   kallsyms_count("_xc") == 1 && view1.info.nr_func_info == 2 &&
		   view1.info.nr_jited_ksyms == 2,
		   "%d %d %d, dead in kallsyms %d", a, b, c, kallsyms_count("_dead"));
}

static void fill_big(struct func *big, const struct bpf_insn *head, int n, int distance)
{
	static struct bpf_insn insns[FAR_DISTANCE + 16];
	int i;

	memcpy(insns, head, n * sizeof(*head));
	for (i = n; i < n + distance; i++)
		insns[i] = (struct bpf_insn)MOV_IMM(R1, 0);
	insns[i] = (struct bpf_insn)EXIT;
	big->long_insns = insns;
	big->long_len = n + distance + 1;
}

/* The callee is as far behind the call in "big": s16 ends at 32767. */
static void fill_call(struct func *funcs, int distance)
{
	static const struct bpf_insn head[] = { CALL_FUNC(2) };

	fill_big(&funcs[1], head, ARRAY_SIZE(head), distance);
}

/* The same for a callback, which an inlined bpf_loop calls directly. */
static void fill_callback(struct func *funcs, int distance)
{
	static const struct bpf_insn head[] = {
		MOV_IMM(R1, 3),
		LD_FUNC(R2, 2),
		MOV_IMM(R3, 0),
		MOV_IMM(R4, 0),
		HELPER(loop),
	};

	fill_big(&funcs[1], head, ARRAY_SIZE(head), distance);
}

static void fill_near_call(struct func *funcs)
{
	fill_call(funcs, NEAR_DISTANCE);
}

static void fill_far_call(struct func *funcs)
{
	fill_call(funcs, FAR_DISTANCE);
}

static void fill_near_callback(struct func *funcs)
{
	fill_callback(funcs, NEAR_DISTANCE);
}

static void fill_far_callback(struct func *funcs)
{
	fill_callback(funcs, FAR_DISTANCE);
}

static void check_call(const char *name)
{
	int ret = -1;

	test_run(loaded.fds[1], &ret);
	view_get(loaded.fds[1], &view1);
	sub_result(name, "run", ret == 5 && view1.info.nr_jited_ksyms == 2, "%d, %u images", ret,
		   view1.info.nr_jited_ksyms);
}

static void check_callback(const char *name)
{
	int ret = -1;
	__u64 v[16];

	counters_zero();
	test_run(loaded.fds[1], &ret);
	counters_read(v);
	sub_result(name, "run", ret == 3 && v[0] == 3, "%d, called %llu times", ret, v[0]);
}

#define BIG(sub) \
	ROOT("r0", SOCKET_FILTER, RETURN(0)), \
	ROOT("big", SOCKET_FILTER, EXIT), \
	sub

static const struct insn_test tests[] = {
	{
		.name = "stack_per_root", /* T35 */
		.funcs = {
			ROOT("ka", KPROBE,
			     BPF_ST_MEM(BPF_DW, R10, -256, 1),
			     CALL_EXIT(2)),
			ROOT("xb", XDP,
			     BPF_ST_MEM(BPF_DW, R10, -296, 1),
			     CALL_EXIT(2)),
			STACK_OF_200,
		},
	},
	{
		.name = "stack_of_second_root_too_deep", /* T36 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT("xb", XDP,
			     BPF_ST_MEM(BPF_DW, R10, -400, 1),
			     CALL_EXIT(2)),
			STACK_OF_200,
		},
		.err = EACCES,
		.msg = "combined stack size of 2 calls is 608. Too large",
	},
	{
		.name = "arms_dead_in_the_other_root", /* T38 */
		.funcs = {
			ROOT("xa", XDP, MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
			ROOT("tb", TC, MOV_IMM(R1, 2), CALL_FUNC(2), EXIT),
			SUB("s",
			    BPF_JMP_IMM(BPF_JEQ, R1, 1, 2),
			    RETURN(22),
			    RETURN(11)),
		},
		.runs = { RETURNS(11), RETURNS(22) },
	},
	{
		.name = "dead_function_removed", /* T39 */
		.funcs = {
			ROOT("xa", XDP, MOV_IMM(R1, 1), CALL_FUNC(1), EXIT),
			SUB("s",
			    MOV_IMM(R0, 33),
			    BPF_JMP_IMM(BPF_JNE, R1, 9, 1),
			    CALL_FUNC(2),
			    EXIT),
			SUB("dead", MOV_IMM(R0, 1), RETURN(2)),
			ROOT("tb", TC,
			     MOV_IMM(R1, 2),
			     CALL_FUNC(1),
			     BPF_ALU64_IMM(BPF_ADD, R0, 1),
			     EXIT),
			SUB("s2", RETURN(44)),
			ROOT("xc", XDP, CALL_FUNC(4), EXIT),
		},
		.check = check_dead_function,
	},
	{
		.name = "call_over_30000_insns", /* A1 */
		.funcs = { BIG(SUB("s", RETURN(5))) },
		.log_level = 4,
		.fill = fill_near_call,
		.check = check_call,
	},
	{
		.name = "call_over_40000_insns", /* A1 */
		.funcs = { BIG(SUB("s", RETURN(5))) },
		.log_level = 4,
		.fill = fill_far_call,
		.check = check_call,
	},
	{
		.name = "callback_over_30000_insns", /* A5 */
		.funcs = { BIG(SUB("cb", INC(0), RETURN(0))) },
		.log_level = 4,
		.fill = fill_near_callback,
		.check = check_callback,
	},
	{
		.name = "callback_over_40000_insns", /* A5 */
		.funcs = { BIG(SUB("cb", INC(0), RETURN(0))) },
		.log_level = 4,
		.fill = fill_far_callback,
		.check = check_callback,
	},
	/* a mark for each result of 32 bits, in front of what has a prologue */
	{
		.name = "random_high_halves",
		.funcs = {
			ROOT("tb", TC,
			     MOV_REG(R6, R1),
			     SKB_BYTES(8, 0),
			     BPF_ST_MEM(BPF_B, R7, 0, 1),
			     MOV_IMM(R1, 2),
			     CALL_FUNC(2),
			     EXIT),
			ROOT("xb", XDP,
			     BPF_LDX_MEM(BPF_W, R1, R1, 8),
			     MOV_IMM(R1, 3),
			     CALL_FUNC(2),
			     EXIT),
			SUB("s", BPF_MOV32_REG(R0, R1), BPF_ALU32_IMM(BPF_ADD, R0, 4), EXIT),
		},
		.prog_flags = BPF_F_TEST_RND_HI32 | BPF_F_TEST_STATE_FREQ |
			      BPF_F_TEST_REG_INVARIANTS,
		.runs = { RETURNS(6), RETURNS(7) },
	},
};

const struct insn_group layout_group = {
	.name = "layout",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
