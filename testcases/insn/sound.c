// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Sound programs that use nothing new, or roots that are each sound alone: all are accepted, and do
 * together what they do alone. Each was refused once, or left its caller with a wrong pointer.
 */

#define WRITES_WORD \
	MOV_IMM(R0, 0), \
	BPF_JMP_IMM(BPF_JEQ, R1, 0, 1), \
	BPF_ST_MEM(BPF_W, R1, 0, 1), \
	EXIT
/* functions 1 to 3 */
#define READS_AND_WRITES \
	GLOBAL("reads", PROTO_MEM, READS_IF_NOT_NULL), \
	GLOBAL("asks", PROTO_MEM, CALL_FUNC(3), EXIT), \
	GLOBAL("writes", PROTO_MEM, WRITES_WORD)
#define FOR_EACH(map, k) \
	LD_MAP(R1, map), \
	LD_FUNC(R2, k), \
	MOV_IMM(R3, 0), \
	MOV_IMM(R4, 0), \
	HELPER(for_each_map_elem)

/* adds @n to what R2 points to */
#define ADDS(nm, n) \
	SUB(nm, \
	    BPF_LDX_MEM(BPF_DW, R3, R2, 0), \
	    BPF_ALU64_IMM(BPF_ADD, R3, n), \
	    BPF_STX_MEM(BPF_DW, R2, R3, 0), \
	    RETURN(0))
#define CALLBACK_PER_ROOT \
	ROOT("xa", XDP, LD_FUNC(R2, 3), CALL_FUNC(2), EXIT), \
	ROOT("tb", TC, LD_FUNC(R2, 4), CALL_FUNC(2), EXIT), \
	SUB("s", \
	    MOV_IMM(R1, 10), \
	    BPF_ST_MEM(BPF_DW, R10, -8, 0), \
	    STACK(R3, -8), \
	    MOV_IMM(R4, 0), \
	    HELPER(loop), \
	    BPF_LDX_MEM(BPF_DW, R0, R10, -8), \
	    EXIT), \
	ADDS("one", 1), \
	ADDS("two", 2)
/* a packet of the first root is in use over a call of what the second one moves its packet with */
#define TC_BESIDE_XDP(...) \
	ROOT("tc", TC, \
	     MOV_REG(R6, R1), \
	     SKB_BYTES(1, 0), \
	     MOV_IMM(R1, 0), \
	     CALL_FUNC(2), \
	     BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	     RETURN(5)), \
	ROOT("xd", XDP, MOV_REG(R2, R1), MOV_IMM(R1, 1), CALL_FUNC(3), RETURN(2)), \
	GLOBAL("g", PROTO_INT, MOV_IMM(R1, 0), MOV_IMM(R2, 0), CALL_EXIT(3)), \
	SUB("s", \
	    BPF_JMP_IMM(BPF_JNE, R1, 1, 3), \
	    MOV_REG(R1, R2), \
	    MOV_IMM(R2, 0), \
	    __VA_ARGS__, \
	    RETURN(0))
/* dynptr of the context, which is kept in R6, at -16 */
#define XDP_DYNPTR \
	MOV_REG(R6, R1), \
	MOV_IMM(R2, 0), \
	STACK(R3, -16), \
	KFUNC(bpf_dynptr_from_xdp)
/* of the dynptr in R1, in R7 */
#define SLICE_TO_WRITE \
	MOV_IMM(R2, 0), \
	BPF_ST_MEM(BPF_DW, R10, -32, 0), \
	STACK(R3, -32), \
	MOV_IMM(R4, 8), \
	KFUNC(bpf_dynptr_slice_rdwr), \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
	RETURN(1), \
	MOV_REG(R7, R0)
/* returns 5, if the slice in R7 began with the zero that was written to the dynptr */
#define USE_SLICE \
	BPF_LDX_MEM(BPF_B, R8, R7, 0), \
	BPF_ST_MEM(BPF_B, R7, 0, 5), \
	BPF_LDX_MEM(BPF_B, R0, R7, 0), \
	BPF_ALU64_REG(BPF_ADD, R0, R8), \
	EXIT
#define MANY_CALLS 75
#define TOO_MANY_CALLS 100

static void harden(void)
{
	write_string("/proc/sys/net/core/bpf_jit_harden", "2");
}

static void unharden(void)
{
	write_string("/proc/sys/net/core/bpf_jit_harden", "0");
}

/* @count calls with the address of a stack slot */
static void fill_calls(struct func *func, struct bpf_insn *insns, int count, int callee)
{
	static const struct bpf_insn first = BPF_ST_MEM(BPF_DW, R10, -8, 0);
	static const struct bpf_insn last[] = { RETURN(1) };
	struct bpf_insn call[] = { STACK(R1, -8), CALL_FUNC(callee) };
	int i, n = 0;

	insns[n++] = first;
	for (i = 0; i < count; i++, n += ARRAY_SIZE(call))
		memcpy(insns + n, call, sizeof(call));
	memcpy(insns + n, last, sizeof(last));
	func->long_insns = insns;
	func->long_len = n + ARRAY_SIZE(last);
}

/* Every root leads to 5700 calls that the analysis of the stack follows, of 10000 at most. */
static void fill_many_calls(struct func *funcs)
{
	static struct bpf_insn insns[3][MANY_CALLS * 3 + 3];

	fill_calls(&funcs[0], insns[0], MANY_CALLS, 2);
	fill_calls(&funcs[1], insns[1], MANY_CALLS, 2);
	fill_calls(&funcs[2], insns[2], MANY_CALLS, 3);
}

/* The first root leads to more than 10000, the second one to none. */
static void fill_too_many_calls(struct func *funcs)
{
	static struct bpf_insn insns[2][TOO_MANY_CALLS * 3 + 3];

	fill_calls(&funcs[0], insns[0], TOO_MANY_CALLS, 2);
	fill_calls(&funcs[2], insns[1], TOO_MANY_CALLS, 3);
}

static void bind_maps(struct load *l, int value)
{
	static int fds[2];

	fds[0] = map_fd(MAP_HASH);
	fds[1] = map_fd(MAP_PERF_EVENT_ARRAY);
	l->attr.fd_array = (long)fds;
	l->attr.fd_array_cnt = ARRAY_SIZE(fds);
}

static void check_bound(const char *name)
{
	view_get(loaded.fds[0], &view0);
	view_get(loaded.fds[1], &view1);
	sub_result(name, "run", view0.info.nr_map_ids == 2 && view1.info.nr_map_ids == 3,
		   "%u and %u maps", view0.info.nr_map_ids, view1.info.nr_map_ids);
}

/* The second root counts to 3. */
static void check_count(const char *name)
{
	char packet[64] = "";
	int ret = -1;
	__u64 v[16];

	counters_zero();
	test_run_packet(loaded.fds[1], packet, sizeof(packet), &ret);
	counters_read(v);
	sub_result(name, "run", ret == 3 && v[0] == 3, "%d, counted %llu", ret, v[0]);
}

/* For cgroup_skb the dynptr is read-only. */
static void check_read_only(const char *name)
{
	char packet[64] = { 0x45, [12] = 8 };
	__u64 v[16];
	int ret = -1;

	counters_zero();
	test_run_packet(loaded.fds[0], packet, sizeof(packet), &ret);
	test_run_packet(loaded.fds[1], packet, sizeof(packet), &ret);
	counters_read(v);
	sub_result(name, "run", v[0] == 0 && (__s64)v[1] == -EINVAL,
		   "dynptr_write gives %lld and %lld", (__s64)v[0], (__s64)v[1]);
}

#define WRITES_SKB_DYNPTR(counter) \
	SKB_DYNPTR, \
	STACK(R1, -16), \
	WRITE_DYNPTR(8), \
	LD_VALUE(R3, MAP_COUNTERS, counter), \
	BPF_STX_MEM(BPF_DW, R3, R0, 0), \
	RETURN(1)

static const struct insn_test tests[] = {
	/* writing to a dynptr of XDP does not move the packet */
	{
		.name = "packet_kept_over_write_to_xdp_dynptr",
		.funcs = {
			ROOT("r", XDP,
			     MOV_REG(R6, R1),
			     MOV_IMM(R2, 0),
			     STACK(R3, -16),
			     KFUNC(bpf_dynptr_from_xdp),
			     XDP_BYTES(1, 1),
			     STACK(R1, -16),
			     CALL_FUNC(1),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			GLOBAL("f", PROTO_DYNPTR, WRITE_DYNPTR(6), RETURN(0)),
		},
		.runs = { RETURNS(2) },
	},
	{
		.name = "packet_kept_over_write_below_function_of_xdp",
		.funcs = {
			ROOT("r", XDP,
			     XDP_DYNPTR,
			     XDP_BYTES(1, 1),
			     STACK(R1, -16),
			     CALL_FUNC(1),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     BPF_ALU64_IMM(BPF_ADD, R0, 2),
			     EXIT),
			GLOBAL("f", PROTO_DYNPTR, CALL_EXIT(2)),
			GLOBAL("g", PROTO_DYNPTR, WRITE_DYNPTR(6), RETURN(0)),
		},
		.runs = { RETURNS(2) },
	},
	{
		.name = "slice_kept_over_write_to_xdp_dynptr",
		.funcs = {
			ROOT("r", XDP,
			     XDP_DYNPTR,
			     STACK(R1, -16),
			     CALL_FUNC(1),
			     EXIT),
			GLOBAL("f", PROTO_DYNPTR,
			       MOV_REG(R6, R1),
			       SLICE_TO_WRITE,
			       MOV_REG(R1, R6),
			       WRITE_DYNPTR(8),
			       USE_SLICE),
		},
		.runs = { RETURNS(5) },
	},
	{
		.name = "slice_kept_over_function_that_writes_to_xdp_dynptr",
		.funcs = {
			ROOT("r", XDP,
			     XDP_DYNPTR,
			     STACK(R1, -16),
			     SLICE_TO_WRITE,
			     STACK(R1, -16),
			     CALL_FUNC(1),
			     USE_SLICE),
			GLOBAL("f", PROTO_DYNPTR, WRITE_DYNPTR(8), RETURN(0)),
		},
		.runs = { RETURNS(5) },
	},
	/* nor does writing to a dynptr of a ring buffer, in a program with packets */
	{
		.name = "packet_kept_over_write_to_ringbuf_dynptr",
		.funcs = {
			ROOT("r", TC,
			     MOV_REG(R6, R1),
			     SKB_DYNPTR,
			     SKB_BYTES(1, 0),
			     MOV_IMM(R1, 1),
			     CALL_FUNC(1),
			     BPF_LDX_MEM(BPF_B, R0, R7, 0),
			     RETURN(2)),
			GLOBAL("f", PROTO_INT,
			       LD_MAP(R1, MAP_RINGBUF),
			       MOV_IMM(R2, 8),
			       MOV_IMM(R3, 0),
			       STACK(R4, -16),
			       HELPER(ringbuf_reserve_dynptr),
			       STACK(R1, -16),
			       WRITE_DYNPTR(4),
			       STACK(R1, -16),
			       MOV_IMM(R2, 0),
			       HELPER(ringbuf_submit_dynptr),
			       RETURN(0)),
		},
		.runs = { RETURNS(2) },
	},
	{
		.name = "timer_callback_calls_function",
		.funcs = {
			SYSCALL("r", SET_TIMER(1), RETURN(0)),
			SUB("cb", MOV_IMM(R1, 1), CALL_FUNC(2), RETURN(0)),
			GLOBAL("f", PROTO_INT, IDENTITY),
		},
	},
	/* nothing is allocated: no flags that say whether that may sleep */
	{
		.name = "storage_looked_up_in_callback",
		.funcs = {
			SYSCALL("r", FOR_EACH(MAP_HASH_OF_INT, 1), RETURN(0)),
			SUB("cb",
			    HELPER(get_current_task_btf),
			    MOV_REG(R2, R0),
			    LD_MAP(R1, MAP_TASK_STORAGE),
			    MOV_IMM(R3, 0),
			    MOV_IMM(R4, 0),
			    HELPER(task_storage_get),
			    RETURN(0)),
		},
	},
	/* what sleeps is the work, later */
	{
		.name = "work_that_sleeps_set_in_callback",
		.funcs = {
			SYSCALL("r", FOR_EACH(MAP_WQ_HASH, 1), RETURN(0)),
			SUB("cb",
			    MOV_REG(R1, R3),
			    LD_FUNC(R2, 2),
			    MOV_IMM(R3, 0),
			    MOV_IMM(R4, 0),
			    KFUNC(bpf_wq_set_callback),
			    RETURN(0)),
			SUB("work", COPY_FROM_USER, RETURN(0)),
		},
	},
	/* roots that do not share the instruction need not agree on it */
	{
		.name = "dynptr_from_skb_where_nothing_is_shared",
		.funcs = {
			ROOT("tc", TC, WRITES_SKB_DYNPTR(0)),
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0, WRITES_SKB_DYNPTR(8)),
		},
		.check = check_read_only,
	},
	/* a packet for a function that reads; what writes to memory is not given any */
	{
		.name = "packet_for_reader_beside_writer",
		.funcs = {
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0,
				MOV_REG(R6, R1),
				SKB_BYTES(4, 1),
				MOV_REG(R1, R7),
				CALL_FUNC(1),
				BPF_ST_MEM(BPF_W, R10, -4, 0),
				STACK(R1, -4),
				CALL_FUNC(2),
				RETURN(1)),
			READS_AND_WRITES,
		},
		.runs = { RETURNS(1) },
	},
	{
		.name = "packet_copied_to_stack",
		.funcs = {
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0,
				MOV_REG(R6, R1),
				SKB_BYTES(4, 1),
				BPF_ST_MEM(BPF_W, R10, -4, 0),
				MOV_REG(R1, R7),
				STACK(R2, -4),
				CALL_FUNC(1),
				RETURN(1)),
			GLOBAL("copies", PROTO_TWO_SOCKS,
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 3),
			       BPF_JMP_IMM(BPF_JEQ, R2, 0, 2),
			       BPF_LDX_MEM(BPF_W, R3, R1, 0),
			       BPF_STX_MEM(BPF_W, R2, R3, 0),
			       RETURN(0)),
		},
		.runs = { RETURNS(1) },
	},
	{
		.name = "packet_for_reader_beside_writer_of_other_root",
		.funcs = {
			ROOT("tc", TC,
			     BPF_ST_MEM(BPF_W, R10, -4, 0),
			     STACK(R1, -4),
			     CALL_FUNC(3),
			     RETURN(0)),
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0,
				MOV_REG(R6, R1),
				SKB_BYTES(4, 1),
				MOV_REG(R1, R7),
				CALL_FUNC(2),
				RETURN(1)),
			GLOBAL("reads", PROTO_MEM, READS_IF_NOT_NULL),
			GLOBAL("asks", PROTO_MEM, CALL_FUNC(4), EXIT),
			GLOBAL("writes", PROTO_MEM, WRITES_WORD),
		},
		.runs = { RETURNS(0), RETURNS(1) },
	},
	{
		.name = "packet_for_callee_beside_writer",
		.funcs = {
			ROOT_AS("c", CGROUP_SKB, INGRESS, 0,
				MOV_REG(R6, R1),
				SKB_BYTES(4, 1),
				MOV_REG(R1, R7),
				CALL_PROG(0, 1),
				RETURN(1)),
		},
		.library = {
			ROOT_AS("lib", CGROUP_SKB, INGRESS, 0,
				BPF_ST_MEM(BPF_W, R10, -4, 0),
				STACK(R1, -4),
				CALL_FUNC(2),
				RETURN(1)),
			EXPORT("reads", PROTO_MEM, READS_IF_NOT_NULL),
			GLOBAL("asks", PROTO_MEM, CALL_FUNC(3), EXIT),
			GLOBAL("writes", PROTO_MEM, WRITES_WORD),
		},
		.runs = { RETURNS(1) },
	},
	/* 512 and 8 bytes of stack, if the spill was not removed */
	{
		.name = "fastcall_spill_on_full_stack",
		.funcs = {
			ROOT("xa", XDP,
			     BPF_ST_MEM(BPF_DW, R10, -512, 1),
			     CALL_FUNC(2),
			     RETURN(1)),
			ROOT("xb", XDP, CALL_FUNC(2), RETURN(2)),
			SUB("s", FASTCALL_SPILL),
		},
		.runs = { RETURNS(1), RETURNS(2) },
	},
	/* what the first root passes on is no packet of the second one */
	{
		.name = "packet_read_beside_memory_of_other_root",
		.funcs = {
			ROOT("kp", KPROBE,
			     BPF_ST_MEM(BPF_W, R10, -4, 0),
			     STACK(R1, -4),
			     CALL_EXIT(2)),
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0,
				MOV_REG(R6, R1),
				SKB_BYTES(4, 1),
				MOV_REG(R1, R7),
				CALL_FUNC(4),
				RETURN(1)),
			GLOBAL("f", PROTO_MEM,
			       BPF_JMP_IMM(BPF_JNE, R1, 0, 2),
			       RETURN(0),
			       CALL_EXIT(3)),
			GLOBAL("w", PROTO_MEM, WRITES_WORD),
			GLOBAL("rd", PROTO_MEM, READS_IF_NOT_NULL),
		},
	},
	/* only XDP programs can call what moves the packet in the shared function */
	{
		.name = "packet_kept_over_arm_of_xdp",
		.funcs = { TC_BESIDE_XDP(KFUNC(bpf_xdp_pull_data)) },
		.runs = { RETURNS(5), RETURNS(2) },
	},
	{
		.name = "packet_kept_over_helper_of_xdp",
		.funcs = { TC_BESIDE_XDP(HELPER(xdp_adjust_head)) },
		.runs = { RETURNS(5), RETURNS(2) },
	},
	/* dynptrs of a program without packets are of memory */
	{
		.name = "slice_kept_beside_packets_of_other_root",
		.funcs = {
			ROOT("kp", KPROBE,
			     MEM_DYNPTR,
			     STACK(R1, -16),
			     CALL_EXIT(2)),
			ROOT("tc", TC,
			     SKB_DYNPTR,
			     RETURN(0)),
			GLOBAL("f", PROTO_DYNPTR,
			       MOV_REG(R6, R1),
			       MOV_IMM(R2, 0),
			       BPF_ST_MEM(BPF_DW, R10, -24, 0),
			       STACK(R3, -24),
			       MOV_IMM(R4, 8),
			       KFUNC(bpf_dynptr_slice),
			       BPF_JMP_IMM(BPF_JNE, R0, 0, 2),
			       RETURN(0),
			       MOV_REG(R7, R0),
			       MOV_REG(R1, R6),
			       WRITE_DYNPTR(8),
			       BPF_LDX_MEM(BPF_B, R0, R7, 0),
			       RETURN(0)),
		},
	},
	{
		.name = "many_calls_in_two_roots",
		.funcs = {
			ROOT("xa", XDP, EXIT),
			ROOT("xb", XDP, EXIT),
			SUB("s", EXIT),
			SUB("t", RETURN(0)),
		},
		.log_level = 4,
		.fill = fill_many_calls,
	},
	/* too many for a program alone are too many for a root */
	{
		.name = "too_many_calls_beside_small_root",
		.funcs = {
			ROOT("xa", XDP, EXIT),
			ROOT("xb", XDP, RETURN(2)),
			SUB("s", EXIT),
			SUB("t", RETURN(0)),
		},
		.log_level = 4,
		.fill = fill_too_many_calls,
		.err = E2BIG,
		.msg = "liveness analysis exceeded complexity limit",
	},
	/* one call of bpf_loop(), which cannot be replaced by a loop */
	{
		.name = "callback_per_root",
		.funcs = { CALLBACK_PER_ROOT },
		.runs = { RETURNS(10), RETURNS(20) },
	},
	{
		.name = "callback_per_root_blinded",
		.funcs = { CALLBACK_PER_ROOT },
		.setup = harden,
		.cleanup = unharden,
		.runs = { RETURNS(10), RETURNS(20) },
	},
	{
		.name = "may_goto_in_function_and_second_root",
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT("tb", TC,
			     MAY_GOTO(3),
			     CALL_FUNC(2),
			     BPF_JMP_IMM(BPF_JEQ, R0, 10, 1),
			     BPF_JMP_A(-4),
			     RETURN(3)),
			SUB("s",
			    MOV_IMM(R0, 0),
			    MAY_GOTO(3),
			    BPF_ALU64_IMM(BPF_ADD, R0, 1),
			    BPF_JMP_IMM(BPF_JEQ, R0, 10, 1),
			    BPF_JMP_A(-4),
			    EXIT),
		},
		.runs = { RETURNS(10), RETURNS(3) },
	},
	/* the prologue is in front of what is jumped back to, an instruction of 16 bytes */
	{
		.name = "loop_to_start_of_second_root",
		.funcs = {
			ROOT("xa", XDP, RETURN(7)),
			ROOT("tb", TC,
			     LD_VALUE(R2, MAP_COUNTERS, 0),
			     BPF_LDX_MEM(BPF_W, R7, R1, offsetof(struct __sk_buff, data)),
			     BPF_LDX_MEM(BPF_W, R8, R1, offsetof(struct __sk_buff, data_end)),
			     MOV_REG(R3, R7),
			     BPF_ALU64_IMM(BPF_ADD, R3, 1),
			     BPF_JMP_REG(BPF_JLE, R3, R8, 2),
			     RETURN(0),
			     BPF_ST_MEM(BPF_B, R7, 0, 5),
			     BPF_LDX_MEM(BPF_DW, R4, R2, 0),
			     BPF_ALU64_IMM(BPF_ADD, R4, 1),
			     BPF_STX_MEM(BPF_DW, R2, R4, 0),
			     MAY_GOTO(2),
			     BPF_JMP_IMM(BPF_JEQ, R4, 3, 1),
			     BPF_JMP_A(-16),
			     MOV_REG(R0, R4),
			     EXIT),
		},
		.check = check_count,
	},
	/* neither type may call what the other one does */
	{
		.name = "kfunc_of_each_type_in_its_arm",
		.funcs = {
			ROOT("xa", XDP, MOV_REG(R2, R1), MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
			ROOT("tb", TC, MOV_REG(R2, R1), MOV_IMM(R1, 2), CALL_FUNC(2), EXIT),
			SUB("s",
			    BPF_JMP_IMM(BPF_JEQ, R1, 2, 7),
			    MOV_REG(R1, R2),
			    MOV_IMM(R2, 0),
			    STACK(R3, -16),
			    KFUNC(bpf_dynptr_from_xdp),
			    RETURN(11),
			    MOV_REG(R1, R2),
			    MOV_IMM(R2, 0),
			    STACK(R3, -16),
			    KFUNC(bpf_dynptr_from_skb),
			    RETURN(22)),
		},
		.runs = { RETURNS(11), RETURNS(22) },
	},
	/* what libbpf makes of a weak kfunc that the kernel does not have */
	{
		.name = "kfunc_that_is_not_there",
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), RETURN(11)),
			ROOT("tb", TC, CALL_FUNC(2), RETURN(22)),
			GLOBAL("g", PROTO_VOID,
			       MOV_IMM(R1, 0),
			       BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			       BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, 0),
			       RETURN(0)),
		},
		.runs = { RETURNS(11), RETURNS(22) },
	},
	/* both have a struct xdp_md, and the kfunc is one and the same */
	{
		.name = "kfunc_with_ctx_of_xdp_and_frags",
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT_AS("xb", XDP, 0, BPF_F_XDP_HAS_FRAGS, CALL_FUNC(2), EXIT),
			SUB("s",
			    MOV_IMM(R2, 0),
			    STACK(R3, -16),
			    KFUNC(bpf_dynptr_from_xdp),
			    RETURN(11)),
		},
		.runs = { RETURNS(11), RETURNS(11) },
	},
	/* one that a sleepable program may not use, and that no instruction refers to */
	{
		.name = "maps_bound_to_all_roots",
		.funcs = {
			SLEEPABLE("ka", KPROBE, RETURN(0)),
			ROOT("tb", TC, LD_VALUE(R2, MAP_COUNTERS, 0), RETURN(3)),
		},
		.tweak = bind_maps,
		.check = check_bound,
	},
};

/* An extension that is the function it replaces. */
static void same_extension(void)
{
	static const struct func funcs[] = {
		ROOT("lib", XDP,
		     MOV_IMM(R2, 0),
		     STACK(R3, -16),
		     KFUNC(bpf_dynptr_from_xdp),
		     STACK(R1, -16),
		     CALL_FUNC(1),
		     RETURN(2)),
		GLOBAL("f", PROTO_DYNPTR, WRITE_DYNPTR(4), RETURN(0)),
	};
	static const struct func same = EXTENSION("f", PROTO_DYNPTR, WRITE_DYNPTR(4), RETURN(0));
	const char *name = "extension_equal_to_function";
	int lib = LOAD_PROG(funcs), ext, link, ret = -1;

	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &same);
	link = ext < 0 ? ext : attach_link(ext, 0);
	test_run(lib, &ret);
	result(name, lib >= 0 && ext >= 0 && link >= 0 && ret == 2,
	       "library %d, extension %d, link %d, returns %d; log: %s", lib, ext, link, ret,
	       log_tail());
	close(link);
	close(ext);
	close(lib);
}

/* A prologue that it does not need would move the packet of its caller. */
static void reading_extension(void)
{
	static const struct func funcs[] = {
		ROOT("lib", TC,
		     MOV_REG(R6, R1),
		     SKB_BYTES(1, 0),
		     MOV_REG(R1, R6),
		     CALL_FUNC(1),
		     BPF_LDX_MEM(BPF_B, R0, R7, 0),
		     RETURN(0)),
		GLOBAL("f", PROTO_SKB, RETURN(0)),
	};
	static const struct func reads[] = {
		EXTENSION("f", PROTO_SKB,
			  MOV_REG(R6, R1),
			  BPF_LDX_MEM(BPF_W, R7, R6, offsetof(struct __sk_buff, data)),
			  BPF_LDX_MEM(BPF_W, R8, R6, offsetof(struct __sk_buff, data_end)),
			  MOV_REG(R2, R7),
			  BPF_ALU64_IMM(BPF_ADD, R2, 4),
			  BPF_JMP_REG(BPF_JLE, R2, R8, 2),
			  RETURN(0),
			  MOV_REG(R1, R7),
			  CALL_FUNC(1),
			  RETURN(0)),
		GLOBAL("rd", PROTO_MEM, READS_IF_NOT_NULL),
	};
	const char *name = "extension_reads_packet_in_function";
	int lib = LOAD_PROG(funcs), ext;

	prepare_prog(reads, ARRAY_SIZE(reads));
	loaded.attr.expected_attach_type = 0;
	loaded.attr.attach_prog_fd = lib;
	loaded.attr.attach_btf_id = BTF_FUNC0 + 1;
	ext = load_prepared();
	result(name, ext >= 0, "library %d, extension %d; log: %s", lib, ext, log_tail());
	if (ext >= 0) {
		view_get(ext, &view0);
		sub_result(name, "prologue", !has_prologue(&view0), "first %#x",
			   view0.xlated[0].code);
		close(ext);
	}
	close(lib);
	rcu_settle();
}

/* The same with the context as second argument, where no prologue could be. */
static void reading_extension_of_number_and_ctx(void)
{
	static const struct func funcs[] = {
		ROOT("lib", TC, MOV_REG(R2, R1), MOV_IMM(R1, 1), CALL_FUNC(1), EXIT),
		GLOBAL("f", PROTO_INT_SKB,
		       MOV_REG(R0, R1),
		       BPF_LDX_MEM(BPF_W, R2, R2, offsetof(struct __sk_buff, len)),
		       BPF_ALU64_REG(BPF_ADD, R0, R2),
		       EXIT),
	};
	static const struct func reads[] = {
		EXTENSION("f", PROTO_INT_SKB,
			  MOV_REG(R6, R2),
			  SKB_BYTES(4, 1),
			  MOV_REG(R1, R7),
			  CALL_FUNC(1),
			  EXIT),
		GLOBAL("rd", PROTO_MEM, READS_IF_NOT_NULL),
	};
	const char *name = "extension_of_number_and_ctx_reads_packet"; /* x17 */
	int lib = LOAD_PROG(funcs), ext, link, ret = -1;

	prepare_prog(reads, ARRAY_SIZE(reads));
	loaded.attr.attach_prog_fd = lib;
	loaded.attr.attach_btf_id = BTF_FUNC0 + 1;
	ext = load_prepared();
	link = ext < 0 ? ext : attach_link(ext, 0);
	test_run(lib, &ret);
	result(name, ext >= 0 && link >= 0 && ret == 0x04030201,
	       "%d, %d, returns %#x; log: %s", ext, link, ret, log_tail());
	if (link >= 0)
		close(link);
	if (ext >= 0)
		close(ext);
	close(lib);
}

static void scenarios(void)
{
	same_extension();
	reading_extension();
	reading_extension_of_number_and_ctx();
}

const struct insn_group sound_group = {
	.name = "sound",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
