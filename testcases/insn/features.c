// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What belongs to one program since Linux 7.x: arguments on the stack, instruction arrays, private
 * stacks, streams. In a load with several roots it is refused, or is that of the load.
 */

/* what a sixth argument is stored to and loaded from */
#define R11 11

#define CALL_WITH_SIX(k) \
	MOV_IMM(R1, 1), \
	MOV_IMM(R2, 2), \
	MOV_IMM(R3, 3), \
	MOV_IMM(R4, 4), \
	MOV_IMM(R5, 5), \
	BPF_ST_MEM(BPF_DW, R11, -8, 6), \
	CALL_FUNC(k), \
	EXIT
#define SIXTH_ARGUMENT \
	SUB_PROTO("s", PROTO_SIX_INTS, BPF_LDX_MEM(BPF_DW, R0, R11, 8), EXIT)
/* to the second of two places */
#define JUMPS_BY_ARRAY(...) \
	ROOT("xa", XDP, \
	     LD_VALUE(R1, MAP_INSN_ARRAY, 8), \
	     BPF_LDX_MEM(BPF_DW, R1, R1, 0), \
	     BPF_RAW_INSN(BPF_JMP | BPF_JA | BPF_X, R1, 0, 0, 0), \
	     RETURN(3), \
	     __VA_ARGS__)
#define LIBRARY_THAT_ADDS_1 \
	XDP_MAIN, \
	EXPORT("f", PROTO_INT, MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT)
#define STACK_OF_304_TWICE(nm, type, k) \
	ROOT(nm, type, BPF_ST_MEM(BPF_DW, R10, -304, 1), CALL_EXIT(k))
#define STACK_OF_304 SUB("s", BPF_ST_MEM(BPF_DW, R10, -304, 1), RETURN(0))
/* is interrupted after a quarter of a second */
#define ENDLESS \
	MOV_IMM(R0, 7), \
	MAY_GOTO(1), \
	BPF_JMP_A(-2), \
	EXIT

/* Makes an array of where JUMPS_BY_ARRAY may go. */
static void fill_array(void)
{
	struct bpf_insn_array_value first = { .orig_off = 4 }, second = { .orig_off = 6 };
	int fd = map_fd(MAP_INSN_ARRAY);
	union bpf_attr attr;

	map_set(fd, 0, &first);
	map_set(fd, 1, &second);
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	if (bpf(BPF_MAP_FREEZE, &attr, sizeof(attr)))
		perror("freeze");
}

/* Whether a time-out is in the stream of errors, which is empty then. */
static bool read_time_out(int fd)
{
	char text[4096] = "";
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_stream_read.stream_buf = (long)text;
	attr.prog_stream_read.stream_buf_len = sizeof(text) - 1;
	attr.prog_stream_read.stream_id = BPF_STREAM_STDERR;
	attr.prog_stream_read.prog_fd = fd;
	return bpf(BPF_PROG_STREAM_READ_BY_FD, &attr, sizeof(attr)) > 0 &&
	       strstr(text, "Timeout detected for may_goto");
}

/* Any root reads what another one has reported, once. */
static void check_stream(const char *name)
{
	bool first, again;
	int ret = -1;

	test_run(loaded.fds[1], &ret);
	first = read_time_out(loaded.fds[0]);
	again = read_time_out(loaded.fds[1]);
	sub_result(name, "second_root", ret == 7 && first && !again, "%d, read %d and %d", ret,
		   first, again);
	test_run(loaded.fds[0], &ret);
	first = read_time_out(loaded.fds[1]);
	sub_result(name, "first_root", ret == 7 && first, "%d, read %d", ret, first);
}

/* It stays as long as one of the roots. */
static void check_stream_of_last(const char *name)
{
	int ret = -1;
	bool seen;

	test_run(loaded.fds[0], &ret);
	close(loaded.fds[0]);
	loaded.fds[0] = -1;
	rcu_settle();
	seen = read_time_out(loaded.fds[1]);
	sub_result(name, "run", ret == 7 && seen, "%d, read %d", ret, seen);
}

/* A callee is a program of its own. */
static void check_stream_of_callee(const char *name)
{
	bool caller, callee;
	int ret = -1;

	test_run(loaded.fds[0], &ret);
	caller = read_time_out(loaded.fds[0]);
	callee = read_time_out(fd_array[0]);
	sub_result(name, "run", ret == 7 && !caller && callee, "%d, read %d and %d", ret, caller,
		   callee);
}

static const struct insn_test tests[] = {
	{
		.name = "stack_argument_in_shared_function",
		.funcs = {
			ROOT("xa", XDP, CALL_WITH_SIX(2)),
			ROOT("tb", TC, CALL_WITH_SIX(2)),
			SIXTH_ARGUMENT,
		},
		.err = EINVAL,
		.msg = "stack argument is not supported in a multi-root load",
	},
	{
		.name = "stack_argument_of_one_program",
		.funcs = { ROOT("xa", XDP, CALL_WITH_SIX(1)), SIXTH_ARGUMENT },
		.runs = { RETURNS(6) },
	},
	{
		.name = "instruction_array_of_first_root",
		.funcs = { JUMPS_BY_ARRAY(RETURN(4)), ROOT("tb", TC, RETURN(0)) },
		.setup = fill_array,
		.err = EINVAL,
		.msg = "instruction array is not supported in a multi-root load",
	},
	{
		.name = "instruction_array_of_one_program",
		.funcs = { JUMPS_BY_ARRAY(RETURN(4)) },
		.setup = fill_array,
		.runs = { RETURNS(4) },
	},
	/* roots may interrupt each other, so none of them has a private stack */
	{
		.name = "stack_of_private_size_in_group",
		.funcs = {
			STACK_OF_304_TWICE("ka", KPROBE, 2),
			STACK_OF_304_TWICE("kb", KPROBE, 2),
			STACK_OF_304,
		},
		.err = EACCES,
		.msg = "combined stack size of 2 calls is 608",
	},
	{
		.name = "stack_of_private_size_of_one_program",
		.funcs = { STACK_OF_304_TWICE("ka", KPROBE, 1), STACK_OF_304 },
	},
	{
		.name = "stack_of_private_size_of_caller",
		.funcs = {
			ROOT("ka", KPROBE, BPF_ST_MEM(BPF_DW, R10, -304, 1), CALL_PROG(0, 1), EXIT),
		},
		.library = {
			MAIN(KPROBE),
			EXPORT("f", PROTO_VOID, BPF_ST_MEM(BPF_DW, R10, -304, 1), RETURN(0)),
		},
		.err = EACCES,
		.msg = "combined stack size of 2 calls is 608",
	},
	{
		.name = "stream_of_roots",
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT("tb", TC, ENDLESS),
			SUB("s", ENDLESS),
		},
		.check = check_stream,
	},
	{
		.name = "stream_of_root_that_is_closed",
		.funcs = { ROOT("xa", XDP, ENDLESS), ROOT("tb", TC, RETURN(0)) },
		.check = check_stream_of_last,
	},
	/* branches that are known are taken out of all roots before any of them is verified */
	{
		.name = "helper_of_one_root_behind_known_branch",
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT("xb", XDP, CALL_FUNC(2), EXIT),
			SUB("s",
			    MOV_IMM(R6, 1),
			    BPF_JMP_IMM(BPF_JEQ, R6, 1, 3),
			    MOV_IMM(R1, 0),
			    MOV_IMM(R2, 0),
			    HELPER(redirect),
			    RETURN(5)),
		},
		.runs = { {}, RETURNS(5) },
	},
	{
		.name = "caller_with_instruction_array",
		.funcs = {
			JUMPS_BY_ARRAY(MOV_IMM(R1, 41), CALL_PROG(0, 1), EXIT),
		},
		.library = { LIBRARY_THAT_ADDS_1 },
		.setup = fill_array,
		.runs = { RETURNS(42) },
	},
	{
		.name = "callee_with_stack_argument_of_its_own",
		.funcs = { ROOT("xa", XDP, CALL_PROG(0, 1), EXIT) },
		.library = {
			XDP_MAIN,
			EXPORT("f", PROTO_VOID, CALL_WITH_SIX(2)),
			SIXTH_ARGUMENT,
		},
		.runs = { RETURNS(6) },
	},
	{
		.name = "caller_with_stack_argument_of_its_own",
		.funcs = {
			ROOT("xa", XDP, CALL_WITH_SIX(1)),
			SUB_PROTO("s", PROTO_SIX_INTS,
				  BPF_LDX_MEM(BPF_DW, R1, R11, 8),
				  CALL_PROG(0, 1),
				  EXIT),
		},
		.library = { LIBRARY_THAT_ADDS_1 },
		.runs = { RETURNS(7) },
	},
	{
		.name = "stream_of_callee",
		.funcs = { ROOT("xa", XDP, CALL_PROG(0, 1), EXIT) },
		.library = { XDP_MAIN, EXPORT("f", PROTO_VOID, ENDLESS) },
		.check = check_stream_of_callee,
	},
};

const struct insn_group features_group = {
	.name = "features",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
