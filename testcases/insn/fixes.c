// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Programs that use nothing new: what bpf-fixes refuses and a released kernel lets through, and
 * what it must go on accepting.
 */

#define XDP_MOVES \
	MOV_IMM(R2, 0), \
	HELPER(xdp_adjust_head)
/* of the dynptr in R1, in R0 */
#define SLICE \
	MOV_IMM(R2, 0), \
	BPF_ST_MEM(BPF_DW, R10, -24, 0), \
	STACK(R3, -24), \
	MOV_IMM(R4, 8), \
	KFUNC(bpf_dynptr_slice), \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
	RETURN(0)
#define FOR_EACH(map, k) \
	LD_MAP(R1, map), \
	LD_FUNC(R2, k), \
	MOV_IMM(R3, 0), \
	MOV_IMM(R4, 0), \
	HELPER(for_each_map_elem)
#define LOOP(n, k) \
	MOV_IMM(R1, n), \
	LD_FUNC(R2, k), \
	MOV_IMM(R3, 0), \
	MOV_IMM(R4, 0), \
	HELPER(loop)
/* the callback finds the context, which is in @ctx, where its second argument points to */
#define LOOP_WITH_CTX(ctx, k) \
	BPF_STX_MEM(BPF_DW, R10, ctx, -8), \
	MOV_IMM(R1, 1), \
	LD_FUNC(R2, k), \
	STACK(R3, -8), \
	MOV_IMM(R4, 0), \
	HELPER(loop)
#define COPY_STR_FROM_USER \
	BPF_ST_MEM(BPF_DW, R10, -8, 0), \
	STACK(R1, -8), \
	MOV_IMM(R2, 8), \
	MOV_IMM(R3, 0), \
	MOV_IMM(R4, 0), \
	KFUNC(bpf_copy_from_user_str)
#define NO_MEM \
	BPF_JMP_IMM(BPF_JNE, R1, 0, 2), \
	RETURN(0)
#define WRITES(nm) GLOBAL(nm, PROTO_MEM, NO_MEM, BPF_ST_MEM(BPF_W, R1, 0, 1), RETURN(0))
#define PASSES_ON(nm, k) GLOBAL(nm, PROTO_MEM, NO_MEM, CALL_EXIT(k))
#define PASS_STACK(k) BPF_ST_MEM(BPF_W, R10, -4, 0), STACK(R1, -4), CALL_FUNC(k)
/* function 1 is called with a packet in use */
#define TC_PACKET_KEPT \
	MOV_REG(R6, R1), \
	SKB_BYTES(1, 0), \
	MOV_REG(R1, R6), \
	CALL_FUNC(1), \
	BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	RETURN(2)
#define TC_KEEPS_PACKET ROOT("r", TC, TC_PACKET_KEPT)
#define WRITES_SKB(nm) \
	GLOBAL(nm, PROTO_SKB, SKB_DYNPTR, STACK(R1, -16), WRITE_DYNPTR(4), RETURN(0))
/* function 1 is given the packet, and the context */
#define TC_PASSES_PACKET \
	ROOT("r", TC, \
	     MOV_REG(R6, R1), \
	     SKB_BYTES(4, 0), \
	     MOV_REG(R1, R6), \
	     MOV_REG(R2, R7), \
	     CALL_FUNC(1), \
	     RETURN(2))
#define MUST_NOT_SLEEP "in callback that must not sleep"

static const struct insn_test tests[] = {
	/*
	 * h leads to f by a callback with a call in dead code, and f calls h. What is behind a
	 * call is walked first, and targets of jumps last: f is known before it is known what
	 * h does.
	 */
	{
		.name = "packet_moved_in_cycle_of_dead_call",
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     XDP_BYTES(8, 1),
			     MOV_REG(R1, R6),
			     CALL_FUNC(3),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     MOV_REG(R1, R6),
			     CALL_FUNC(1),
			     RETURN(2)),
			GLOBAL("h", PROTO_XDP,
			       MOV_REG(R6, R1),
			       BPF_LDX_MEM(BPF_W, R0, R1, offsetof(struct xdp_md, ingress_ifindex)),
			       BPF_JMP_IMM(BPF_JEQ, R0, 1, 15),
			       SET_TIMER(2),
			       RETURN(0),
			       MOV_REG(R1, R6),
			       XDP_MOVES,
			       RETURN(0)),
			SUB("g",
			    MOV_IMM(R1, 0),
			    BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			    CALL_FUNC(3),
			    RETURN(0)),
			GLOBAL("f", PROTO_XDP, CALL_EXIT(1)),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	/* would be followed for ever: no stack is used, and f starts a new count of frames */
	{
		.name = "callback_called_by_function_that_it_calls",
		.funcs = {
			ROOT("r", XDP, LOOP(1, 1), RETURN(2)),
			SUB("cb", CALL_EXIT(2)),
			GLOBAL("f", PROTO_VOID, LOOP(1, 1), RETURN(0)),
		},
		.err = EINVAL,
		.msg = "recursive call from f() to cb()",
	},
	/* writing to the dynptr of a packet, which no caller sees */
	{
		.name = "packet_moved_by_dynptr_of_function",
		.funcs = { TC_KEEPS_PACKET, GLOBAL("f", PROTO_SKB, CALL_EXIT(2)), WRITES_SKB("g") },
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	/* the same where BTF does not tell what the entry takes, which is found out once */
	{
		.name = "packet_moved_below_entry_of_any_type",
		.funcs = {
			{ .name = "r", .type = TC, .global = true, .proto = PROTO_SIX_INTS,
			  INSNS(TC_PACKET_KEPT) },
			GLOBAL("f", PROTO_SKB, CALL_EXIT(2)),
			WRITES_SKB("g"),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	/* h is called only where R9 is unknown, which it is once g is known to move the packet */
	{
		.name = "packet_moved_where_packet_was_moved",
		.funcs = {
			ROOT("r", TC, CALL_FUNC(1), RETURN(2)),
			GLOBAL("f", PROTO_SKB,
			       MOV_REG(R6, R1),
			       BPF_LDX_MEM(BPF_W, R9, R6, offsetof(struct __sk_buff, data)),
			       BPF_LDX_MEM(BPF_W, R8, R6, offsetof(struct __sk_buff, data_end)),
			       BPF_ALU64_IMM(BPF_ADD, R9, 4),
			       BPF_JMP_REG(BPF_JGT, R9, R8, 2),
			       RETURN(0),
			       MOV_REG(R1, R6),
			       CALL_FUNC(2),
			       BPF_JMP_REG(BPF_JGT, R9, R8, 10),
			       SKB_BYTES(1, 0),
			       MOV_REG(R1, R6),
			       CALL_FUNC(3),
			       BPF_LDX_MEM(BPF_B, R0, R7, 0),
			       RETURN(0)),
			WRITES_SKB("g"),
			WRITES_SKB("h"),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	/* the same with R9 a slice, and nothing in use over the call of h */
	{
		.name = "packet_dropped_where_packet_was_moved",
		.funcs = {
			ROOT("r", TC, CALL_FUNC(1), RETURN(2)),
			GLOBAL("f", PROTO_SKB,
			       MOV_REG(R6, R1),
			       SKB_DYNPTR,
			       STACK(R1, -16),
			       SLICE,
			       MOV_REG(R9, R0),
			       MOV_REG(R1, R6),
			       CALL_FUNC(2),
			       SKB_BYTES(1, 0),
			       BPF_JMP_IMM(BPF_JNE, R9, 0, 2),
			       MOV_REG(R1, R6),
			       CALL_FUNC(3),
			       RETURN(0)),
			WRITES_SKB("g"),
			WRITES_SKB("h"),
		},
		.runs = { RETURNS(2) },
	},
	{
		.name = "packet_moved_three_functions_further",
		.funcs = {
			TC_KEEPS_PACKET,
			GLOBAL("f", PROTO_SKB, CALL_EXIT(2)),
			SUB_PROTO("s", PROTO_SKB, CALL_EXIT(3)),
			WRITES_SKB("g"),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_moved_in_callback_of_function",
		.funcs = {
			TC_KEEPS_PACKET,
			GLOBAL("f", PROTO_SKB, LOOP_WITH_CTX(R1, 2), RETURN(0)),
			SUB("cb",
			    BPF_LDX_MEM(BPF_DW, R1, R2, 0),
			    SKB_DYNPTR,
			    STACK(R1, -16),
			    WRITE_DYNPTR(4),
			    RETURN(0)),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "packet_moved_by_function_of_callback",
		.funcs = {
			ROOT("r", TC,
			     MOV_REG(R6, R1),
			     SKB_BYTES(1, 0),
			     LOOP_WITH_CTX(R6, 1),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			SUB("cb", BPF_LDX_MEM(BPF_DW, R1, R2, 0), CALL_EXIT(2)),
			WRITES_SKB("g"),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	{
		.name = "spilled_packet_moved_below_static_function",
		.funcs = {
			ROOT("r", TC,
			     MOV_REG(R6, R1),
			     SKB_BYTES(1, 0),
			     BPF_STX_MEM(BPF_DW, R10, R7, -8),
			     MOV_IMM(R7, 0),
			     MOV_REG(R1, R6),
			     CALL_FUNC(1),
			     BPF_LDX_MEM(BPF_DW, R9, R10, -8),
			     BPF_LDX_MEM(BPF_B, R0, R9, 0),
			     RETURN(2)),
			SUB_PROTO("s", PROTO_SKB, CALL_EXIT(2)),
			WRITES_SKB("g"),
		},
		.err = EACCES,
		.msg = "R9 invalid mem access 'scalar'",
	},
	{
		.name = "slice_moved_by_dynptr_of_function",
		.funcs = {
			ROOT("r", TC,
			     MOV_REG(R6, R1),
			     SKB_DYNPTR,
			     STACK(R1, -16),
			     SLICE,
			     MOV_REG(R7, R0),
			     MOV_REG(R1, R6),
			     CALL_FUNC(1),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			WRITES_SKB("g"),
		},
		.err = EACCES,
		.msg = "R7 invalid mem access 'scalar'",
	},
	/* the first turn lets f have the packet */
	{
		.name = "packet_passed_to_who_moves_it",
		.funcs = {
			TC_PASSES_PACKET,
			GLOBAL("f", PROTO_SKB_MEM,
			       MOV_REG(R6, R2),
			       SKB_DYNPTR,
			       STACK(R1, -16),
			       WRITE_DYNPTR(4),
			       BPF_JMP_IMM(BPF_JEQ, R6, 0, 1),
			       BPF_LDX_MEM(BPF_B, R0, R6, 0),
			       RETURN(0)),
		},
		.err = EINVAL,
		.msg = "R2 is a packet pointer, but func#1 may change packet data",
	},
	{
		.name = "packet_passed_to_who_has_it_moved",
		.funcs = {
			TC_PASSES_PACKET,
			GLOBAL("f", PROTO_SKB_MEM,
			       MOV_REG(R6, R2),
			       CALL_FUNC(2),
			       BPF_JMP_IMM(BPF_JEQ, R6, 0, 1),
			       BPF_LDX_MEM(BPF_B, R0, R6, 0),
			       RETURN(0)),
			WRITES_SKB("g"),
		},
		.err = EINVAL,
		.msg = "R2 is a packet pointer, but func#1 may change packet data",
	},
	{
		.name = "packet_loaded_again_behind_dynptr_of_function",
		.funcs = {
			ROOT("r", TC,
			     MOV_REG(R6, R1),
			     SKB_BYTES(1, 0),
			     MOV_REG(R1, R6),
			     CALL_FUNC(1),
			     SKB_BYTES(1, 0),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			GLOBAL("f", PROTO_SKB, CALL_EXIT(2)),
			WRITES_SKB("g"),
		},
		.runs = { RETURNS(2) },
	},
	/* one dynptr is that of the packet, another one is written to */
	{
		.name = "packet_kept_while_it_is_logged",
		.funcs = {
			TC_KEEPS_PACKET,
			GLOBAL("log", PROTO_SKB,
			       SKB_DYNPTR,
			       LD_MAP(R1, MAP_RINGBUF),
			       MOV_IMM(R2, 8),
			       MOV_IMM(R3, 0),
			       STACK(R4, -40),
			       HELPER(ringbuf_reserve_dynptr),
			       STACK(R1, -40),
			       WRITE_DYNPTR(4),
			       STACK(R1, -40),
			       MOV_IMM(R2, 0),
			       HELPER(ringbuf_submit_dynptr),
			       RETURN(0)),
		},
		.runs = { RETURNS(2) },
	},
	/* a packet that is only read is passed on, twice, to who writes */
	{
		.name = "packet_passed_on_to_writer",
		.funcs = {
			ROOT_AS("r", CGROUP_SKB, INGRESS, 0,
				MOV_REG(R6, R1),
				SKB_BYTES(4, 1),
				MOV_REG(R1, R7),
				CALL_FUNC(1),
				RETURN(1)),
			PASSES_ON("f", 2),
			PASSES_ON("g", 3),
			WRITES("w"),
		},
		.err = EACCES,
		.msg = "w() cannot write into packet",
	},
	/* what is passed on is not the packet */
	{
		.name = "memory_passed_on_beside_packet",
		.funcs = {
			ROOT_AS("r", CGROUP_SKB, INGRESS, 0,
				MOV_REG(R6, R1),
				PASS_STACK(1),
				SKB_BYTES(4, 1),
				MOV_REG(R1, R7),
				CALL_FUNC(3),
				RETURN(1)),
			PASSES_ON("f", 2),
			WRITES("w"),
			GLOBAL("rd", PROTO_MEM, READS_IF_NOT_NULL),
		},
	},
	/* the callback may sleep where it was seen first */
	{
		.name = "callback_sleeps_for_array_then_hash",
		.funcs = {
			SYSCALL("r", FOR_EACH(MAP_ARRAY, 1), FOR_EACH(MAP_HASH, 1), RETURN(0)),
			SUB("cb", COPY_FROM_USER, RETURN(0)),
		},
		.err = EINVAL,
		.msg = MUST_NOT_SLEEP,
	},
	{
		.name = "sleeps_below_loop_in_hash_callback",
		.funcs = {
			SYSCALL("r", FOR_EACH(MAP_HASH, 1), RETURN(0)),
			SUB("cb", LOOP(3, 2), RETURN(0)),
			SUB("body", CALL_EXIT(3)),
			SUB("s", COPY_FROM_USER, RETURN(0)),
		},
		.err = EINVAL,
		.msg = MUST_NOT_SLEEP,
	},
	{
		.name = "hash_callback_calls_sleepable_kfunc",
		.funcs = {
			SYSCALL("r", FOR_EACH(MAP_HASH, 1), RETURN(0)),
			SUB("cb", COPY_STR_FROM_USER, RETURN(0)),
		},
		.err = EACCES,
		.msg = "callback that must not sleep",
	},
	{
		.name = "sleeps_behind_hash_callback",
		.funcs = {
			SYSCALL("r", FOR_EACH(MAP_HASH, 1), COPY_FROM_USER, RETURN(0)),
			SUB("cb", RETURN(0)),
		},
	},
};

/* A new entry may have a prologue, each time that it is attached, and wherever. */
static void attach_entry(void)
{
	static const char *const names[] = {
		"entry_with_prologue_attached",
		"entry_with_prologue_attached_again",
		"entry_with_prologue_attached_elsewhere",
	};
	static const struct func ext =
		EXTENSION("e", PROTO_SKB,
			  MOV_REG(R6, R1),
			  SKB_BYTES(1, 3),
			  BPF_ST_MEM(BPF_B, R7, 0, 1),
			  RETURN(9));
	struct func entry = ROOT("e", TC, RETURN(5));
	int targets[3], fd, link, ret, i;

	entry.proto = PROTO_SKB;
	targets[0] = load_prog(&entry, 1);
	targets[1] = targets[0];
	targets[2] = load_prog(&entry, 1);
	fd = load_on(BPF_PROG_TYPE_EXT, targets[0], 0, &ext);
	for (i = 0; i < 3; i++) {
		link = attach_ext(fd, targets[i], 0);
		ret = -1;
		test_run(targets[i], &ret);
		result(names[i], link >= 0 && ret == 9, "extension %d, link %d, returns %d", fd,
		       link, ret);
		if (link >= 0)
			close(link);
		rcu_settle();
	}
	close(fd);
	close(targets[0]);
	close(targets[2]);
}

/* An extension may be given the dynptr of a packet by its target, or by another one. */
static void attach_to_packets(void)
{
	static const struct func memory[] = {
		ROOT("lib", TC, MEM_DYNPTR, STACK(R1, -16), CALL_FUNC(1), RETURN(0)),
		GLOBAL("f", PROTO_DYNPTR, WRITE_DYNPTR(4), RETURN(0)),
	};
	static const struct func packets[] = {
		ROOT("lib", TC, SKB_DYNPTR, STACK(R1, -16), CALL_FUNC(1), RETURN(0)),
		GLOBAL("f", PROTO_DYNPTR, WRITE_DYNPTR(4), RETURN(0)),
	};
	static const struct func stale =
		EXTENSION("f", PROTO_DYNPTR,
			  MOV_REG(R6, R1),
			  SLICE,
			  MOV_REG(R7, R0),
			  MOV_REG(R1, R6),
			  WRITE_DYNPTR(8),
			  BPF_LDX_MEM(BPF_B, R0, R7, 0),
			  RETURN(0));
	int mem = LOAD_PROG(memory), pkt = LOAD_PROG(packets), ext, link;

	ext = load_on(BPF_PROG_TYPE_EXT, pkt, 1, &stale);
	result("slice_used_by_extension_of_packets",
	       ext == -EACCES && strstr(log_text, "R7 invalid mem access 'scalar'"), "%d: %s", ext,
	       log_tail());
	if (ext >= 0)
		close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, mem, 1, &stale);
	result("slice_used_by_extension_of_memory", ext >= 0, "%d: %s", ext, log_tail());
	link = attach_ext(ext, pkt, 1);
	result("extension_of_memory_attached_to_packets", link == -EINVAL, "%d", link);
	if (link >= 0)
		close(link);
	link = attach_ext(ext, mem, 1);
	result("extension_of_memory_attached_to_memory", link >= 0, "%d", link);
	if (link >= 0)
		close(link);
	close(ext);
	close(mem);
	close(pkt);
	rcu_settle();
}

/* That a function moves packets is found when it is verified: also of an extension. */
static void attach_movers(void)
{
	static const struct func funcs[] = {
		ROOT("lib", TC,
		     MOV_REG(R6, R1),
		     CALL_FUNC(1),
		     SKB_BYTES(1, 0),
		     MOV_REG(R1, R6),
		     CALL_FUNC(2),
		     BPF_LDX_MEM(BPF_B, R0, R7, 0),
		     RETURN(0)),
		WRITES_SKB("moves"),
		/* writes to a dynptr, but not to that of the packet */
		GLOBAL("keeps", PROTO_SKB, MEM_DYNPTR, STACK(R1, -16), WRITE_DYNPTR(4), RETURN(0)),
	};
	static const struct func mover = EXTENSION("e", PROTO_SKB, SKB_DYNPTR, STACK(R1, -16),
						   WRITE_DYNPTR(4), RETURN(0));
	static const struct func writer = EXTENSION("e", PROTO_SKB, MOV_REG(R6, R1),
						    SKB_BYTES(1, 0), BPF_ST_MEM(BPF_B, R7, 0, 1),
						    RETURN(0));
	int lib = LOAD_PROG(funcs), ext, link;

	ext = load_on(BPF_PROG_TYPE_EXT, lib, 2, &mover);
	result("mover_for_function_that_keeps_packet",
	       ext == -EINVAL && strstr(log_text, "changes packet data, while original does not"),
	       "%d: %s", ext, log_tail());
	if (ext >= 0)
		close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &mover);
	link = attach_ext(ext, lib, 2);
	result("mover_attached_to_function_that_keeps_packet", link == -EINVAL,
	       "extension %d, link %d: %s", ext, link, log_tail());
	if (link >= 0)
		close(link);
	link = attach_ext(ext, lib, 1);
	result("mover_attached_to_mover", link >= 0, "%d", link);
	if (link >= 0)
		close(link);
	close(ext);
	rcu_settle();
	/* moves packets by its prologue */
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &writer);
	link = attach_ext(ext, lib, 2);
	result("prologue_attached_to_function_that_keeps_packet", ext >= 0 && link == -EINVAL,
	       "extension %d, link %d: %s", ext, link, log_tail());
	if (link >= 0)
		close(link);
	if (ext >= 0)
		close(ext);
	close(lib);
	rcu_settle();
}

static void scenarios(void)
{
	attach_entry();
	attach_to_packets();
	attach_movers();
}

const struct insn_group fixes_group = {
	.name = "fixes",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
