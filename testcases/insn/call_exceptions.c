// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * An exception unwinds the callers as well, with what they hold.
 */

#define THROW(value) MOV_IMM(R1, value), KFUNC(bpf_throw)
/* a record of a ring buffer is reserved while @call runs */
#define RESERVES(call) \
	LD_MAP(R1, MAP_RINGBUF), \
	MOV_IMM(R2, 8), \
	MOV_IMM(R3, 0), \
	HELPER(ringbuf_reserve), \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
	RETURN(0), \
	MOV_REG(R6, R0), \
	call, \
	MOV_REG(R1, R6), \
	MOV_IMM(R2, 0), \
	HELPER(ringbuf_submit), \
	RETURN(0)
#define THROWS \
	GLOBAL("g", PROTO_VOID, THROW(3), RETURN(0))
#define CALLS_THROWING \
	GLOBAL("f", PROTO_VOID, CALL_FUNC(1), EXIT)

static const struct insn_test tests[] = {
	{
		.name = "exception_behind_call", /* P167 */
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R1, 5),
			     CALL_PROG(0, 1),
			     MOV_REG(R1, R0),
			     CALL_FUNC(1),
			     RETURN(9)),
			SUB_PROTO("s", PROTO_INT,
				  MOV_REG(R6, R1),
				  MOV_IMM(R1, 5),
				  CALL_PROG(0, 1),
				  MOV_REG(R1, R6),
				  KFUNC(bpf_throw),
				  RETURN(8)),
		},
		.library = { MAIN(XDP), EXPORT("f", PROTO_INT, IDENTITY) },
		.runs = { RETURNS(5) },
	},
	{
		.name = "throws_in_rcu_section", /* P192 */
		.funcs = {
			ROOT("c", TC,
			     KFUNC(bpf_rcu_read_lock),
			     CALL_FUNC(1),
			     KFUNC(bpf_rcu_read_unlock),
			     RETURN(0)),
			THROWS,
		},
		.err = EINVAL,
		.msg = "bpf_rcu_read_lock",
	},
	{
		.name = "throws_with_reference", /* P192b */
		.funcs = {
			ROOT("c", TC, RESERVES(CALL_FUNC(1))),
			THROWS,
		},
		.err = EINVAL,
		.msg = "Unreleased reference",
	},
	{
		.name = "throws_below_function_with_reference", /* P192c */
		.funcs = {
			ROOT("c", TC, RESERVES(CALL_FUNC(2))),
			THROWS,
			CALLS_THROWING,
		},
		.err = EINVAL,
		.msg = "Unreleased reference",
	},
	{
		.name = "throws_with_nothing_held", /* P192d */
		.funcs = {
			ROOT("c", TC, CALL_EXIT(2)),
			THROWS,
			CALLS_THROWING,
		},
		.runs = { RETURNS(3) },
	},
};

const struct insn_group call_exceptions_group = {
	.name = "call_exceptions",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
