// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

/*
 * What a function that is not followed counts on: all bits of its arguments, pointers that are what BTF says,
 * stack slots that are there, callbacks that may sleep.
 */

/* the upper half of a number is random where nobody is known to read it */
static void halves(void)
{
	struct func l[] = { MAIN(XDP), EXPORT("mem", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
					      MOV_IMM(R0, 1), EXIT) };
	struct func c = ROOT("c", XDP, BPF_MOV32_IMM(R1, 0), CALL_PROG(0, 1), EXIT);

	for (int whose = OF_LIBRARY; whose <= OF_PROGRAM; whose++) {
		int ret = -1, fd;

		opt_prog_flags = BPF_F_TEST_RND_HI32;
		fd = either("P180", "NULL of 32 bits", whose, l, c, 0, NULL);
		opt_prog_flags = 0;
		test_run(fd, &ret);
		result(case_name("P180/run", whose, "is NULL"), ret == 0, "%d", ret);
		close(fd);
	}
}

static void trusted(void)
{
	int plain = kbtf_find("task_struct", BTF_KIND_STRUCT, "pi_top_task"),
	    of_rcu = kbtf_find("task_struct", BTF_KIND_STRUCT, "real_parent"),
	    pid = kbtf_find("task_struct", BTF_KIND_STRUCT, "pid");
	struct func l[] = { MAIN(BPF_PROG_TYPE_RAW_TRACEPOINT),
			    EXPORT("f", PROTO_TASK, BPF_LDX_MEM(BPF_W, R0, R1, pid), EXIT) };
#define PASSES(nm, ...) \
	struct func nm = ROOT("c", BPF_PROG_TYPE_RAW_TRACEPOINT, HELPER(get_current_task_btf), __VA_ARGS__, CALL_PROG(0, 1), RETURN(0))
	PASSES(member, BPF_LDX_MEM(BPF_DW, R1, R0, plain));
	PASSES(parent, BPF_LDX_MEM(BPF_DW, R1, R0, of_rcu));
	PASSES(current, MOV_REG(R1, R0));

	l[1].arg_tag = "arg:trusted";
	EITHER_REFUSE("P181", "pointer that is not trusted", l, member, "arg#0 is expected to be trusted");
	EITHER_REFUSE("P181b", "pointer of RCU", l, parent, "arg#0 is expected to be trusted");
	EITHER_ACCEPT("P181c", "trusted", l, current);
}

/* a spill for a call that is inlined is not removed if a function is given its slot */
static void spills(void)
{
	struct func l[] = { MAIN(XDP), EXPORT("writes", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
					      BPF_ST_MEM(BPF_W, R1, 0, 99), EXIT) };
	struct func c = ROOT("c", XDP, MOV_IMM(R6, 7), MOV_IMM(R1, 1), BPF_STX_MEM(BPF_DW, R10, R1, -8),
			     HELPER(get_smp_processor_id), BPF_LDX_MEM(BPF_DW, R1, R10, -8), STACK(R1, -8),
			     CALL_PROG(0, 1), MOV_REG(R0, R6), EXIT);

	for (int whose = OF_LIBRARY; whose <= OF_PROGRAM; whose++) {
		int fd = either("P182", "spilled for a call that is inlined", whose, l, c, 0, NULL), kept = 0;

		view_get(fd, &view0);
		for (int i = 0; i < view0.nx; i++)
			kept += view0.xl[i].code == (BPF_STX | BPF_MEM | BPF_DW) && view0.xl[i].dst_reg == R10;
		result(case_name("P182/spill", whose, "kept"), kept == 1, "%d of %d insns", kept, view0.nx);
		close(fd);
	}
}

#define LOCAL_WRITE                                                                                       \
	LD_VALUE(R1, counter_map, 0), MOV_IMM(R2, 64), MOV_IMM(R3, 0), STACK(R4, -16), HELPER(dynptr_from_mem), \
		BPF_ST_MEM(BPF_DW, R10, -24, 0), STACK(R1, -16), MOV_IMM(R2, 0), STACK(R3, -24),                \
		MOV_IMM(R4, 8), MOV_IMM(R5, 0), HELPER(dynptr_write)

/* what is not a packet does not move one */
static void kept_packets(void)
{
	struct func l[] = { MAIN(XDP), EXPORT("logs", PROTO_VOID, LOCAL_WRITE, RETURN(0)) };
	struct func c = ROOT("c", XDP, BPF_LDX_MEM(BPF_W, R7, R1, 0), BPF_LDX_MEM(BPF_W, R8, R1, 4), MOV_REG(R2, R7),
			     BPF_ALU64_IMM(BPF_ADD, R2, 8), BPF_JMP_REG(BPF_JLE, R2, R8, 2), RETURN(0),
			     CALL_PROG(0, 1), BPF_LDX_MEM(BPF_B, R0, R7, 0), RETURN(2));

	EITHER_ACCEPT("P183", "packet kept while a dynptr of memory is written to", l, c);
}

#define SYSCALL(nm, ...) ROOTE(nm, BPF_PROG_TYPE_SYSCALL, 0, BPF_F_SLEEPABLE, __VA_ARGS__)

static void callbacks(void)
{
	int hash = map_create(BPF_MAP_TYPE_HASH, 4, 4, 4, 0), timer = map_of("bpf_timer"),
	    storage = map_create_btf(BPF_MAP_TYPE_TASK_STORAGE, 4, 4, 0, BPF_F_NO_PREALLOC, 1);
	struct func l[] = { SYSCALL("lib", RETURN(0)), EXPORT("sleeps", PROTO_VOID, STACK(R1, -8), MOV_IMM(R2, 8),
							      MOV_IMM(R3, 0), HELPER(copy_from_user), RETURN(0)) };
#define EACH(map) LD_MAP(R1, map), LD_FUNC(R2, 1), MOV_IMM(R3, 0), MOV_IMM(R4, 0), HELPER(for_each_map_elem), RETURN(0)
#define FIND_VMA                                                                                              \
	HELPER(get_current_task_btf), MOV_REG(R1, R0), MOV_IMM(R2, 0), LD_FUNC(R3, 1), STACK(R4, -8),         \
		MOV_IMM(R5, 0), HELPER(find_vma), RETURN(0)
	struct func calls = SUB("cb", CALL_PROG(0, 1), RETURN(0)), sleeps = SUB("cb", CALL_FUNC(2), RETURN(0)),
		    asleep = SUB("s", STACK(R1, -8), MOV_IMM(R2, 8), MOV_IMM(R3, 0), HELPER(copy_from_user), RETURN(0));
	struct func each[] = { SYSCALL("c", EACH(hash)), calls }, each_own[] = { each[0], sleeps, asleep },
		    array[] = { SYSCALL("c", EACH(array_map)), calls }, vma[] = { SYSCALL("c", FIND_VMA), calls },
		    vma_own[] = { vma[0], sleeps, asleep },
		    stores[] = { SYSCALL("c", SET_TIMER(timer, 1), RETURN(0)),
				 SUB("cb", TASK_STORAGE(storage), RETURN(0)) };
	int fd, flags = 0;

	fd_array[0] = LIBRARY(l);
	CALL_REFUSE("P184 sleeps for each element of a hash map", each, EINVAL, "may sleep, which is not allowed");
	CALL_REFUSE("P184/own", each_own, EINVAL, "may sleep, which is not allowed");
	close(CALL_ACCEPT("P184b of an array", array));
	CALL_REFUSE("P185 sleeps with the mm locked", vma, EINVAL, "may sleep, which is not allowed");
	CALL_REFUSE("P185/own", vma_own, EINVAL, "may sleep, which is not allowed");
	fd = CALL_ACCEPT("P186 allocation in a timer of who sleeps", stores);
	view_get(fd, &view0);
	for (int i = 0; i < view0.nx; i++)
		if (view0.xl[i].code == (BPF_ALU64 | BPF_MOV | BPF_K) && view0.xl[i].dst_reg == BPF_REG_5)
			flags = view0.xl[i].imm;
	/* __GFP_DIRECT_RECLAIM */
	result("P186/gfp", flags && !(flags & 0x400), "flags %#x", flags);
	close(fd);
	close(fd_array[0]);
	close(hash);
	close(timer);
	close(storage);
}

/* which helpers a struct_ops program has is known late: sk_storage_get() may sleep */
static void struct_ops(void)
{
	int lock = kbtf_find("bpf_rcu_read_lock", BTF_KIND_FUNC, NULL),
	    unlock = kbtf_find("bpf_rcu_read_unlock", BTF_KIND_FUNC, NULL),
	    storage = map_create_btf(BPF_MAP_TYPE_SK_STORAGE, 4, 4, 0, BPF_F_NO_PREALLOC, 1);
	struct func c[] = { ROOTE("c", BPF_PROG_TYPE_STRUCT_OPS, 0, BPF_F_SLEEPABLE, BPF_LDX_MEM(BPF_DW, R6, R1, 0),
				  KFUNC(lock), MOV_REG(R1, R6), CALL_FUNC(1), KFUNC(unlock), RETURN(0)),
			    GLOBAL("g", PROTO_SOCK, MOV_REG(R2, R1), LD_MAP(R1, storage), MOV_IMM(R3, 0), MOV_IMM(R4, 1),
				   HELPER(sk_storage_get), RETURN(0)) };

	c[1].arg_tag = "arg:trusted";
	attach_id = kbtf_find("tcp_congestion_ops", BTF_KIND_STRUCT, NULL);
	tweak = attach_to;
	CALL_REFUSE("P187 struct_ops allocates in an RCU section", c, EINVAL,
		    "functions that may sleep are not allowed in RCU read sections");
	close(storage);
}

void progcall_trust_cases(void)
{
	if (opt_alone)
		return;
	halves();
	trusted();
	spills();
	kept_packets();
	callbacks();
	struct_ops();
}
