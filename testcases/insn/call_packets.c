// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Packets: a callee that moves packet data leaves its caller, and itself, with stale pointers; one
 * that writes to memory may be given a packet that is only read, or not private yet.
 */

/* a packet of 8 bytes in R7, @use, and a look at the packet */
#define PACKET(use) \
	MOV_REG(R6, R1), \
	BPF_LDX_MEM(BPF_W, R7, R1, 0), \
	BPF_LDX_MEM(BPF_W, R8, R1, 4), \
	MOV_REG(R2, R7), \
	BPF_ALU64_IMM(BPF_ADD, R2, 8), \
	BPF_JMP_REG(BPF_JGT, R2, R8, 3), \
	MOV_REG(R1, R6), \
	use, \
	BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	RETURN(2)
/* the same, with R0 known in either case */
#define XDP_KEEPS(call) \
	MOV_REG(R6, R1), \
	BPF_LDX_MEM(BPF_W, R7, R1, 0), \
	BPF_LDX_MEM(BPF_W, R8, R1, 4), \
	MOV_REG(R2, R7), \
	BPF_ALU64_IMM(BPF_ADD, R2, 8), \
	BPF_JMP_REG(BPF_JLE, R2, R8, 2), \
	RETURN(0), \
	MOV_REG(R1, R6), \
	call, \
	BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	RETURN(2)
/* ctx in R6, a packet of 8 bytes in R7 */
#define SKB_PACKET \
	MOV_REG(R6, R1), \
	BPF_LDX_MEM(BPF_W, R7, R1, 76), \
	BPF_LDX_MEM(BPF_W, R8, R1, 80), \
	MOV_REG(R2, R7), \
	BPF_ALU64_IMM(BPF_ADD, R2, 8), \
	BPF_JMP_REG(BPF_JLE, R2, R8, 2), \
	RETURN(0)
/* the first function of the first library is called with a packet in use */
#define TC_KEEPS_PACKET \
	ROOT("c", TC, \
	     SKB_PACKET, \
	     MOV_REG(R1, R6), \
	     CALL_PROG(0, 1), \
	     BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	     RETURN(0))
#define MOVES MOV_IMM(R2, 4), HELPER(xdp_adjust_head)
#define XDP_MOVES \
	MAIN(XDP), \
	EXPORT("moves", PROTO_XDP, MOVES, EXIT), \
	EXPORT("looks", PROTO_XDP, RETURN(0)), \
	EXPORT("asks", PROTO_XDP, CALL_FUNC(4), EXIT), \
	SUB_PROTO("hidden", PROTO_XDP, MOVES, EXIT)
#define TC_MOVES_SKB_MEM \
	MAIN(TC), \
	EXPORT("moves", PROTO_SKB_MEM, \
	       MOV_REG(R6, R2), \
	       MOV_IMM(R2, 0), \
	       HELPER(skb_pull_data), \
	       BPF_JMP_IMM(BPF_JEQ, R6, 0, 1), \
	       BPF_LDX_MEM(BPF_W, R0, R6, 0), \
	       RETURN(0))
#define TC_WRITES_DYNPTR \
	MAIN(TC), \
	EXPORT("writes", PROTO_DYNPTR, WRITE_DYNPTR(8), RETURN(0))

#define CGROUP_LIB ROOT_AS("lib", CGROUP_SKB, INGRESS, 0, RETURN(1))
/* a packet in @pkt, and the stack in @mem, for a program that must not write to packets */
#define PASSES_PACKET_TO(prog, pkt, mem) \
	ROOT_AS("c", CGROUP_SKB, INGRESS, 0, \
		SKB_PACKET, \
		BPF_ST_MEM(BPF_W, R10, -4, 0), \
		MOV_REG(pkt, R7), \
		STACK(mem, -4), \
		CALL_PROG(prog, 1), \
		RETURN(1))
#define PASSES_PACKET(pkt, mem) PASSES_PACKET_TO(0, pkt, mem)
#define WRITES_SECOND \
	CGROUP_LIB, \
	EXPORT("writes", PROTO_TWO_SOCKS, \
	       BPF_JMP_IMM(BPF_JEQ, R1, 0, 3), \
	       BPF_JMP_IMM(BPF_JEQ, R2, 0, 2), \
	       BPF_LDX_MEM(BPF_W, R3, R1, 0), \
	       BPF_STX_MEM(BPF_W, R2, R3, 0), \
	       RETURN(0))

/* The call of the library becomes one of function 1. */
static void call_own(struct func *funcs)
{
	struct bpf_insn *insn;

	for (insn = funcs[0].insns; insn < funcs[0].insns + MAX_FUNC_INSNS; insn++)
		if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_PROG_CALL)
			*insn = (struct bpf_insn)CALL_FUNC(1);
}

static void check_prologue(const char *name)
{
	view_get(loaded.fds[0], &view0);
	sub_result(name, "prologue", has_prologue(&view0), "%d insns, first %#x",
		   view0.nr_xlated, view0.xlated[0].code);
}

static const struct insn_test tests[] = {
	{
		.name = "packet_moved_by_callee", /* P75 */
		.funcs = { ROOT("c", XDP, PACKET(CALL_PROG(0, 1))) },
		.library = { XDP_MOVES },
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_moved_by_callee_of_callback",
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     BPF_STX_MEM(BPF_DW, R10, R1, -8),
			     XDP_BYTES(8, 0),
			     MOV_IMM(R1, 1),
			     LD_FUNC(R2, 1),
			     STACK(R3, -8),
			     MOV_IMM(R4, 0),
			     HELPER(loop),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			SUB("cb",
			    BPF_LDX_MEM(BPF_DW, R1, R2, 0),
			    CALL_PROG(0, 1),
			    RETURN(0)),
		},
		.library = { XDP_MOVES },
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_not_moved_by_callee", /* P76 */
		.funcs = { ROOT("c", XDP, PACKET(CALL_PROG(0, 2))) },
		.library = { XDP_MOVES },
	},
	{
		.name = "packet_moved_below_callee", /* P77 */
		.funcs = { ROOT("c", XDP, PACKET(CALL_PROG(0, 3))) },
		.library = { XDP_MOVES },
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_moved_below_global", /* P78 */
		.funcs = {
			ROOT("c", XDP, PACKET(CALL_FUNC(1))),
			GLOBAL("g", PROTO_XDP, CALL_PROG(0, 1), EXIT),
		},
		.library = { XDP_MOVES },
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_moved_by_third_program", /* P79 */
		.funcs = { ROOT("c", XDP, PACKET(CALL_PROG(1, 1))) },
		.library = { XDP_MOVES },
		.library2 = {
			MAIN(XDP),
			EXPORT("g", PROTO_XDP, CALL_PROG(0, 1), EXIT),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_written_by_callee", /* P92 */
		.funcs = { ROOT("c", TC, CALL_PROG(0, 1), EXIT) },
		.library = {
			MAIN(TC),
			EXPORT("writes", PROTO_SKB,
			       BPF_LDX_MEM(BPF_W, R2, R1, 76),
			       BPF_LDX_MEM(BPF_W, R3, R1, 80),
			       MOV_REG(R4, R2),
			       BPF_ALU64_IMM(BPF_ADD, R4, 8),
			       BPF_JMP_REG(BPF_JGT, R4, R3, 1),
			       BPF_ST_MEM(BPF_B, R2, 0, 7),
			       RETURN(0)),
		},
		.check = check_prologue,
	},
	{
		.name = "packet_only_read_for_writer", /* P131 */
		.funcs = {
			ROOT_AS("c", CGROUP_SKB, INGRESS, 0,
				SKB_PACKET,
				MOV_REG(R1, R7),
				CALL_PROG(0, 1),
				RETURN(1)),
		},
		.library = {
			ROOT_AS("lib", CGROUP_SKB, INGRESS, 0, RETURN(1)),
			EXPORT("writes", PROTO_MEM,
			       MOV_IMM(R0, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			       BPF_ST_MEM(BPF_W, R1, 0, 1),
			       EXIT),
		},
		.own = true,
		.err = EACCES,
		.msg = "writes() cannot write into packet",
	},
	{
		.name = "packet_for_writer", /* P131b */
		.funcs = {
			ROOT("c", TC,
			     SKB_PACKET,
			     MOV_REG(R1, R7),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = {
			MAIN(TC),
			EXPORT("writes", PROTO_MEM,
			       MOV_IMM(R0, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			       BPF_ST_MEM(BPF_W, R1, 0, 1),
			       EXIT),
		},
		.own = true,
		.check = check_prologue,
	},
	/* which argument is written to matters, and not by which way */
	{
		.name = "packet_for_written_argument",
		.funcs = { PASSES_PACKET(R2, R1) },
		.library = { WRITES_SECOND },
		.own = true,
		.err = EACCES,
		.msg = "writes() cannot write into packet",
	},
	{
		.name = "packet_for_argument_only_read",
		.funcs = { PASSES_PACKET(R1, R2) },
		.library = { WRITES_SECOND },
		.own = true,
	},
	{
		.name = "packet_for_writer_of_one_of_two",
		.funcs = { PASSES_PACKET(R1, R2) },
		.library = {
			CGROUP_LIB,
			EXPORT("writes", PROTO_TWO_SOCKS,
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 7),
			       BPF_JMP_IMM(BPF_JEQ, R2, 0, 6),
			       MOV_REG(R6, R1),
			       MOV_REG(R7, R2),
			       HELPER(get_prandom_u32),
			       BPF_JMP_IMM(BPF_JNE, R0, 7, 1),
			       MOV_REG(R7, R6),
			       BPF_ST_MEM(BPF_W, R7, 0, 1),
			       RETURN(0)),
		},
		.own = true,
		.err = EACCES,
		.msg = "writes() cannot write into packet",
	},
	{
		.name = "packet_for_writer_at_unknown_offset",
		.funcs = { PASSES_PACKET(R1, R2) },
		.library = {
			CGROUP_LIB,
			EXPORT("writes", PROTO_TWO_SOCKS,
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 7),
			       MOV_REG(R6, R1),
			       HELPER(get_prandom_u32),
			       BPF_ALU64_IMM(BPF_AND, R0, 3),
			       BPF_ALU64_REG(BPF_ADD, R0, R6),
			       BPF_STX_MEM(BPF_DW, R10, R0, -8),
			       BPF_LDX_MEM(BPF_DW, R1, R10, -8),
			       BPF_ST_MEM(BPF_B, R1, 0, 1),
			       RETURN(0)),
		},
		.own = true,
		.err = EACCES,
		.msg = "writes() cannot write into packet",
	},
	{
		.name = "packet_passed_on_in_other_order",
		.funcs = {
			PASSES_PACKET(R1, R2),
			GLOBAL("swaps", PROTO_TWO_SOCKS,
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 4),
			       MOV_REG(R3, R1),
			       MOV_REG(R1, R2),
			       MOV_REG(R2, R3),
			       CALL_FUNC(2),
			       RETURN(0)),
			GLOBAL("writes", PROTO_TWO_SOCKS,
			       BPF_JMP_IMM(BPF_JEQ, R2, 0, 1),
			       BPF_ST_MEM(BPF_W, R2, 0, 1),
			       RETURN(0)),
		},
		.fill = call_own,
		.err = EACCES,
		.msg = "writes() cannot write into packet",
	},
	{
		.name = "packet_passed_on_by_callee_in_other_order",
		.funcs = { PASSES_PACKET_TO(1, R1, R2) },
		.library = { WRITES_SECOND },
		.library2 = {
			CGROUP_LIB,
			EXPORT("swaps", PROTO_TWO_SOCKS,
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 4),
			       MOV_REG(R3, R1),
			       MOV_REG(R1, R2),
			       MOV_REG(R2, R3),
			       CALL_PROG(0, 1),
			       RETURN(0)),
		},
		.err = EACCES,
		.msg = "swaps() cannot write into packet",
	},
	{
		.name = "packet_for_mover", /* P132 */
		.funcs = {
			ROOT("c", TC,
			     SKB_PACKET,
			     MOV_REG(R2, R7),
			     MOV_REG(R1, R6),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = { TC_MOVES_SKB_MEM },
		.own = true,
		.err = EINVAL,
		.msg = "R2 is a packet pointer, but",
	},
	{
		.name = "stack_for_mover", /* P132b */
		.funcs = {
			ROOT("c", TC,
			     BPF_ST_MEM(BPF_DW, R10, -8, 0),
			     STACK(R2, -8),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = { TC_MOVES_SKB_MEM },
		.own = true,
	},
	{
		.name = "slice_for_mover", /* P132c */
		.funcs = {
			ROOT("c", TC,
			     MOV_REG(R6, R1),
			     SKB_DYNPTR,
			     STACK(R1, -16),
			     MOV_IMM(R2, 0),
			     BPF_ST_MEM(BPF_DW, R10, -24, 0),
			     STACK(R3, -24),
			     MOV_IMM(R4, 8),
			     KFUNC(bpf_dynptr_slice_rdwr),
			     BPF_JMP_IMM(BPF_JNE, R0, 0, 2),
			     RETURN(0),
			     MOV_REG(R2, R0),
			     MOV_REG(R1, R6),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = { TC_MOVES_SKB_MEM },
		.own = true,
		.err = EINVAL,
		.msg = "R2 is a packet pointer, but",
	},
	{
		.name = "dynptr_for_mover", /* P132d */
		.funcs = {
			ROOT("c", TC,
			     MOV_REG(R6, R1),
			     SKB_DYNPTR,
			     MOV_REG(R1, R6),
			     STACK(R2, -16),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = {
			MAIN(TC),
			EXPORT("moves", PROTO_SKB_DYNPTR,
			       MOV_IMM(R2, 0),
			       HELPER(skb_pull_data),
			       RETURN(0)),
		},
		.own = true,
	},
	{
		.name = "dynptr_for_writer", /* P132e */
		.funcs = {
			ROOT("c", TC,
			     MOV_REG(R6, R1),
			     SKB_DYNPTR,
			     STACK(R1, -16),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = { TC_WRITES_DYNPTR },
		.own = true,
	},
	{
		.name = "dynptr_for_reader", /* P132f */
		.funcs = {
			ROOT("c", TC,
			     MOV_REG(R6, R1),
			     SKB_DYNPTR,
			     STACK(R1, -16),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = {
			MAIN(TC),
			EXPORT("reads", PROTO_DYNPTR,
			       MOV_REG(R3, R1),
			       STACK(R1, -8),
			       MOV_IMM(R2, 8),
			       MOV_IMM(R4, 0),
			       MOV_IMM(R5, 0),
			       HELPER(dynptr_read),
			       RETURN(0)),
		},
		.own = true,
	},
	{
		.name = "dynptr_of_memory_for_writer", /* P132g */
		.funcs = {
			ROOT("c", TC,
			     MEM_DYNPTR,
			     STACK(R1, -16),
			     CALL_PROG(0, 1),
			     RETURN(0)),
		},
		.library = { TC_WRITES_DYNPTR },
		.own = true,
	},
	{
		.name = "packet_moved_by_dynptr_write", /* P133 */
		.funcs = { TC_KEEPS_PACKET },
		.library = {
			MAIN(TC),
			EXPORT("own", PROTO_SKB,
			       MOV_REG(R6, R1),
			       SKB_DYNPTR,
			       STACK(R1, -16),
			       WRITE_DYNPTR(8),
			       RETURN(0)),
		},
		.own = true,
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_moved_by_dynptr_below_callee",
		.funcs = { TC_KEEPS_PACKET },
		.library = {
			MAIN(TC),
			EXPORT("f", PROTO_SKB, CALL_EXIT(2)),
			GLOBAL("g", PROTO_SKB,
			       MOV_REG(R6, R1),
			       SKB_DYNPTR,
			       STACK(R1, -16),
			       WRITE_DYNPTR(8),
			       RETURN(0)),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	/* what is called comes last: one look at each function, or two, are not enough */
	{
		.name = "packet_moved_three_calls_further", /* P135 */
		.funcs = {
			ROOT("c", XDP, XDP_KEEPS(CALL_FUNC(1))),
			GLOBAL("f", PROTO_XDP, CALL_FUNC(2), EXIT),
			GLOBAL("g", PROTO_XDP, CALL_FUNC(3), EXIT),
			GLOBAL("h", PROTO_XDP, CALL_FUNC(4), EXIT),
			GLOBAL("k", PROTO_XDP, MOVES, RETURN(0)),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	/* h leads to f by way of a timer, f calls h; the walk over the functions starts with h */
	{
		.name = "packet_moved_in_cycle_of_timers", /* P135b */
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     CALL_FUNC(1),
			     MOV_REG(R1, R6),
			     XDP_KEEPS(CALL_FUNC(3))),
			GLOBAL("h", PROTO_XDP,
			       MOV_REG(R6, R1),
			       SET_TIMER(2),
			       MOV_REG(R1, R6),
			       MOVES,
			       RETURN(0)),
			SUB("g", MOV_IMM(R1, 0), CALL_EXIT(4)),
			GLOBAL("f", PROTO_XDP, CALL_EXIT(1)),
			SUB("never",
			    BPF_JMP_IMM(BPF_JNE, R1, 0, 2),
			    RETURN(0),
			    CALL_FUNC(3),
			    EXIT),
		},
		.err = EINVAL,
		.msg = "recursive call from",
	},
	/* what is not a packet does not move one */
	{
		.name = "packet_kept_by_write_to_memory", /* P183 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_LDX_MEM(BPF_W, R7, R1, 0),
			     BPF_LDX_MEM(BPF_W, R8, R1, 4),
			     MOV_REG(R2, R7),
			     BPF_ALU64_IMM(BPF_ADD, R2, 8),
			     BPF_JMP_REG(BPF_JLE, R2, R8, 2),
			     RETURN(0),
			     CALL_PROG(0, 1),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
		},
		.library = {
			MAIN(XDP),
			EXPORT("logs", PROTO_VOID,
			       MEM_DYNPTR,
			       BPF_ST_MEM(BPF_DW, R10, -24, 0),
			       STACK(R1, -16),
			       MOV_IMM(R2, 0),
			       STACK(R3, -24),
			       MOV_IMM(R4, 8),
			       MOV_IMM(R5, 0),
			       HELPER(dynptr_write),
			       RETURN(0)),
		},
		.own = true,
	},
};

const struct insn_group call_packets_group = {
	.name = "call_packets",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
