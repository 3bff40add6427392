// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What functions do with packets is found out when they are verified: for each root anew, and
 * again if a function turns out to move packets that others count on. Each case that must be
 * accepted has one beside it that must not.
 */

#define STALE "R7 invalid mem access 'scalar'"
#define READ_ONLY "cannot write into packet"

#define SLICE \
	MOV_IMM(R2, 0), \
	BPF_ST_MEM(BPF_DW, R10, -24, 0), \
	STACK(R3, -24), \
	MOV_IMM(R4, 8), \
	KFUNC(bpf_dynptr_slice)
#define SLICE_OR_RETURN \
	SLICE, \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
	RETURN(0)
/* moves the packet, by a dynptr of its own */
#define MOVER(nm) \
	GLOBAL(nm, PROTO_SKB, SKB_DYNPTR, STACK(R1, -16), WRITE_DYNPTR(8), RETURN(0))
/* writes to a dynptr, but moves nothing */
#define LOGS GLOBAL("logs", PROTO_VOID, MEM_DYNPTR, STACK(R1, -16), WRITE_DYNPTR(8), RETURN(0))
#define KEEPS_PACKET(k) \
	MOV_REG(R6, R1), \
	SKB_BYTES(1, 0), \
	MOV_REG(R1, R6), \
	CALL_FUNC(k), \
	BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	RETURN(5)
/* calls f() before */
#define CALLS_AND_KEEPS_PACKET(f, k) \
	MOV_REG(R6, R1), \
	CALL_FUNC(f), \
	MOV_REG(R1, R6), \
	KEEPS_PACKET(k)
#define PASSES_MEMORY MEM_DYNPTR, STACK(R1, -16), CALL_FUNC(2), RETURN(5)
#define TC_MEMORY ROOT("mem", TC, PASSES_MEMORY)
#define TC_SKB ROOT("pkt", TC, SKB_DYNPTR, STACK(R1, -16), CALL_FUNC(2), RETURN(5))
/* takes the dynptr for one of memory: a slice is used after @... has written */
#define SLICE_USED_AFTER(...) \
	MOV_REG(R6, R1), \
	SLICE_OR_RETURN, \
	MOV_REG(R7, R0), \
	__VA_ARGS__, \
	BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	RETURN(0)
#define WRITES_ARGUMENT MOV_REG(R1, R6), WRITE_DYNPTR(8)
#define USES_SLICE GLOBAL("f", PROTO_DYNPTR, SLICE_USED_AFTER(WRITES_ARGUMENT))
#define PASSES_SKB_TO(f) \
	ROOT("tc", TC, SKB_DYNPTR, STACK(R1, -16), CALL_FUNC(1), RETURN(5)), \
	f
/* copies the first to the second: functions 2 and 3 give it what they get as one of the two */
#define READS_OR_WRITES \
	GLOBAL("reads", PROTO_MEM, \
	       BPF_ST_MEM(BPF_W, R10, -4, 0), \
	       STACK(R2, -4), \
	       CALL_EXIT(4)), \
	GLOBAL("writes", PROTO_MEM, \
	       MOV_REG(R2, R1), \
	       BPF_ST_MEM(BPF_W, R10, -4, 0), \
	       STACK(R1, -4), \
	       CALL_EXIT(4)), \
	GLOBAL("copies", PROTO_TWO_SOCKS, \
	       BPF_JMP_IMM(BPF_JEQ, R1, 0, 3), \
	       BPF_JMP_IMM(BPF_JEQ, R2, 0, 2), \
	       BPF_LDX_MEM(BPF_W, R3, R1, 0), \
	       BPF_STX_MEM(BPF_W, R2, R3, 0), \
	       RETURN(0))
#define TC_STACK_FOR_BOTH \
	ROOT("st", TC, \
	     BPF_ST_MEM(BPF_W, R10, -4, 0), \
	     STACK(R1, -4), \
	     CALL_FUNC(2), \
	     STACK(R1, -4), \
	     CALL_FUNC(3), \
	     RETURN(5))
#define PACKET_FOR(k) \
	MOV_REG(R6, R1), \
	SKB_BYTES(4, 1), \
	MOV_REG(R1, R7), \
	CALL_FUNC(k), \
	RETURN(1)
#define CGROUP_PACKET_FOR(k) ROOT_AS("cg", CGROUP_SKB, INGRESS, 0, PACKET_FOR(k))
#define TC_PACKET_FOR(k) ROOT("tc", TC, PACKET_FOR(k))
/* a call of function @k that is never done */
#define DEAD_CALL(k) \
	GLOBAL("dead", PROTO_SKB, \
	       MOV_IMM(R2, 0), \
	       BPF_JMP_IMM(BPF_JEQ, R2, 0, 1), \
	       CALL_FUNC(k), \
	       RETURN(0))
/*
 * The slice in R9 is not NULL until it is known that function @k1 moves the packet. Only then it
 * is known that function @k2 is called, and that it moves the packet.
 */
#define MOVED_IN_SECOND_TURN(k1, k2) \
	MOV_REG(R6, R1), \
	SKB_DYNPTR, \
	STACK(R1, -16), \
	SLICE_OR_RETURN, \
	MOV_REG(R9, R0), \
	MOV_REG(R1, R6), \
	CALL_FUNC(k1), \
	SKB_BYTES(1, 0), \
	BPF_JMP_IMM(BPF_JNE, R9, 0, 2), \
	MOV_REG(R1, R6), \
	CALL_FUNC(k2), \
	RETURN(5)
#define MOVERS 8
#define EIGHT_MOVERS \
	MOVER("m1"), MOVER("m2"), MOVER("m3"), MOVER("m4"), \
	MOVER("m5"), MOVER("m6"), MOVER("m7"), MOVER("m8")

/*
 * @func calls @n functions, from @first on. That one moves the packet is found out one turn after
 * that of the one before it. With @keep, the packet is in use over the last call.
 */
static void fill_chain(struct func *func, int first, int n, bool keep)
{
	static const struct bpf_insn start[] = { MOV_REG(R6, R1), SKB_DYNPTR };
	static const struct bpf_insn slice[] = {
		STACK(R1, -16),
		SLICE_OR_RETURN,
		MOV_REG(R9, R0),
		MOV_REG(R1, R6),
	};
	static const struct bpf_insn packet[] = { SKB_BYTES(1, 0), MOV_REG(R1, R6) };
	static const struct bpf_insn load[] = { BPF_LDX_MEM(BPF_B, R0, R7, 0) };
	static const struct bpf_insn last[] = { RETURN(5) };
	static struct bpf_insn insns[MOVERS * 20 + 20];
	int i, len = 0;

#define ADD(part) (memcpy(insns + len, part, sizeof(part)), len += ARRAY_SIZE(part))
	ADD(start);
	for (i = first; i < first + n; i++) {
		struct bpf_insn call[] = { CALL_FUNC(i) };
		static const struct bpf_insn unless_moved[] = {
			BPF_JMP_IMM(BPF_JEQ, R9, 0, 2),
			RETURN(5),
		};

		ADD(slice);
		if (keep && i == first + n - 1)
			ADD(packet);
		ADD(call);
		if (keep && i == first + n - 1)
			ADD(load);
		ADD(unless_moved);
	}
	ADD(last);
#undef ADD
	func->long_insns = insns;
	func->long_len = len;
}

static void fill_eight(struct func *funcs)
{
	fill_chain(funcs, 1, MOVERS, false);
}

static void fill_eight_kept(struct func *funcs)
{
	fill_chain(funcs, 1, MOVERS, true);
}

static void fill_six(struct func *funcs)
{
	fill_chain(funcs + 1, 2, MOVERS - 2, false);
}

/* What functions took is what the load took, however often they were verified. */
static void check_figures(const char *name)
{
	const char *p = log_text, *turn = strstr(log_text, "verifying again");
	unsigned int insns, sum = 0, processed = 0;

	while ((p = strstr(p, "insns_self "))) {
		if (sscanf(p++, "insns_self %u", &insns) == 1)
			sum += insns;
	}
	p = strstr(log_text, "processed ");
	if (p)
		sscanf(p, "processed %u", &processed);
	sub_result(name, "figures", turn && sum && sum == processed,
		   "%u instructions of functions, %u processed%s", sum, processed,
		   turn ? "" : ", once");
}

/* Which of the two roots pull the packet in first */
static void check_prologues(const char *name, bool first, bool second)
{
	view_get(loaded.fds[0], &view0);
	view_get(loaded.fds[1], &view1);
	sub_result(name, "prologue",
		   has_prologue(&view0) == first && has_prologue(&view1) == second,
		   "first %#x and %#x", view0.xlated[0].code, view1.xlated[0].code);
}

static void check_no_prologue(const char *name)
{
	check_prologues(name, false, false);
}

static void check_second_prologue(const char *name)
{
	check_prologues(name, false, true);
}

static void check_both_prologues(const char *name)
{
	check_prologues(name, true, true);
}

static const struct insn_test tests[] = {
	/* the packet is for the function that reads; the other root has another one write */
	{
		.name = "packet_read_beside_memory_written_for_other_root",
		.funcs = { TC_STACK_FOR_BOTH, CGROUP_PACKET_FOR(2), READS_OR_WRITES },
		.runs = { RETURNS(5), RETURNS(1) },
	},
	{
		.name = "packet_read_beside_memory_written_for_other_root_reversed",
		.funcs = { CGROUP_PACKET_FOR(2), TC_STACK_FOR_BOTH, READS_OR_WRITES },
		.runs = { RETURNS(1), RETURNS(5) },
	},
	{
		.name = "packet_written_beside_memory_for_other_root",
		.funcs = { TC_STACK_FOR_BOTH, CGROUP_PACKET_FOR(3), READS_OR_WRITES },
		.err = EACCES,
		.msg = READ_ONLY,
	},
	{
		.name = "packet_written_beside_memory_for_other_root_reversed",
		.funcs = { CGROUP_PACKET_FOR(3), TC_STACK_FOR_BOTH, READS_OR_WRITES },
		.err = EACCES,
		.msg = READ_ONLY,
	},
	{
		.name = "packet_read_needs_no_prologue_beside_writer",
		.funcs = { TC_STACK_FOR_BOTH, TC_PACKET_FOR(2), READS_OR_WRITES },
		.check = check_no_prologue,
	},
	{
		.name = "packet_read_needs_no_prologue_beside_writer_reversed",
		.funcs = { TC_PACKET_FOR(2), TC_STACK_FOR_BOTH, READS_OR_WRITES },
		.check = check_no_prologue,
	},
	{
		.name = "packet_written_needs_prologue_beside_writer",
		.funcs = { TC_STACK_FOR_BOTH, TC_PACKET_FOR(3), READS_OR_WRITES },
		.check = check_second_prologue,
	},
	{
		.name = "packet_written_by_function_of_equal_roots",
		.funcs = {
			ROOT("ta", TC, CALL_FUNC(2), EXIT),
			ROOT("tb", TC, CALL_FUNC(2), EXIT),
			GLOBAL("writes", PROTO_SKB,
			       MOV_REG(R6, R1),
			       SKB_BYTES(1, 0),
			       BPF_ST_MEM(BPF_B, R7, 0, 5),
			       RETURN(5)),
		},
		.check = check_both_prologues,
		.runs = { RETURNS(5), RETURNS(5) },
	},
	/* a root of the same type makes the dynptr of its packet, for itself */
	{
		.name = "slice_kept_beside_packets_of_equal_root",
		.funcs = {
			TC_MEMORY,
			ROOT("pkt", TC, SKB_DYNPTR, RETURN(0)),
			USES_SLICE,
		},
		.runs = { RETURNS(5), RETURNS(0) },
	},
	{
		.name = "slice_stale_for_second_root",
		.funcs = { TC_MEMORY, TC_SKB, USES_SLICE },
		.err = EACCES,
		.msg = STALE,
	},
	{
		.name = "slice_stale_for_first_root",
		.funcs = { TC_SKB, TC_MEMORY, USES_SLICE },
		.err = EACCES,
		.msg = STALE,
	},
	{
		.name = "slice_stale_for_function_in_callback_of_root",
		.funcs = {
			TC_MEMORY,
			ROOT("pkt", TC,
			     BPF_STX_MEM(BPF_DW, R10, R1, -8),
			     MOV_IMM(R1, 1),
			     LD_FUNC(R2, 3),
			     STACK(R3, -8),
			     MOV_IMM(R4, 0),
			     HELPER(loop),
			     RETURN(0)),
			USES_SLICE,
			SUB("cb",
			    BPF_LDX_MEM(BPF_DW, R1, R2, 0),
			    SKB_DYNPTR,
			    STACK(R1, -16),
			    CALL_EXIT(2)),
		},
		.err = EACCES,
		.msg = STALE,
	},
	/* for one root the function moves the packet; another one does not call it */
	{
		.name = "packet_kept_over_dead_call_of_mover",
		.funcs = {
			ROOT("mv", TC, CALL_FUNC(3), RETURN(0)),
			ROOT("kp", TC, KEEPS_PACKET(2)),
			DEAD_CALL(3),
			MOVER("m"),
		},
		.runs = { RETURNS(0), RETURNS(5) },
	},
	{
		.name = "packet_kept_over_dead_call_of_mover_reversed",
		.funcs = {
			ROOT("kp", TC, KEEPS_PACKET(2)),
			ROOT("mv", TC, CALL_FUNC(3), RETURN(0)),
			DEAD_CALL(3),
			MOVER("m"),
		},
		.runs = { RETURNS(5), RETURNS(0) },
	},
	{
		.name = "packet_moved_below_function_of_second_root",
		.funcs = {
			ROOT("mv", TC, CALL_FUNC(3), RETURN(0)),
			ROOT("kp", TC, KEEPS_PACKET(2)),
			GLOBAL("g", PROTO_SKB, CALL_EXIT(3)),
			MOVER("m"),
		},
		.err = EACCES,
		.msg = STALE,
	},
	/* verified three times: what only logs is no mover for that */
	{
		.name = "packet_kept_over_logger_in_third_turn",
		.funcs = {
			ROOT("a", TC, CALLS_AND_KEEPS_PACKET(1, 4)),
			GLOBAL("b", PROTO_SKB, MOVED_IN_SECOND_TURN(2, 3)),
			MOVER("m"),
			MOVER("n"),
			LOGS,
		},
		.runs = { RETURNS(5) },
	},
	{
		.name = "packet_kept_over_logger_beside_root_of_three_turns",
		.funcs = {
			ROOT("a", TC, MOVED_IN_SECOND_TURN(2, 3)),
			ROOT("b", TC, KEEPS_PACKET(4)),
			MOVER("m"),
			MOVER("n"),
			LOGS,
		},
		.runs = { RETURNS(5), RETURNS(5) },
	},
	{
		.name = "packet_stale_beside_root_of_three_turns",
		.funcs = {
			ROOT("a", TC, MOVED_IN_SECOND_TURN(2, 3)),
			ROOT("b", TC, KEEPS_PACKET(3)),
			MOVER("m"),
			MOVER("n"),
		},
		.err = EACCES,
		.msg = STALE,
	},
	{
		.name = "packet_kept_over_logger_in_seventh_turn",
		.funcs = {
			ROOT("r", TC, CALLS_AND_KEEPS_PACKET(1, 8)),
			GLOBAL("chain", PROTO_SKB, EXIT),
			MOVER("m1"), MOVER("m2"), MOVER("m3"),
			MOVER("m4"), MOVER("m5"), MOVER("m6"),
			LOGS,
		},
		.fill = fill_six,
		.runs = { RETURNS(5) },
	},
	/* no more than eight turns */
	{
		.name = "movers_found_in_eight_turns",
		.funcs = { ROOT("r", TC, EXIT), EIGHT_MOVERS },
		.fill = fill_eight,
		.runs = { RETURNS(5) },
	},
	{
		.name = "packet_stale_in_last_of_eight_turns",
		.funcs = { ROOT("r", TC, EXIT), EIGHT_MOVERS },
		.fill = fill_eight_kept,
		.err = EACCES,
		.msg = STALE,
	},
	/* the function writes to a dynptr, but not to the one that it has got */
	{
		.name = "slice_kept_while_it_is_logged",
		.funcs = {
			PASSES_SKB_TO(GLOBAL("logs", PROTO_DYNPTR,
					     SLICE_USED_AFTER(MEM_DYNPTR,
							      STACK(R1, -16),
							      MOV_IMM(R2, 0),
							      MOV_REG(R3, R7),
							      MOV_IMM(R4, 8),
							      MOV_IMM(R5, 0),
							      HELPER(dynptr_write)))),
		},
		.runs = { RETURNS(5) },
	},
	{
		.name = "slice_stale_by_write_to_argument",
		.funcs = { PASSES_SKB_TO(USES_SLICE) },
		.err = EACCES,
		.msg = STALE,
	},
	{
		.name = "slice_stale_by_write_to_clone",
		.funcs = {
			PASSES_SKB_TO(GLOBAL("f", PROTO_DYNPTR,
					     SLICE_USED_AFTER(MOV_REG(R1, R6),
							      STACK(R2, -16),
							      KFUNC(bpf_dynptr_clone),
							      STACK(R1, -16),
							      WRITE_DYNPTR(8)))),
		},
		.err = EACCES,
		.msg = STALE,
	},
	{
		.name = "slice_stale_by_clone_or_memory",
		.funcs = {
			PASSES_SKB_TO(GLOBAL("f", PROTO_DYNPTR,
					     SLICE_USED_AFTER(BPF_LDX_MEM(BPF_B, R0, R7, 0),
							      BPF_JMP_IMM(BPF_JNE, R0, 0, 8),
							      MEM_DYNPTR,
							      BPF_JMP_A(4),
							      MOV_REG(R1, R6),
							      STACK(R2, -16),
							      KFUNC(bpf_dynptr_clone),
							      STACK(R1, -16),
							      WRITE_DYNPTR(8)))),
		},
		.err = EACCES,
		.msg = STALE,
	},
	{
		.name = "slice_stale_by_function_that_gets_argument",
		.funcs = {
			PASSES_SKB_TO(GLOBAL("f", PROTO_DYNPTR,
					     SLICE_USED_AFTER(MOV_REG(R1, R6), CALL_FUNC(2)))),
			GLOBAL("w", PROTO_DYNPTR, WRITE_DYNPTR(8), RETURN(0)),
		},
		.err = EACCES,
		.msg = STALE,
	},
	/* a program that exports something: who calls that has no packets, or may have some */
	{
		.name = "slice_kept_in_kprobe_beside_export",
		.funcs = {
			ROOT("kp", KPROBE, PASSES_MEMORY),
			EXPORT("e", PROTO_VOID, RETURN(0)),
			USES_SLICE,
		},
	},
	{
		.name = "slice_kept_in_exported_function_of_kprobe",
		.funcs = {
			ROOT("kp", KPROBE, RETURN(0)),
			EXPORT("f", PROTO_DYNPTR, SLICE_USED_AFTER(WRITES_ARGUMENT)),
		},
	},
	{
		.name = "slice_stale_in_exported_function_of_tc",
		.funcs = {
			ROOT("tc", TC, RETURN(0)),
			EXPORT("f", PROTO_DYNPTR, SLICE_USED_AFTER(WRITES_ARGUMENT)),
		},
		.err = EACCES,
		.msg = STALE,
	},
	{
		.name = "slice_stale_in_exported_function_of_kprobe_and_tc",
		.funcs = {
			ROOT("kp", KPROBE, RETURN(0)),
			ROOT("tc", TC, RETURN(0)),
			EXPORT("f", PROTO_DYNPTR, SLICE_USED_AFTER(WRITES_ARGUMENT)),
		},
		.err = EACCES,
		.msg = STALE,
	},
	/* callers are of these two kinds, and to write to the dynptr of XDP moves nothing */
	{
		.name = "slice_kept_in_exported_function_of_kprobe_and_xdp",
		.funcs = {
			ROOT("kp", KPROBE, RETURN(0)),
			ROOT("xd", XDP, RETURN(2)),
			EXPORT("f", PROTO_DYNPTR, SLICE_USED_AFTER(WRITES_ARGUMENT)),
		},
	},
	/* figures */
	{
		.name = "figures_of_last_turn",
		.log_level = 4 | 2,
		.funcs = { ROOT("a", TC, MOVED_IN_SECOND_TURN(1, 2)), MOVER("m"), MOVER("n") },
		.check = check_figures,
	},
	{
		.name = "figures_of_last_turn_of_each_root",
		.log_level = 4 | 2,
		.funcs = {
			ROOT("a", TC, MOVED_IN_SECOND_TURN(2, 3)),
			ROOT("b", TC, MOVED_IN_SECOND_TURN(3, 2)),
			MOVER("m"),
			MOVER("n"),
		},
		.check = check_figures,
	},
};

const struct insn_group packets_group = {
	.name = "packets",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
