// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What cannot be exported: functions that others may call are verified by themselves, called or
 * not, for every root of their load.
 */

static const struct insn_test tests[] = {
	{
		.name = "export_of_static", /* P45 */
		.funcs = {
			ROOT("lib", XDP, MOV_IMM(R1, 1), CALL_FUNC(1), EXIT),
			{ .name = "f", .exported = true, .proto = PROTO_INT, INSNS(IDENTITY) },
		},
		.err = EINVAL,
		.msg = "f() cannot be exported: it is not global",
	},
	{
		.name = "export_of_entry", /* P46 */
		.funcs = {
			{ .name = "lib", .type = XDP, .global = true, .exported = true,
			  INSNS(RETURN(1)) },
		},
		.err = EINVAL,
		.msg = "lib() cannot be exported: it is the entry of a program",
	},
	{
		.name = "export_unsafe", /* P47 */
		.funcs = {
			XDP_MAIN,
			EXPORT("f", PROTO_INT,
			       BPF_LDX_MEM(BPF_W, R0, R1, 0),
			       EXIT),
		},
		.err = EACCES,
		.msg = "R1 invalid mem access 'scalar'",
	},
	{
		.name = "export_reads_beyond_its_argument", /* P48 */
		.funcs = {
			XDP_MAIN,
			EXPORT("f", PROTO_PTREGS,
			       MOV_IMM(R0, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			       BPF_LDX_MEM(BPF_DW, R0, R1, 8),
			       EXIT),
		},
		.err = EACCES,
		.msg = "invalid access to memory",
	},
	{
		.name = "export_returns_nothing", /* P49 */
		.funcs = {
			XDP_MAIN,
			EXPORT("f", PROTO_GVOID, EXIT),
		},
	},
	{
		.name = "export_beside_exceptions", /* P50 */
		.funcs = {
			ROOT("lib", XDP,
			     MOV_IMM(R1, 0),
			     KFUNC(bpf_throw),
			     RETURN(0)),
			EXPORT("f", PROTO_INT, IDENTITY),
		},
		.err = EINVAL,
		.msg = "f() cannot be exported: the program uses exceptions",
	},
	{
		.name = "export_calls_itself", /* P51 */
		.funcs = {
			XDP_MAIN,
			EXPORT("f", PROTO_INT, CALL_FUNC(1), EXIT),
		},
		.err = EINVAL,
		.msg = "recursive call from f() to f()",
	},
	{
		.name = "export_stack_too_deep", /* P52 */
		.funcs = {
			XDP_MAIN,
			EXPORT("f", PROTO_INT,
			       BPF_ST_MEM(BPF_DW, R10, -400, 0),
			       CALL_FUNC(2),
			       EXIT),
			GLOBAL("g", PROTO_INT,
			       BPF_ST_MEM(BPF_DW, R10, -200, 0),
			       IDENTITY),
		},
		.err = EACCES,
		.msg = "combined stack size of 2 calls is",
	},
	{
		.name = "export_with_six_arguments",
		.funcs = { XDP_MAIN, EXPORT("f", PROTO_SIX_INTS, IDENTITY) },
		.err = EINVAL,
		.msg = "stack args not supported",
	},
	/* in a group every root verifies it: XDP may not call what a kprobe may */
	{
		.name = "export_with_helper_of_one_root", /* P53 */
		.funcs = {
			ROOT("xd", XDP, RETURN(0)),
			ROOT("kp", KPROBE, RETURN(0)),
			EXPORT("f", PROTO_VOID,
			       MOV_IMM(R1, 1),
			       MOV_IMM(R2, 0),
			       HELPER(redirect),
			       EXIT),
		},
		.err = EINVAL,
		.msg = "cannot use helper bpf_redirect",
	},
	{
		.name = "export_reads_ctx_of_one_root", /* P54 */
		.funcs = {
			ROOT("kp", KPROBE, RETURN(0)),
			ROOT("xd", XDP, RETURN(0)),
			EXPORT("f", PROTO_PTREGS,
			       MOV_IMM(R0, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			       BPF_LDX_MEM(BPF_DW, R0, R1, 0),
			       EXIT),
		},
		.err = EACCES,
		.msg = "invalid access to memory",
	},
};

const struct insn_group call_exports_group = {
	.name = "call_exports",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
