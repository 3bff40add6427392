// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Caller and callee use one kernel stack, and calls are limited to eight frames, whatever programs
 * they are in; to sixteen since 7.3.
 */

#define FRAME(bytes) BPF_ST_MEM(BPF_DW, R10, -(bytes), 0)
#define FIVE MOV_IMM(R1, 5)
#define USES_200_AND_304 \
	MAIN(XDP), \
	EXPORT("f200", PROTO_INT, FRAME(200), IDENTITY), \
	EXPORT("f300", PROTO_INT, FRAME(104), CALL_FUNC(1), EXIT)
#define ONE_AND_TWO_FRAMES \
	MAIN(XDP), \
	EXPORT("f1", PROTO_INT, CALL_FUNC(2), EXIT), \
	EXPORT("f2", PROTO_INT, IDENTITY)
/* as many frames below the first function as are called */
#define FRAMES_TO_5 \
	ROOT("c", XDP, FIVE, CALL_FUNC(1), EXIT), \
	SUB("s1", CALL_FUNC(2), EXIT), \
	SUB("s2", CALL_FUNC(3), EXIT), \
	SUB("s3", CALL_FUNC(4), EXIT), \
	SUB("s4", CALL_FUNC(5), EXIT)

/* the same for 14 */
#define FRAMES_TO_14 \
	FRAMES_TO_5, \
	SUB("s5", CALL_FUNC(6), EXIT), \
	SUB("s6", CALL_FUNC(7), EXIT), \
	SUB("s7", CALL_FUNC(8), EXIT), \
	SUB("s8", CALL_FUNC(9), EXIT), \
	SUB("s9", CALL_FUNC(10), EXIT), \
	SUB("s10", CALL_FUNC(11), EXIT), \
	SUB("s11", CALL_FUNC(12), EXIT), \
	SUB("s12", CALL_FUNC(13), EXIT), \
	SUB("s13", CALL_FUNC(14), EXIT)

static const struct insn_test tests[] = {
	{
		.name = "stack_of_callee_too_deep", /* P60 */
		.funcs = {
			ROOT("c", XDP, FRAME(400), FIVE, CALL_PROG(0, 1), EXIT),
		},
		.library = { USES_200_AND_304 },
		.err = EACCES,
		.msg = "combined stack size of 2 calls is ",
	},
	{
		.name = "stack_of_callee_fits", /* P61 */
		.funcs = {
			ROOT("c", XDP, FRAME(304), FIVE, CALL_PROG(0, 1), EXIT),
		},
		.library = { USES_200_AND_304 },
		.runs = { RETURNS(5) },
	},
	{
		.name = "stack_below_callee_too_deep", /* P62 */
		.funcs = {
			ROOT("c", XDP, FRAME(304), FIVE, CALL_PROG(0, 2), EXIT),
		},
		.library = { USES_200_AND_304 },
		.err = EACCES,
		.msg = "combined stack size of 3 calls is ",
	},
	{
		.name = "stack_of_callee_below_timer_too_deep",
		.funcs = {
			ROOT("c", XDP, SET_TIMER(1), RETURN(0)),
			SUB("cb", FRAME(320), FIVE, CALL_PROG(0, 1), RETURN(0)),
		},
		.library = { USES_200_AND_304 },
		.err = EACCES,
		.msg = "combined stack size of 2 calls is ",
	},
	{
		.name = "stack_of_callee_below_subprogram_too_deep", /* P63 */
		.funcs = {
			ROOT("c", XDP, FRAME(200), FIVE, CALL_FUNC(1), EXIT),
			SUB("s", FRAME(200), CALL_PROG(0, 1), EXIT),
		},
		.library = { USES_200_AND_304 },
		.err = EACCES,
		.msg = "combined stack size of 3 calls is ",
	},
	{
		.name = "stack_of_callee_below_callback_too_deep", /* P64 */
		.funcs = {
			ROOT("c", XDP,
			     FRAME(304),
			     MOV_IMM(R1, 2),
			     LD_FUNC(R2, 1),
			     MOV_IMM(R3, 0),
			     MOV_IMM(R4, 0),
			     HELPER(loop),
			     RETURN(0)),
			SUB("cb", FRAME(32), CALL_PROG(0, 1), RETURN(0)),
		},
		.library = { USES_200_AND_304 },
		.err = EACCES,
		.msg = "combined stack size of 3 calls is ",
	},
	{
		.name = "stack_of_callee_below_global_too_deep", /* P65 */
		.funcs = {
			ROOT("c", XDP, FRAME(200), FIVE, CALL_FUNC(1), EXIT),
			GLOBAL("g", PROTO_INT,
			       FRAME(200),
			       CALL_PROG(0, 1),
			       EXIT),
		},
		.library = { USES_200_AND_304 },
		.err = EACCES,
		.msg = "combined stack size of 3 calls is ",
	},
	{
		.name = "stack_of_three_programs_too_deep", /* P67 */
		.funcs = {
			ROOT("c", XDP, FRAME(200), FIVE, CALL_PROG(1, 1), EXIT),
		},
		.library = { USES_200_AND_304 },
		.library2 = {
			MAIN(XDP),
			EXPORT("g", PROTO_INT,
			       FRAME(200),
			       CALL_PROG(0, 1),
			       EXIT),
		},
		.err = EACCES,
		.msg = "combined stack size of 3 calls is ",
	},
	{
		.name = "frames_6_and_2", /* P70 */
		.funcs = { FRAMES_TO_5, SUB("s5", CALL_PROG(0, 1), EXIT) },
		.library = { ONE_AND_TWO_FRAMES },
		.runs = { RETURNS(5) },
	},
	{
		.name = "frames_7_and_2", /* P71 */
		.funcs = {
			FRAMES_TO_5,
			SUB("s5", CALL_FUNC(6), EXIT),
			SUB("s6", CALL_PROG(0, 1), EXIT),
		},
		.library = { ONE_AND_TWO_FRAMES },
	},
	{
		.name = "frames_7_and_1", /* P72 */
		.funcs = {
			FRAMES_TO_5,
			SUB("s5", CALL_FUNC(6), EXIT),
			SUB("s6", CALL_PROG(0, 2), EXIT),
		},
		.library = { ONE_AND_TWO_FRAMES },
	},
	{
		.name = "frames_15_and_2",
		.funcs = { FRAMES_TO_14, SUB("s14", CALL_PROG(0, 1), EXIT) },
		.library = { ONE_AND_TWO_FRAMES },
		.err = E2BIG,
		.msg = "the call stack of 17 frames is too deep",
	},
	{
		.name = "frames_15_and_1",
		.funcs = { FRAMES_TO_14, SUB("s14", CALL_PROG(0, 2), EXIT) },
		.library = { ONE_AND_TWO_FRAMES },
	},
};

/* A library may call another one. */
static void library_calls_library(void)
{
	static const struct func library[] = { USES_200_AND_304 };
	static const struct func second[] = {
		MAIN(XDP),
		EXPORT("g", PROTO_INT, FRAME(200), CALL_PROG(0, 1), EXIT),
	};
	int fd;

	fd_array[0] = LOAD_PROG(library);
	fd = LOAD_PROG(second);
	result("library_calls_library", fd > 0, "%s", log_tail()); /* P66 */
	close(fd);
	close(fd_array[0]);
}

const struct insn_group call_stack_group = {
	.name = "call_stack",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = library_calls_library,
};
