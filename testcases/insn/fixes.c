// SPDX-License-Identifier: GPL-2.0
#include "insn.h"
#include <linux/if_packet.h>
#include <linux/if_ether.h>

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
/* of the dynptr at -16, with R3 for its buffer */
#define SLICE_INTO_R3 \
	STACK(R1, -16), \
	MOV_IMM(R2, 0), \
	MOV_IMM(R4, 8), \
	KFUNC(bpf_dynptr_slice)
#define SLICE_INTO_PACKET(drop) \
	MOV_REG(R6, R1), \
	SKB_DYNPTR, \
	SKB_BYTES(8, drop), \
	MOV_REG(R3, R7), \
	SLICE_INTO_R3
#define SLICE_INTO_STACK \
	SKB_DYNPTR, \
	BPF_ST_MEM(BPF_DW, R10, -24, 0), \
	STACK(R3, -24), \
	SLICE_INTO_R3
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

/* a dynptr of the file in R6, at -16, and its end */
#define FILE_DYNPTR \
	MOV_REG(R1, R6), \
	MOV_IMM(R2, 0), \
	STACK(R3, -16), \
	KFUNC(bpf_dynptr_from_file)
/* a program that may sleep, and has the file that is opened in R6 */
#define OPENS_FILE(...) \
	ROOT_AS("f", BPF_PROG_TYPE_LSM, BPF_LSM_MAC, BPF_F_SLEEPABLE, \
		BPF_LDX_MEM(BPF_DW, R6, R1, 0), \
		__VA_ARGS__)
#define DISCARD_FILE \
	STACK(R1, -16), \
	KFUNC(bpf_dynptr_file_discard)
#define READ_FILE \
	STACK(R1, -24), \
	MOV_IMM(R2, 8), \
	STACK(R3, -16), \
	MOV_IMM(R4, 0), \
	MOV_IMM(R5, 0), \
	HELPER(dynptr_read)

static void attach_to_file_open(struct load *l, int value)
{
	attach_id = kernel_btf_find("bpf_lsm_file_open", BTF_KIND_FUNC, NULL);
	attach_to(l, 0);
}

/* What user space sees of a call of this kernel function */
static int call_imm(const char *symbol)
{
	unsigned long addr, base = 0, found = 0;
	char line[300], name[128], type;
	FILE *f = fopen("/proc/kallsyms", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %c %127s", &addr, &type, name) != 3)
			continue;
		if (!strcmp(name, "__bpf_call_base"))
			base = addr;
		if (!strcmp(name, symbol))
			found = addr;
	}
	if (f)
		fclose(f);
	return found - base;
}

/* Whether all calls of bpf_dynptr_from_file() are of this implementation. */
static void check_files(const char *name, const char *symbol)
{
	int imm = call_imm(symbol), calls = 0, others = 0, i;

	view_get(loaded.fds[0], &view0);
	for (i = 0; i < view0.nr_xlated; i++) {
		const struct bpf_insn *insn = &view0.xlated[i];

		/* FILE_DYNPTR starts with R1 = R6 */
		if (insn->code != (BPF_JMP | BPF_CALL) || i < 4 ||
		    view0.xlated[i - 4].dst_reg != R1 || view0.xlated[i - 4].src_reg != R6)
			continue;
		calls++;
		others += insn->imm != imm;
	}
	sub_result(name, "calls", imm && calls && !others, "%d calls, %d not of %s", calls, others,
		   symbol);
}

static void check_files_wait(const char *name)
{
	check_files(name, "bpf_dynptr_from_file_sleepable");
}

static void check_files_do_not_wait(const char *name)
{
	check_files(name, "bpf_dynptr_from_file");
}

/* 8 bytes behind the headers of UDP */
#define FILL_DYNPTR \
	STACK(R1, -16), \
	MOV_IMM(R2, 42), \
	MOV_IMM(R3, 8), \
	MOV_IMM(R4, 'B'), \
	KFUNC(bpf_dynptr_memset)

static void check_has_prologue(const char *name)
{
	view_get(loaded.fds[0], &view0);
	sub_result(name, "prologue", has_prologue(&view0), "first insn %#x", view0.xlated[0].code);
}

static void check_has_no_prologue(const char *name)
{
	view_get(loaded.fds[0], &view0);
	sub_result(name, "prologue", !has_prologue(&view0), "first insn %#x", view0.xlated[0].code);
}

static const struct insn_test tests[] = {
	/* the second call must not sleep; the first may */
	{
		.name = "file_dynptr_in_rcu_section_behind_another",
		.funcs = {
			OPENS_FILE(FILE_DYNPTR,
				   DISCARD_FILE,
				   KFUNC(bpf_rcu_read_lock),
				   FILE_DYNPTR,
				   DISCARD_FILE,
				   KFUNC(bpf_rcu_read_unlock),
				   RETURN(0)),
		},
		.tweak = attach_to_file_open,
		.check = check_files_do_not_wait,
	},
	/* the other way round */
	{
		.name = "file_dynptr_behind_rcu_section",
		.funcs = {
			OPENS_FILE(KFUNC(bpf_rcu_read_lock),
				   FILE_DYNPTR,
				   DISCARD_FILE,
				   KFUNC(bpf_rcu_read_unlock),
				   FILE_DYNPTR,
				   DISCARD_FILE,
				   RETURN(0)),
		},
		.tweak = attach_to_file_open,
		.check = check_files_do_not_wait,
	},
	/* in a callback that must not sleep */
	{
		.name = "file_dynptr_in_hash_callback_behind_another",
		.funcs = {
			OPENS_FILE(FILE_DYNPTR,
				   DISCARD_FILE,
				   BPF_STX_MEM(BPF_DW, R10, R6, -32),
				   LD_MAP(R1, MAP_HASH),
				   LD_FUNC(R2, 1),
				   STACK(R3, -32),
				   MOV_IMM(R4, 0),
				   HELPER(for_each_map_elem),
				   RETURN(0)),
			SUB("cb",
			    BPF_LDX_MEM(BPF_DW, R6, R4, 0),
			    FILE_DYNPTR,
			    DISCARD_FILE,
			    RETURN(0)),
		},
		.tweak = attach_to_file_open,
		.check = check_files_do_not_wait,
	},
	{
		.name = "file_read_in_rcu_section",
		.funcs = {
			OPENS_FILE(FILE_DYNPTR,
				   KFUNC(bpf_rcu_read_lock),
				   READ_FILE,
				   KFUNC(bpf_rcu_read_unlock),
				   DISCARD_FILE,
				   RETURN(0)),
		},
		.tweak = attach_to_file_open,
		.check = check_files_do_not_wait,
	},
	{
		.name = "file_read_in_rcu_section_of_function",
		.funcs = {
			OPENS_FILE(FILE_DYNPTR,
				   STACK(R1, -16),
				   CALL_FUNC(1),
				   DISCARD_FILE,
				   RETURN(0)),
			GLOBAL("g", PROTO_DYNPTR,
			       MOV_REG(R6, R1),
			       KFUNC(bpf_rcu_read_lock),
			       STACK(R1, -8),
			       MOV_IMM(R2, 8),
			       MOV_REG(R3, R6),
			       MOV_IMM(R4, 0),
			       MOV_IMM(R5, 0),
			       HELPER(dynptr_read),
			       KFUNC(bpf_rcu_read_unlock),
			       RETURN(0)),
		},
		.tweak = attach_to_file_open,
		.check = check_files_do_not_wait,
	},
	{
		.name = "file_read_where_program_may_sleep",
		.funcs = {
			OPENS_FILE(FILE_DYNPTR,
				   READ_FILE,
				   KFUNC(bpf_rcu_read_lock),
				   KFUNC(bpf_rcu_read_unlock),
				   DISCARD_FILE,
				   RETURN(0)),
		},
		.tweak = attach_to_file_open,
		.check = check_files_wait,
	},
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
	/* a loop calls it at once, even where a timer calls it later on as well */
	{
		.name = "timer_callback_called_by_function_that_it_calls",
		.funcs = {
			ROOT("r", XDP, SET_TIMER(1), LOOP(1, 1), RETURN(2)),
			SUB("cb", CALL_EXIT(2)),
			GLOBAL("f", PROTO_VOID, LOOP(1, 1), RETURN(0)),
		},
		.err = EINVAL,
		.msg = "recursive call from f() to cb()",
	},
	{
		.name = "timer_callback_called_by_loop",
		.funcs = {
			ROOT("r", XDP, SET_TIMER(1), LOOP(1, 1), RETURN(2)),
			SUB("cb", CALL_EXIT(2)),
			GLOBAL("f", PROTO_VOID, RETURN(0)),
		},
		.runs = { RETURNS(2) },
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
	/* what a kfunc writes in place must be private to the program, as what it writes itself */
	{
		.name = "packet_filled_by_kfunc",
		.funcs = {
			ROOT("r", TC, SKB_DYNPTR, FILL_DYNPTR, RETURN(2)),
		},
		.runs = { RETURNS(2) },
		.check = check_has_prologue,
	},
	{
		.name = "packet_copied_to_by_kfunc",
		.funcs = {
			ROOT("r", TC,
			     MOV_REG(R6, R1),
			     MEM_DYNPTR,
			     MOV_REG(R1, R6),
			     MOV_IMM(R2, 0),
			     STACK(R3, -32),
			     KFUNC(bpf_dynptr_from_skb),
			     STACK(R1, -32),
			     MOV_IMM(R2, 0),
			     STACK(R3, -16),
			     MOV_IMM(R4, 0),
			     MOV_IMM(R5, 8),
			     KFUNC(bpf_dynptr_copy),
			     RETURN(2)),
		},
		.runs = { RETURNS(2) },
		.check = check_has_prologue,
	},
	{
		.name = "packet_filled_by_kfunc_of_function",
		.funcs = {
			ROOT("r", TC, SKB_DYNPTR, STACK(R1, -16), CALL_FUNC(1), RETURN(2)),
			GLOBAL("f", PROTO_DYNPTR,
			       MOV_IMM(R2, 42),
			       MOV_IMM(R3, 8),
			       MOV_IMM(R4, 'B'),
			       KFUNC(bpf_dynptr_memset),
			       RETURN(0)),
		},
		.runs = { RETURNS(2) },
		.check = check_has_prologue,
	},
	/* the kfunc may copy what it finds into the buffer */
	{
		.name = "packet_only_read_as_buffer_of_slice",
		.funcs = {
			ROOT_AS("r", CGROUP_SKB, INGRESS, 0, SLICE_INTO_PACKET(1), RETURN(1)),
		},
		.err = EACCES,
		.msg = "the kfunc cannot write into packet",
	},
	{
		.name = "stack_as_buffer_of_slice_of_packet_only_read",
		.funcs = {
			ROOT_AS("r", CGROUP_SKB, INGRESS, 0, SLICE_INTO_STACK, RETURN(1)),
		},
		.runs = { RETURNS(1) },
	},
	{
		.name = "packet_as_buffer_of_slice",
		.funcs = {
			ROOT("r", TC, SLICE_INTO_PACKET(0), RETURN(2)),
		},
		.runs = { RETURNS(2) },
		.check = check_has_prologue,
	},
	{
		.name = "stack_as_buffer_of_slice",
		.funcs = {
			ROOT("r", TC, SLICE_INTO_STACK, RETURN(2)),
		},
		.runs = { RETURNS(2) },
		.check = check_has_no_prologue,
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

/*
 * How many of the packets that a packet socket gets have this letter, if a program is attached to
 * loopback: it sees each of three packets as it is sent and as it is received. -1: too few came.
 */
static int letters_seen(int fd, char letter)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(5557) };
	int tap = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	int s = socket(AF_INET, SOCK_DGRAM, 0), link, got = 0, seen = 0, len, i;
	struct timeval limit = { .tv_sec = 10 };
	unsigned char packet[256];
	union bpf_attr attr;

	ll.sll_ifindex = if_nametoindex("lo");
	if (bind(tap, (void *)&ll, sizeof(ll)) ||
	    setsockopt(tap, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		perror("tap");
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = fd;
	attr.link_create.target_ifindex = ll.sll_ifindex;
	attr.link_create.attach_type = BPF_TCX_INGRESS;
	link = bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (i = 0; i < 3; i++)
		sendto(s, "AAAAAAAAAAAA", 12, 0, (void *)&addr, sizeof(addr));
	while (got < 6 && (len = recv(tap, packet, sizeof(packet), 0)) > 0) {
		if (len < 54 || packet[23] != IPPROTO_UDP || packet[37] != (5557 & 0xff))
			continue;
		got++;
		seen += packet[42] == letter;
	}
	if (link >= 0)
		close(link);
	close(s);
	close(tap);
	return link >= 0 && got == 6 ? seen : -1;
}

/* What others have of the packet stays what it was. */
static void write_to_clone(void)
{
	static const struct func fills[] = {
		ROOT("r", TC, SKB_DYNPTR, FILL_DYNPTR, RETURN(0)),
	};
	static const struct func writes[] = {
		ROOT("r", TC,
		     SKB_DYNPTR,
		     BPF_ST_MEM(BPF_DW, R10, -24, 0x42424242),
		     STACK(R1, -16),
		     MOV_IMM(R2, 42),
		     STACK(R3, -24),
		     MOV_IMM(R4, 4),
		     MOV_IMM(R5, 0),
		     HELPER(dynptr_write),
		     RETURN(0)),
	};
	int fd = LOAD_PROG(writes), n;

	loopback_up();
	n = letters_seen(fd, 'B');
	result("packet_of_others_written_by_helper", !n, "%d packets changed", n);
	close(fd);
	fd = LOAD_PROG(fills);
	n = letters_seen(fd, 'B');
	result("packet_of_others_written_by_kfunc", !n, "%d packets changed", n);
	close(fd);
}

static void scenarios(void)
{
	write_to_clone();
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
