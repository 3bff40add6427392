// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What is passed to functions that are not followed: of another program and, with /own, global
 * ones of the same program. Such a function counts on all bits of its arguments, on memory that is
 * there and of the kind that BTF says, and on pointers that may be trusted.
 */

#define PLUS_ONE MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT
#define PASSES_NULL \
	ROOT("c", XDP, MOV_IMM(R1, 0), CALL_PROG(0, 1), EXIT)
#define MEM_AFTER_JOIN \
	ROOT("c", XDP, \
	     HELPER(get_prandom_u32), \
	     MOV_IMM(R1, 0), \
	     BPF_JMP_IMM(BPF_JEQ, R0, 7, 1), \
	     BPF_JMP_A(1), \
	     MOV_IMM(R1, 4096), \
	     CALL_PROG(0, 1), \
	     EXIT)
#define CTX_NUMBER_NOTHING \
	EXPORT("ctx", PROTO_XDP, \
	       BPF_LDX_MEM(BPF_W, R2, R1, 0), \
	       BPF_LDX_MEM(BPF_W, R0, R1, 4), \
	       BPF_ALU64_REG(BPF_SUB, R0, R2), \
	       EXIT), \
	EXPORT("num", PROTO_INT, PLUS_ONE), \
	EXPORT("none", PROTO_VOID, RETURN(9))
#define MEMORY_CTX_NUMBER_NOTHING \
	XDP_MAIN, \
	EXPORT("mem", PROTO_MEM, READS_IF_NOT_NULL), \
	CTX_NUMBER_NOTHING
#define WRITES_MEMORY \
	MAIN(XDP), \
	EXPORT("writes", PROTO_MEM, \
	       MOV_IMM(R0, 0), \
	       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1), \
	       BPF_ST_MEM(BPF_W, R1, 0, 99), \
	       EXIT)

#define PASSES_TASK(...) \
	ROOT("c", BPF_PROG_TYPE_RAW_TRACEPOINT, \
	     HELPER(get_current_task_btf), \
	     __VA_ARGS__, \
	     CALL_PROG(0, 1), \
	     RETURN(0))
#define READS_TASK \
	MAIN(BPF_PROG_TYPE_RAW_TRACEPOINT), \
	EXPORT_TAG("f", PROTO_TASK, "arg:trusted", LDX_TASK(BPF_W, R0, R1, TASK_PID), EXIT)

/* The context is memory, as much of it as the caller and all callees get to. */
static void check_context_size(const char *name, int less, int enough, int wanted)
{
	int short_run = test_run_context(loaded.fds[0], less);
	int run = test_run_context(loaded.fds[0], enough);

	sub_result(name, "run", short_run == -EINVAL && run == wanted, "%d, %d", short_run, run);
}

static void check_context_as_memory(const char *name)
{
	check_context_size(name, 0, 4, 5);
}

static void check_context_read_far(const char *name)
{
	check_context_size(name, 64, 68, 0);
}

/* A spill for a call that is inlined is not removed if a function is given its slot. */
static void check_spill(const char *name)
{
	int kept = 0, i;

	view_get(loaded.fds[0], &view0);
	for (i = 0; i < view0.nr_xlated; i++)
		kept += view0.xlated[i].code == (BPF_STX | BPF_MEM | BPF_DW) &&
			view0.xlated[i].dst_reg == R10;
	sub_result(name, "spill", kept == 1, "%d of %d insns", kept, view0.nr_xlated);
}

/* a record of a ring buffer in R0 */
#define RESERVE \
	LD_MAP(R1, MAP_RINGBUF), \
	MOV_IMM(R2, 8), \
	MOV_IMM(R3, 0), \
	HELPER(ringbuf_reserve), \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 1), \
	EXIT
/* in R6, and what it has in it is returned */
#define RESERVES(...) \
	ROOT("c", XDP, \
	     RESERVE, \
	     MOV_REG(R6, R0), \
	     __VA_ARGS__, \
	     BPF_LDX_MEM(BPF_W, R7, R6, 0), \
	     MOV_REG(R1, R6), \
	     MOV_IMM(R2, 0), \
	     HELPER(ringbuf_submit), \
	     MOV_REG(R0, R7), \
	     EXIT)

static const struct insn_test tests[] = {
	{
		.name = "memory_passed", /* P02 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_ST_MEM(BPF_W, R10, -4, 77),
			     STACK(R1, -4),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.runs = { RETURNS(77) },
	},
	{
		.name = "ctx_passed", /* P03 */
		.funcs = { ROOT("c", XDP, CALL_PROG(0, 2), EXIT) },
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.runs = { RETURNS(64) },
	},
	{
		.name = "nothing_passed", /* P04 */
		.funcs = { ROOT("c", XDP, CALL_PROG(0, 4), EXIT) },
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.runs = { RETURNS(9) },
	},
	{
		.name = "null_passed", /* P05 */
		.funcs = { PASSES_NULL },
		.library = { MEMORY_CTX_NUMBER_NOTHING },
	},
	{
		.name = "number_for_memory", /* P06 number for memory */
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R1, 4096),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "R1 type=scalar expected=",
	},
	{
		/* P06 names function and program */
		.name = "number_for_memory_names_function_and_program",
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R1, 4096),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "Caller passes invalid args into mem() of prog lib, id ",
	},
	{
		.name = "memory_too_small", /* P07 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_ST_MEM(BPF_H, R10, -2, 0),
			     STACK(R1, -2),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "Caller passes invalid args into mem()",
	},
	{
		.name = "ctx_for_memory", /* P08 */
		.funcs = { ROOT("c", XDP, CALL_PROG(0, 1), EXIT) },
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "Caller passes invalid args into mem()",
	},
	{
		.name = "stack_for_ctx", /* P09 */
		.funcs = {
			ROOT("c", XDP, STACK(R1, -8), CALL_PROG(0, 2), EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "R1 expects pointer to ctx",
	},
	{
		.name = "ctx_moved", /* P10 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_ALU64_IMM(BPF_ADD, R1, 8),
			     CALL_PROG(0, 2),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EACCES,
		.msg = "dereference of modified ctx ptr",
	},
	{
		.name = "pointer_for_number", /* P11 */
		.funcs = {
			ROOT("c", XDP, MOV_REG(R1, R10), CALL_PROG(0, 3), EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "R1 is not a scalar",
	},
	{
		.name = "register_not_set_for_number", /* P12 */
		.funcs = {
			ROOT("c", XDP,
			     HELPER(ktime_get_ns),
			     CALL_PROG(0, 3),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "R1 is not a scalar",
	},
	/* the second state that reaches the call looks the same but for what is passed */
	{
		.name = "join_before_call", /* P13 */
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     HELPER(get_prandom_u32),
			     MOV_REG(R1, R6),
			     BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
			     BPF_JMP_A(1),
			     MOV_IMM(R1, 4096),
			     CALL_PROG(0, 2),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EINVAL,
		.msg = "R1 expects pointer to ctx",
	},
	{
		.name = "join_before_call_all_states_kept", /* P13b */
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     HELPER(get_prandom_u32),
			     MOV_REG(R1, R6),
			     BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
			     BPF_JMP_A(1),
			     MOV_IMM(R1, 4096),
			     CALL_PROG(0, 2),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.prog_flags = BPF_F_TEST_STATE_FREQ,
		.err = EINVAL,
		.msg = "R1 expects pointer to ctx",
	},
	{
		.name = "join_before_own_function", /* P13c */
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     HELPER(get_prandom_u32),
			     MOV_REG(R1, R6),
			     BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
			     BPF_JMP_A(1),
			     MOV_IMM(R1, 4096),
			     CALL_FUNC(1),
			     EXIT),
			GLOBAL("ctx", PROTO_XDP,
			       BPF_LDX_MEM(BPF_W, R0, R1, 0),
			       RETURN(0)),
		},
		.err = EINVAL,
		.msg = "R1 expects pointer to ctx",
	},
	{
		.name = "join_before_own_function_all_states_kept", /* P13d */
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     HELPER(get_prandom_u32),
			     MOV_REG(R1, R6),
			     BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
			     BPF_JMP_A(1),
			     MOV_IMM(R1, 4096),
			     CALL_FUNC(1),
			     EXIT),
			GLOBAL("ctx", PROTO_XDP,
			       BPF_LDX_MEM(BPF_W, R0, R1, 0),
			       RETURN(0)),
		},
		.prog_flags = BPF_F_TEST_STATE_FREQ,
		.err = EINVAL,
		.msg = "R1 expects pointer to ctx",
	},
	{
		.name = "register_clobbered_by_call", /* P14 */
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R1, 1),
			     MOV_IMM(R2, 2),
			     CALL_PROG(0, 3),
			     MOV_REG(R0, R2),
			     EXIT),
		},
		.library = { MEMORY_CTX_NUMBER_NOTHING },
		.err = EACCES,
		.msg = "R2 !read_ok",
	},
	{
		.name = "result_is_any_number", /* P15 */
		.funcs = {
			ROOT_AS("c", CGROUP_SKB, INGRESS, 0,
				MOV_IMM(R1, 0),
				CALL_PROG(0, 1),
				EXIT),
		},
		.library = {
			ROOT_AS("lib", CGROUP_SKB, INGRESS, 0, RETURN(1)),
			EXPORT("one", PROTO_INT, RETURN(1)),
		},
		.err = EINVAL,
		.msg = "At program exit the register R0 has unknown scalar",
	},
	{
		.name = "null_for_nonnull", /* P16 */
		.funcs = { PASSES_NULL },
		.library = {
			XDP_MAIN,
			EXPORT_TAG("mem", PROTO_MEM, "arg:nonnull",
				   READS_IF_NOT_NULL),
			CTX_NUMBER_NOTHING,
		},
		.err = EINVAL,
		.msg = "Caller passes invalid args into mem()",
	},
	{
		.name = "pointer_to_arena", /* P17 */
		.funcs = { PASSES_NULL },
		.library = {
			XDP_MAIN,
			EXPORT_TAG("mem", PROTO_MEM, "arg:arena",
				   MOV_IMM(R0, 0),
				   MOV_IMM(R0, 0),
				   RETURN(0)),
			CTX_NUMBER_NOTHING,
		},
		.err = EINVAL,
		.msg = "it has a pointer to an arena as argument",
	},
	/* NULL is a number, and must not be taken for any other */
	{
		.name = "null_or_number", /* P130 */
		.funcs = { MEM_AFTER_JOIN },
		.library = {
			MAIN(XDP),
			EXPORT("mem", PROTO_MEM, READS_IF_NOT_NULL),
		},
		.own = true,
		.err = EINVAL,
		.msg = "R1 type=scalar expected=",
	},
	{
		.name = "null_or_number_all_states_kept", /* P130b */
		.funcs = { MEM_AFTER_JOIN },
		.library = {
			MAIN(XDP),
			EXPORT("mem", PROTO_MEM, READS_IF_NOT_NULL),
		},
		.own = true,
		.prog_flags = BPF_F_TEST_STATE_FREQ,
		.err = EINVAL,
		.msg = "R1 type=scalar expected=",
	},
	{
		.name = "null_or_null", /* P130c */
		.funcs = {
			ROOT("c", XDP,
			     HELPER(get_prandom_u32),
			     MOV_IMM(R1, 0),
			     BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
			     BPF_JMP_A(1),
			     MOV_IMM(R1, 0),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = {
			MAIN(XDP),
			EXPORT("mem", PROTO_MEM, READS_IF_NOT_NULL),
		},
		.own = true,
	},
	{
		.name = "task_struct_for_memory", /* P134 */
		.funcs = {
			ROOT("c", KPROBE,
			     HELPER(get_current_task_btf),
			     MOV_REG(R1, R0),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = {
			MAIN(KPROBE),
			EXPORT("writes", PROTO_MEM,
			       MOV_IMM(R0, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			       BPF_ST_MEM(BPF_W, R1, 0, 1),
			       EXIT),
		},
		.own = true,
		.err = EINVAL,
		.msg = "only read is supported",
	},
	{
		.name = "syscall_ctx_for_memory", /* P160 */
		.funcs = { SYSCALL("c", CALL_PROG(0, 1), EXIT) },
		.library = {
			SYSCALL("lib", RETURN(0)),
			EXPORT("mem", PROTO_MEM,
			       MOV_IMM(R0, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 2),
			       BPF_ST_MEM(BPF_W, R1, 0, 5),
			       BPF_LDX_MEM(BPF_W, R0, R1, 0),
			       EXIT),
		},
		.check = check_context_as_memory,
	},
	{
		.name = "callee_reads_far_into_ctx", /* P161 */
		.funcs = { SYSCALL("c", CALL_PROG(0, 1), EXIT) },
		.library = {
			SYSCALL("lib", RETURN(0)),
			EXPORT_TAG("far", PROTO_MEM, "arg:ctx",
				   BPF_LDX_MEM(BPF_W, R0, R1, 64),
				   EXIT),
		},
		.check = check_context_read_far,
	},
	{
		.name = "timer_for_memory", /* P162 */
		.funcs = {
			ROOT("c", XDP,
			     LD_VALUE(R1, MAP_TIMER, 0),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.err = EINVAL,
		.msg = "bpf_timer cannot be accessed",
	},
	{
		.name = "dynptr_for_memory", /* P163 */
		.funcs = {
			ROOT("c", XDP,
			     LD_VALUE(R1, MAP_COUNTERS, 0),
			     MOV_IMM(R2, 64),
			     MOV_IMM(R3, 0),
			     STACK(R4, -16),
			     HELPER(dynptr_from_mem),
			     STACK(R1, -16),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.err = EINVAL,
		.msg = "invalid read from stack",
	},
	{
		.name = "number_overwritten_by_callee", /* P164 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_ST_MEM(BPF_DW, R10, -8, 4),
			     STACK(R1, -8),
			     CALL_PROG(0, 1),
			     BPF_LDX_MEM(BPF_DW, R2, R10, -8),
			     LD_VALUE(R1, MAP_COUNTERS, 0),
			     BPF_ALU64_REG(BPF_ADD, R1, R2),
			     BPF_LDX_MEM(BPF_B, R0, R1, 0),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.err = EINVAL,
		.msg = "register with unbounded min value is not allowed",
	},
	{
		.name = "pointer_overwritten_by_callee", /* P165 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_STX_MEM(BPF_DW, R10, R1, -8),
			     STACK(R1, -8),
			     CALL_PROG(0, 1),
			     BPF_LDX_MEM(BPF_DW, R1, R10, -8),
			     BPF_LDX_MEM(BPF_W, R0, R1, 0),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.err = EACCES,
		.msg = "R1 invalid mem access 'scalar'",
	},
	/* the upper half of a number is random where it is not known to be read */
	{
		.name = "null_of_32_bits", /* P180 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_MOV32_IMM(R1, 0),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = {
			MAIN(XDP),
			EXPORT("mem", PROTO_MEM,
			       MOV_IMM(R0, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			       RETURN(1)),
		},
		.own = true,
		.prog_flags = BPF_F_TEST_RND_HI32,
		.runs = { RETURNS(0) },
	},
	{
		.name = "register_not_set_for_untrusted",
		.funcs = {
			ROOT("c", XDP, HELPER(ktime_get_ns), CALL_PROG(0, 1), RETURN(0)),
		},
		.library = {
			MAIN(XDP),
			EXPORT_TAG("mem", PROTO_MEM, "arg:untrusted",
				   BPF_LDX_MEM(BPF_W, R0, R1, 0),
				   EXIT),
		},
		.own = true,
		.err = EACCES,
		.msg = "R1 !read_ok",
	},
	{
		.name = "task_not_trusted", /* P181 */
		.funcs = { PASSES_TASK(LDX_TASK(BPF_DW, R1, R0, TASK_PI_TOP_TASK)) },
		.library = { READS_TASK },
		.own = true,
		.err = EINVAL,
		.msg = "R1 is expected to be trusted",
	},
	{
		.name = "task_of_rcu", /* P181b */
		.funcs = { PASSES_TASK(LDX_TASK(BPF_DW, R1, R0, TASK_REAL_PARENT)) },
		.library = { READS_TASK },
		.own = true,
		.err = EINVAL,
		.msg = "R1 is expected to be trusted",
	},
	{
		.name = "task_trusted", /* P181c */
		.funcs = { PASSES_TASK(MOV_REG(R1, R0)) },
		.library = { READS_TASK },
		.own = true,
	},
	{
		.name = "spill_passed_as_memory", /* P182 */
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R6, 7),
			     MOV_IMM(R1, 1),
			     BPF_STX_MEM(BPF_DW, R10, R1, -8),
			     HELPER(get_smp_processor_id),
			     BPF_LDX_MEM(BPF_DW, R1, R10, -8),
			     STACK(R1, -8),
			     CALL_PROG(0, 1),
			     MOV_REG(R0, R6),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.own = true,
		.check = check_spill,
	},
	/* the frame of a caller's caller changes as well */
	{
		.name = "number_of_outer_frame_overwritten",
		.funcs = {
			ROOT("c", XDP,
			     BPF_ST_MEM(BPF_DW, R10, -8, 0),
			     STACK(R1, -8),
			     CALL_FUNC(1),
			     BPF_LDX_MEM(BPF_DW, R2, R10, -8),
			     LD_VALUE(R1, MAP_COUNTERS, 0),
			     BPF_ALU64_REG(BPF_ADD, R1, R2),
			     BPF_LDX_MEM(BPF_B, R0, R1, 0),
			     EXIT),
			SUB_PROTO("s", PROTO_MEM, CALL_PROG(0, 1), EXIT),
		},
		.library = { WRITES_MEMORY },
		.err = EINVAL,
		.msg = "math between map_value pointer and register",
	},
	{
		.name = "map_key_for_memory",
		.funcs = {
			ROOT("c", XDP,
			     LD_MAP(R1, MAP_HASH),
			     LD_FUNC(R2, 1),
			     MOV_IMM(R3, 0),
			     MOV_IMM(R4, 0),
			     HELPER(for_each_map_elem),
			     RETURN(2)),
			SUB("cb", MOV_REG(R1, R2), CALL_PROG(0, 1), RETURN(0)),
		},
		.library = { WRITES_MEMORY },
		.err = EINVAL,
		.msg = "R1 cannot write into map_key",
	},
	{
		.name = "record_for_memory",
		.funcs = { RESERVES(MOV_REG(R1, R6), CALL_PROG(0, 1)) },
		.library = { WRITES_MEMORY },
		.own = true,
		.runs = { RETURNS(99) },
	},
	{
		.name = "record_for_memory_and_kept",
		.funcs = {
			ROOT("c", XDP,
			     RESERVE,
			     MOV_REG(R1, R0),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.own = true,
		.err = EINVAL,
		.msg = "Unreleased reference",
	},
	{
		.name = "slice_only_read_for_memory",
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R2, 0),
			     STACK(R3, -16),
			     KFUNC(bpf_dynptr_from_xdp),
			     STACK(R1, -16),
			     MOV_IMM(R2, 0),
			     BPF_ST_MEM(BPF_DW, R10, -24, 0),
			     STACK(R3, -24),
			     MOV_IMM(R4, 8),
			     KFUNC(bpf_dynptr_slice),
			     BPF_JMP_IMM(BPF_JNE, R0, 0, 1),
			     EXIT,
			     MOV_REG(R1, R0),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.own = true,
		.err = EINVAL,
		.msg = "R1 cannot write into rdonly_mem",
	},
	{
		.name = "iterator_for_memory",
		.funcs = {
			ROOT("c", XDP,
			     STACK(R1, -8),
			     MOV_IMM(R2, 0),
			     MOV_IMM(R3, 5),
			     KFUNC(bpf_iter_num_new),
			     STACK(R1, -8),
			     CALL_PROG(0, 1),
			     EXIT),
		},
		.library = { WRITES_MEMORY },
		.own = true,
		.err = EINVAL,
		.msg = "invalid read from stack R1",
	},
};

static const struct func writes_memory[] = { WRITES_MEMORY };

/* A map that programs only read. */
static void read_only_map(void)
{
	int map = map_create(BPF_MAP_TYPE_ARRAY, 4, 64, 1, BPF_F_RDONLY_PROG);
	const struct func caller[] = {
		ROOT("c", XDP, LD_VALUE(R1, map, 0), CALL_PROG(0, 1), EXIT),
	};

	fd_array[0] = LOAD_PROG(writes_memory);
	REFUSE_PROG("map_only_read_for_memory", caller, EINVAL,
		    "write into map forbidden");
	close(fd_array[0]);
	close(map);
}

/*
 * Memory is set in one arm only, and states of the other arm must not be taken for the same: what
 * was on the stack would be given to the callee.
 */
static void stack_not_set(void)
{
	static const struct func library[] = {
		MAIN(SOCKET_FILTER),
		EXPORT("f", PROTO_MEM, READS_IF_NOT_NULL),
	};
	static const struct func caller[] = {
		ROOT("c", SOCKET_FILTER,
		     HELPER(get_prandom_u32),
		     BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
		     BPF_ST_MEM(BPF_W, R10, -4, 0),
		     STACK(R1, -4),
		     CALL_PROG(0, 1),
		     EXIT),
	};
	__u64 caps = 1ULL << CAP_BPF;
	char said[400];
	pid_t child;
	int err;

	/* the callee of a process that may do no more than that */
	fflush(stdout);
	child = fork();
	if (!child) {
		drop_caps(caps);
		_exit(pin(LOAD_PROG(library), "/sys/fs/bpf/insn-stack") != 0);
	}
	waitpid(child, NULL, 0);
	fd_array[0] = get_pinned("/sys/fs/bpf/insn-stack");
	err = load_as(caps, caller, 1, said, sizeof(said));
	result("stack_not_set_in_one_arm", fd_array[0] >= 0 && err == EINVAL &&
	       strstr(said, "invalid read from stack"), "callee %d, errno %d: %s", fd_array[0],
	       err, said);
	unlink("/sys/fs/bpf/insn-stack");
	close(fd_array[0]);
}

static void scenarios(void)
{
	read_only_map();
	stack_not_set();
}

const struct insn_group call_arguments_group = {
	.name = "call_arguments",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
