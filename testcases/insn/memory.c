// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Loads that can fault: BTF pointers trusted by one root only, and the exception table of a shared
 * image.
 */

#define FAULTS \
	ROOT("ka", KPROBE, CALL_EXIT(2)), \
	ROOT("tb", TRACEPOINT, CALL_EXIT(2)), \
	SUB("s", \
	    BPF_LD_IMM64(R1, 0xffffffff00001000ull), \
	    MOV_IMM(R2, 0), \
	    KFUNC(bpf_rdonly_cast), \
	    LDX_TASK(BPF_W, R2, R0, TASK_PID), \
	    LD_VALUE(R3, MAP_COUNTERS, 0), \
	    BPF_STX_MEM(BPF_DW, R3, R2, 0), \
	    MOV_IMM(R4, 1), \
	    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R3, R4, 8), \
	    RETURN(0))

static void check_parent(const char *name)
{
	__u64 v[16];
	int event;

	counters_zero();
	event = attach_kprobe(loaded.fds[1], "__set_task_comm");
	set_comm(3);
	counters_read(v);
	sub_result(name, "run", event >= 0 && v[1] >= 3 && (int)v[0] == getppid(),
		   "runs %llu ppid %d", v[1], (int)v[0]);
	close(event);
}

/* MOV_IMM(R2, 0) is to be the type that bpf_rdonly_cast() casts to. */
static void set_type(struct func *funcs)
{
	funcs[2].insns[2].imm = kernel_btf_find("task_struct", BTF_KIND_STRUCT, NULL);
}

/* One root alone is attached, the other closed: the load faults, and reads 0. */
static void check_fault(const char *name, int root)
{
	int event, ran;
	__u64 v[16];

	counters_zero();
	event = root ? attach_tracepoint(loaded.fds[1], "sched/sched_switch") :
		       attach_kprobe(loaded.fds[0], "__set_task_comm");
	close(loaded.fds[!root]);
	loaded.fds[!root] = -1;
	rcu_settle();
	set_comm(5);
	counters_read(v);
	ran = v[1];
	sub_result(name, "run", event >= 0 && ran > 0 && v[0] == 0, "root#%d runs %d value %llx",
		   root, ran, v[0]);
	if (event >= 0)
		close(event);
}

static void check_fault_of_first(const char *name)
{
	check_fault(name, 0);
}

static void check_fault_of_second(const char *name)
{
	check_fault(name, 1);
}

static const struct insn_test tests[] = {
	{
		.name = "real_parent_first_root_sleeps", /* T20 */
		.funcs = {
			SLEEPABLE("ka", KPROBE, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s",
			    HELPER(get_current_task_btf),
			    LDX_TASK(BPF_DW, R1, R0, TASK_REAL_PARENT),
			    LDX_TASK(BPF_W, R2, R1, TASK_PID),
			    LD_VALUE(R3, MAP_COUNTERS, 0),
			    BPF_STX_MEM(BPF_W, R3, R2, 0),
			    MOV_IMM(R4, 1),
			    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R3, R4, 8),
			    RETURN(0)),
		},
		.check = check_parent,
	},
	{
		.name = "faulting_load_of_first_root", /* T20b */
		.funcs = { FAULTS },
		.fill = set_type,
		.check = check_fault_of_first,
	},
	{
		.name = "faulting_load_of_second_root", /* T20b #2 */
		.funcs = { FAULTS },
		.fill = set_type,
		.check = check_fault_of_second,
	},
};

const struct insn_group memory_group = {
	.name = "memory",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
