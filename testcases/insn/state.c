// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Verifier state must not leak from one root into the next. Attacks state pruning, spills,
 * callbacks, uninitialised arguments, loops and stale packet pointers in shared code.
 */

#define JOIN_BEFORE_CTX_LOAD \
	SUB("s", \
	    MOV_REG(R6, R1), \
	    HELPER(ktime_get_ns), \
	    BPF_JMP_IMM(BPF_JEQ, R0, 0, 1), \
	    MOV_IMM(R0, 1), \
	    MOV_IMM(R0, 2), \
	    BPF_LDX_MEM(BPF_W, R7, R6, 4), \
	    RETURN(0))

static void zero_array(void)
{
	__u64 v[8] = { 0 };

	map_set(map_fd(MAP_ARRAY), 1, v);
}

/* A lookup that is inlined for one kind of map must not be for the other. */
static void check_lookups(const char *name)
{
	int a = -1, b = -1, i;
	__u64 v[8] = { 0 };

	for (i = 0; i < 3; i++) {
		test_run(loaded.fds[0], &a);
		test_run(loaded.fds[1], &b);
	}
	map_get(map_fd(MAP_ARRAY), 1, v);
	sub_result(name, "run", a == 8 && b == 8 && v[0] == 3, "%d %d count %llu", a, b, v[0]);
}

static const struct insn_test tests[] = {
	{
		.name = "ctx_compared_with_null", /* T70 */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("tb", TC, CALL_EXIT(2)),
			SUB("s",
			    MOV_IMM(R0, 0),
			    BPF_JMP_IMM(BPF_JEQ, R1, 0, 3),
			    BPF_ST_MEM(BPF_DW, R10, -8, 0),
			    BPF_LDX_MEM(BPF_W, R0, R10, -8),
			    BPF_JMP_A(0),
			    EXIT),
		},
	},
	{
		.name = "ctx_spilled", /* T71 */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s",
			    BPF_STX_MEM(BPF_DW, R10, R1, -8),
			    BPF_LDX_MEM(BPF_DW, R2, R10, -8),
			    RETURN(0)),
		},
	},
	{
		.name = "ctx_deref_after_spill", /* T71b */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s",
			    BPF_STX_MEM(BPF_DW, R10, R1, -8),
			    BPF_LDX_MEM(BPF_DW, R2, R10, -8),
			    BPF_LDX_MEM(BPF_W, R0, R2, 0),
			    EXIT),
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	/* the same state at a pruning point, but for the type of the context */
	{
		.name = "ctx_deref_after_join", /* T72 */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			JOIN_BEFORE_CTX_LOAD,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_deref_after_join_reversed", /* T72b */
		.funcs = {
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			ROOT("xa", XDP, CALL_EXIT(2)),
			JOIN_BEFORE_CTX_LOAD,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_as_callback_ctx", /* T73 */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s",
			    MOV_REG(R3, R1),
			    MOV_IMM(R1, 3),
			    LD_FUNC(R2, 3),
			    MOV_IMM(R4, 0),
			    HELPER(loop),
			    RETURN(0)),
			SUB("cb", RETURN(0)),
		},
		.err = EACCES,
	},
	{
		.name = "ctx_deref_in_callback", /* T73b */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s",
			    BPF_STX_MEM(BPF_DW, R10, R1, -8),
			    STACK(R3, -8),
			    MOV_IMM(R1, 3),
			    LD_FUNC(R2, 3),
			    MOV_IMM(R4, 0),
			    HELPER(loop),
			    RETURN(0)),
			SUB("cb",
			    BPF_LDX_MEM(BPF_DW, R1, R2, 0),
			    BPF_LDX_MEM(BPF_W, R0, R1, 0),
			    RETURN(0)),
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "argument_not_set_by_second_root", /* T74 */
		.funcs = {
			ROOT("xa", XDP, MOV_IMM(R3, 1), CALL_EXIT(2)),
			ROOT("tb", TC, CALL_EXIT(2)),
			SUB("s", MOV_REG(R0, R3), EXIT),
		},
		.err = EACCES,
		.msg = "R3 !read_ok",
	},
	{
		.name = "argument_not_set_by_first_root", /* T74b */
		.funcs = {
			ROOT("tb", TC, CALL_EXIT(2)),
			ROOT("xa", XDP, MOV_IMM(R3, 1), CALL_EXIT(2)),
			SUB("s", MOV_REG(R0, R3), EXIT),
		},
		.err = EACCES,
		.msg = "R3 !read_ok",
	},
	{
		.name = "function_of_no_root", /* T75 */
		.funcs = {
			ROOT("xa", XDP, RETURN(0)),
			ROOT("tb", TC, RETURN(0)),
			SUB("s", RETURN(0)),
		},
		.err = EINVAL,
	},
	{
		.name = "endless_for_second_root", /* T76 */
		.funcs = {
			ROOT("xa", XDP, MOV_IMM(R1, 0), CALL_EXIT(2)),
			ROOT("tb", TC, MOV_IMM(R1, 1), CALL_EXIT(2)),
			SUB("s", BPF_JMP_IMM(BPF_JNE, R1, 0, -1), RETURN(0)),
		},
		.err = EINVAL,
		.msg = "infinite loop detected",
	},
	{
		.name = "packet_moved_by_shared_function", /* T77 */
		.funcs = {
			ROOT("xa", XDP,
			     MOV_REG(R6, R1),
			     BPF_LDX_MEM(BPF_W, R7, R1, 0),
			     BPF_LDX_MEM(BPF_W, R8, R1, 4),
			     MOV_IMM(R2, 1),
			     CALL_FUNC(2),
			     MOV_REG(R0, R7),
			     BPF_ALU64_IMM(BPF_ADD, R0, 4),
			     BPF_JMP_REG(BPF_JGT, R0, R8, 1),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			ROOT("kb", KPROBE, MOV_IMM(R2, 0), CALL_EXIT(2)),
			SUB("s",
			    MOV_IMM(R0, 0),
			    BPF_JMP_IMM(BPF_JEQ, R2, 0, 2),
			    MOV_IMM(R2, -4),
			    HELPER(xdp_adjust_head),
			    RETURN(0)),
		},
		.err = EACCES,
		.msg = "invalid mem access 'scalar'",
	},
	{
		.name = "lookup_in_two_kinds_of_maps", /* T78 */
		.funcs = {
			ROOT("xa", XDP,
			     LD_MAP(R1, MAP_PERCPU_ARRAY),
			     CALL_FUNC(2),
			     EXIT),
			ROOT("tb", TC,
			     LD_MAP(R1, MAP_ARRAY),
			     CALL_FUNC(2),
			     EXIT),
			SUB("s",
			    BPF_ST_MEM(BPF_W, R10, -4, 1),
			    STACK(R2, -4),
			    HELPER(map_lookup_elem),
			    BPF_JMP_IMM(BPF_JEQ, R0, 0, 4),
			    BPF_LDX_MEM(BPF_DW, R1, R0, 0),
			    BPF_ALU64_IMM(BPF_ADD, R1, 1),
			    BPF_STX_MEM(BPF_DW, R0, R1, 0),
			    RETURN(8)),
		},
		.setup = zero_array,
		.check = check_lookups,
	},
};

const struct insn_group state_group = {
	.name = "state",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
