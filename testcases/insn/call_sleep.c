// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Sections that functions count on or disturb: nothing may sleep in an RCU read section, in a
 * timer, or where the caller holds a lock; functions of a program that sleeps are not called where
 * nothing may sleep.
 */

#define LOCK KFUNC(bpf_rcu_read_lock)
#define UNLOCK KFUNC(bpf_rcu_read_unlock)
#define QUEUE_WORK(k) \
	VALUE(MAP_WQ), \
	MOV_REG(R1, R0), \
	LD_FUNC(R2, k), \
	MOV_IMM(R3, 0), \
	MOV_IMM(R4, 0), \
	KFUNC(bpf_wq_set_callback)
#define FOR_EACH(map) \
	LD_MAP(R1, map), \
	LD_FUNC(R2, 1), \
	MOV_IMM(R3, 0), \
	MOV_IMM(R4, 0), \
	HELPER(for_each_map_elem)
#define FIND_VMA \
	HELPER(get_current_task_btf), \
	MOV_REG(R1, R0), \
	MOV_IMM(R2, 0), \
	LD_FUNC(R3, 1), \
	STACK(R4, -8), \
	MOV_IMM(R5, 0), \
	HELPER(find_vma)
/* of a task that is there as long as the RCU read section */
#define REGS_OF_PARENT \
	HELPER(get_current_task_btf), \
	LDX_TASK(BPF_DW, R1, R0, TASK_REAL_PARENT), \
	HELPER(task_pt_regs)
/* takes a lock of interrupts: where the program may sleep, and nowhere else */
#define ITERATES_OVER_CGROUP \
	MOV_IMM(R1, 1), \
	KFUNC(bpf_cgroup_from_id), \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
	RETURN(0), \
	MOV_REG(R6, R0), \
	STACK(R1, -8), \
	MOV_REG(R2, R6), \
	MOV_IMM(R3, 0), \
	KFUNC(bpf_iter_css_task_new), \
	STACK(R1, -8), \
	KFUNC(bpf_iter_css_task_destroy), \
	MOV_REG(R1, R6), \
	KFUNC(bpf_cgroup_release), \
	RETURN(0)
#define SLEEPS \
	SLEEPABLE("lib", KPROBE, RETURN(0)), \
	EXPORT("sleeps", PROTO_VOID, COPY_FROM_USER, RETURN(0)), \
	EXPORT("does_not", PROTO_VOID, RETURN(0)), \
	EXPORT("asks", PROTO_VOID, CALL_FUNC(1), EXIT)
#define SYSCALL_SLEEPS \
	SYSCALL("lib", RETURN(0)), \
	EXPORT("sleeps", PROTO_VOID, COPY_FROM_USER, RETURN(0))

/* The kernel's type that a struct_ops program is for. */
static void attach_to_tcp(struct load *l, int value)
{
	attach_id = kernel_btf_find("tcp_congestion_ops", BTF_KIND_STRUCT, NULL);
	attach_to(l, 0);
}

/* The helper allocates, and never sleeps: no argument tells it how to. */
static void check_gfp(const char *name)
{
	int flags = 0, i;

	view_get(loaded.fds[0], &view0);
	for (i = 0; i < view0.nr_xlated; i++)
		if (view0.xlated[i].code == (BPF_ALU64 | BPF_MOV | BPF_K) &&
		    view0.xlated[i].dst_reg == R5)
			flags = view0.xlated[i].imm;
	sub_result(name, "gfp", !flags, "flags %#x", flags);
}

static const struct insn_test tests[] = {
	{
		.name = "callee_sleeps_in_rcu_section", /* P81 */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  LOCK,
				  CALL_PROG(0, 1),
				  UNLOCK,
				  RETURN(0)),
		},
		.library = { SLEEPS },
		.err = EINVAL,
		.msg = "rcu_read_lock region",
	},
	{
		.name = "sleeps_below_callee_in_rcu_section", /* P82 */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  LOCK,
				  CALL_PROG(0, 3),
				  UNLOCK,
				  RETURN(0)),
		},
		.library = { SLEEPS },
		.err = EINVAL,
		.msg = "rcu_read_lock region",
	},
	{
		.name = "callee_does_not_sleep_in_rcu_section", /* P83 */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  LOCK,
				  CALL_PROG(0, 2),
				  UNLOCK,
				  RETURN(0)),
		},
		.library = { SLEEPS },
	},
	{
		.name = "callee_sleeps", /* P84 */
		.funcs = { SLEEPABLE("c", KPROBE, CALL_PROG(0, 1), RETURN(0)) },
		.library = { SLEEPS },
	},
	{
		.name = "call_with_preemption_disabled", /* P85 */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  KFUNC(bpf_preempt_disable),
				  CALL_PROG(0, 2),
				  KFUNC(bpf_preempt_enable),
				  RETURN(0)),
		},
		.library = { SLEEPS },
	},
	{
		.name = "third_program_sleeps_in_rcu_section", /* P86 */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  LOCK,
				  CALL_PROG(1, 1),
				  UNLOCK,
				  RETURN(0)),
		},
		.library = { SLEEPS },
		.library2 = {
			SLEEPABLE("lib", KPROBE, RETURN(0)),
			EXPORT("g", PROTO_VOID, CALL_PROG(0, 1), EXIT),
		},
		.err = EINVAL,
		.msg = "rcu_read_lock region",
	},
	{
		.name = "call_with_spin_lock_held", /* P87 */
		.funcs = {
			ROOT("c", XDP,
			     BPF_ST_MEM(BPF_W, R10, -4, 0),
			     STACK(R2, -4),
			     LD_MAP(R1, MAP_SPIN_LOCK),
			     HELPER(map_lookup_elem),
			     BPF_JMP_IMM(BPF_JNE, R0, 0, 1),
			     EXIT,
			     MOV_REG(R6, R0),
			     MOV_REG(R1, R6),
			     HELPER(spin_lock),
			     CALL_PROG(0, 1),
			     MOV_REG(R1, R6),
			     HELPER(spin_unlock),
			     RETURN(0)),
		},
		.library = {
			MAIN(XDP),
			EXPORT("f", PROTO_VOID, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "global function calls are not allowed while holding a lock",
	},
	{
		.name = "wq_callback_calls_callee", /* P136 */
		.funcs = {
			ROOT("c", XDP, QUEUE_WORK(1), RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = {
			MAIN(XDP),
			EXPORT("f", PROTO_VOID, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "called in a callback that may sleep",
	},
	{
		.name = "wq_callback_calls_global", /* P136/own */
		.funcs = {
			ROOT("c", XDP, QUEUE_WORK(1), RETURN(0)),
			SUB("cb", CALL_EXIT(2)),
			GLOBAL("f", PROTO_VOID, RETURN(0)),
		},
	},
	{
		.name = "wq_callback_calls_static", /* P136b */
		.funcs = {
			ROOT("c", XDP, QUEUE_WORK(1), RETURN(0)),
			SUB("cb", CALL_EXIT(2)),
			SUB("s", RETURN(0)),
		},
	},
	{
		.name = "timer_callback_calls_callee", /* P136c */
		.funcs = {
			ROOT("c", XDP, SET_TIMER(1), RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = {
			MAIN(XDP),
			EXPORT("f", PROTO_VOID, RETURN(0)),
		},
	},
	{
		.name = "timer_callback_of_sleepable_calls_callee", /* P137 */
		.funcs = {
			SYSCALL("c", SET_TIMER(1), RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = {
			SYSCALL("lib", RETURN(0)),
			EXPORT("f", PROTO_VOID, RETURN(0)),
		},
	},
	{
		.name = "timer_callback_of_sleepable_calls_global", /* P137/own */
		.funcs = {
			SYSCALL("c", SET_TIMER(1), RETURN(0)),
			SUB("cb", CALL_EXIT(2)),
			GLOBAL("f", PROTO_VOID, RETURN(0)),
		},
	},
	{
		.name = "timer_callback_of_sleepable_calls_static", /* P137b */
		.funcs = {
			SYSCALL("c", SET_TIMER(1), RETURN(0)),
			SUB("cb", CALL_EXIT(2)),
			SUB("s", RETURN(0)),
		},
	},
	{
		.name = "timer_callback_sleeps", /* P137c */
		.funcs = {
			SYSCALL("c", SET_TIMER(1), RETURN(0)),
			SUB("cb", COPY_FROM_USER, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "bpf_copy_from_user#148 is not allowed in non-sleepable program",
	},
	{
		.name = "function_sleeps_in_rcu_section", /* P138 */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  LOCK,
				  CALL_PROG(0, 1),
				  UNLOCK,
				  RETURN(0)),
		},
		.library = {
			SLEEPABLE("lib", KPROBE, RETURN(0)),
			EXPORT("sleeps", PROTO_VOID, COPY_FROM_USER, RETURN(0)),
		},
		.own = true,
		.err = EINVAL,
		.msg = "rcu_read_lock region",
	},
	{
		.name = "function_allocates_in_rcu_section", /* P138b */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  LOCK,
				  CALL_PROG(0, 1),
				  UNLOCK,
				  RETURN(0)),
		},
		.library = {
			SLEEPABLE("lib", KPROBE, RETURN(0)),
			EXPORT("stores", PROTO_VOID, TASK_STORAGE, RETURN(0)),
		},
		.own = true,
	},
	{
		.name = "function_sleeps", /* P138c */
		.funcs = { SLEEPABLE("c", KPROBE, CALL_PROG(0, 1), RETURN(0)) },
		.library = {
			SLEEPABLE("lib", KPROBE, RETURN(0)),
			EXPORT("sleeps", PROTO_VOID, COPY_FROM_USER, RETURN(0)),
		},
		.own = true,
	},
	{
		.name = "function_allocates", /* P138d */
		.funcs = { SLEEPABLE("c", KPROBE, CALL_PROG(0, 1), RETURN(0)) },
		.library = {
			SLEEPABLE("lib", KPROBE, RETURN(0)),
			EXPORT("stores", PROTO_VOID, TASK_STORAGE, RETURN(0)),
		},
		.own = true,
	},
	{
		.name = "hash_callback_calls_sleeping_callee", /* P184 */
		.funcs = {
			SYSCALL("c", FOR_EACH(MAP_HASH_OF_INT), RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = { SYSCALL_SLEEPS },
		.err = EINVAL,
		.msg = "called in callback that must not sleep",
	},
	{
		.name = "hash_callback_calls_sleeping_static", /* P184/own */
		.funcs = {
			SYSCALL("c", FOR_EACH(MAP_HASH_OF_INT), RETURN(0)),
			SUB("cb", CALL_EXIT(2)),
			SUB("s", COPY_FROM_USER, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "bpf_copy_from_user#148 is not allowed in",
	},
	{
		.name = "array_callback_calls_sleeping_callee", /* P184b */
		.funcs = {
			SYSCALL("c", FOR_EACH(MAP_ARRAY), RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = { SYSCALL_SLEEPS },
	},
	{
		.name = "vma_callback_calls_sleeping_callee", /* P185 */
		.funcs = {
			SYSCALL("c", FIND_VMA, RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = { SYSCALL_SLEEPS },
		.err = EINVAL,
		.msg = "called in callback that must not sleep",
	},
	{
		.name = "vma_callback_calls_sleeping_static", /* P185/own */
		.funcs = {
			SYSCALL("c", FIND_VMA, RETURN(0)),
			SUB("cb", CALL_EXIT(2)),
			SUB("s", COPY_FROM_USER, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "bpf_copy_from_user#148 is not allowed in",
	},
	{
		.name = "timer_callback_of_sleepable_allocates", /* P186 */
		.funcs = {
			SYSCALL("c", SET_TIMER(1), RETURN(0)),
			SUB("cb", TASK_STORAGE, RETURN(0)),
		},
		.check = check_gfp,
	},
	/* which helpers a struct_ops program has is known late: sk_storage_get() may sleep */
	{
		.name = "struct_ops_allocates_in_rcu_section", /* P187 */
		.funcs = {
			SLEEPABLE("c", BPF_PROG_TYPE_STRUCT_OPS,
				  BPF_LDX_MEM(BPF_DW, R6, R1, 0),
				  LOCK,
				  MOV_REG(R1, R6),
				  CALL_FUNC(1),
				  UNLOCK,
				  RETURN(0)),
			GLOBAL_TAG("g", PROTO_SOCK, "arg:trusted",
				   MOV_REG(R2, R1),
				   LD_MAP(R1, MAP_SK_STORAGE),
				   MOV_IMM(R3, 0),
				   MOV_IMM(R4, 1),
				   HELPER(sk_storage_get),
				   RETURN(0)),
		},
		.tweak = attach_to_tcp,
	},
	/* what may sleep elsewhere does not in a program that must not */
	{
		.name = "function_of_non_sleepable_allocates_in_rcu_section", /* P191 */
		.funcs = {
			ROOT("c", KPROBE,
			     LOCK,
			     CALL_PROG(0, 1),
			     UNLOCK,
			     RETURN(0)),
		},
		.library = {
			MAIN(KPROBE),
			EXPORT("stores", PROTO_VOID, TASK_STORAGE, RETURN(0)),
		},
		.own = true,
	},
	/* arming counts as sleeping here, as in a kernel without the series */
	{
		.name = "function_arms_sleeping_work_in_rcu_section", /* r10b */
		.funcs = {
			SYSCALL("c",
				LOCK,
				CALL_FUNC(1),
				UNLOCK,
				RETURN(0)),
			GLOBAL("arm", PROTO_VOID, QUEUE_WORK(2), RETURN(0)),
			SUB("work", COPY_FROM_USER, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "sleepable global function arm() called in rcu_read_lock region",
	},
	{
		.name = "wq_callback_calls_callee_in_rcu_section",
		.funcs = {
			ROOT("c", XDP, QUEUE_WORK(1), RETURN(0)),
			SUB("cb", LOCK, CALL_PROG(0, 1), UNLOCK, RETURN(0)),
		},
		.library = {
			MAIN(XDP),
			EXPORT("f", PROTO_VOID, RETURN(0)),
		},
	},
	/* bpf_find_vma() takes an RCU read section for its callback */
	{
		.name = "vma_callback_of_work_calls_callee",
		.funcs = {
			ROOT("c", XDP, QUEUE_WORK(1), RETURN(0)),
			SUB("cb",
			    HELPER(get_current_task_btf),
			    MOV_REG(R1, R0),
			    MOV_IMM(R2, 0),
			    LD_FUNC(R3, 2),
			    MOV_IMM(R4, 0),
			    MOV_IMM(R5, 0),
			    HELPER(find_vma),
			    RETURN(0)),
			SUB("vma", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = {
			MAIN(XDP),
			EXPORT("f", PROTO_VOID, REGS_OF_PARENT, RETURN(0)),
		},
	},
	{
		.name = "export_of_sleepable_iterates_over_cgroup",
		.funcs = { SYSCALL("c", CALL_PROG(0, 1), RETURN(0)) },
		.library = {
			SYSCALL("lib", RETURN(0)),
			EXPORT("f", PROTO_VOID, ITERATES_OVER_CGROUP),
		},
		.own = true,
	},
	{
		.name = "function_iterates_over_cgroup_in_rcu_section",
		.funcs = {
			SYSCALL("c", LOCK, CALL_FUNC(1), UNLOCK, RETURN(0)),
			GLOBAL("f", PROTO_VOID, ITERATES_OVER_CGROUP),
		},
		.err = EINVAL,
		.msg = "sleepable global function",
	},
	{
		.name = "export_of_sleepable_counts_on_rcu_section",
		.funcs = {
			SYSCALL("lib", RETURN(0)),
			EXPORT("f", PROTO_VOID, REGS_OF_PARENT, RETURN(0)),
		},
		.err = EACCES,
		.msg = "R1 type=untrusted_ptr_",
	},
	{
		.name = "wq_callback_calls_callee_behind_rcu_section",
		.funcs = {
			ROOT("c", XDP, QUEUE_WORK(1), RETURN(0)),
			SUB("cb", LOCK, UNLOCK, CALL_PROG(0, 1), RETURN(0)),
		},
		.library = {
			MAIN(XDP),
			EXPORT("f", PROTO_VOID, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "called in a callback that may sleep",
	},
	{
		.name = "wq_callback_of_sleepable_calls_sleeping_callee",
		.funcs = {
			SYSCALL("c", QUEUE_WORK(1), RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = { SYSCALL_SLEEPS },
	},
	{
		.name = "hash_callback_calls_callee_that_does_not_sleep",
		.funcs = {
			SYSCALL("c", FOR_EACH(MAP_HASH_OF_INT), RETURN(0)),
			SUB("cb", CALL_PROG(0, 1), RETURN(0)),
		},
		.library = {
			SYSCALL("lib", RETURN(0)),
			EXPORT("does_not", PROTO_VOID, RETURN(0)),
		},
	},
	/* a callback of the callee's, in which the caller's section still holds */
	{
		.name = "callback_of_callee_sleeps_in_rcu_section",
		.funcs = {
			SYSCALL("c", LOCK, CALL_PROG(0, 1), UNLOCK, RETURN(0)),
		},
		.library = {
			SYSCALL("lib", RETURN(0)),
			EXPORT("f", PROTO_VOID,
			       MOV_IMM(R1, 2),
			       LD_FUNC(R2, 2),
			       MOV_IMM(R3, 0),
			       MOV_IMM(R4, 0),
			       HELPER(loop),
			       RETURN(0)),
			SUB("cb", COPY_FROM_USER, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "rcu_read_lock region",
	},
};

static void sleepable_library(void)
{
	static const struct func library[] = { SLEEPS };
	int fd = LOAD_PROG(library);

	result("sleepable_library", fd > 0, "%s", log_tail()); /* P80 */
	close(fd);
}

const struct insn_group call_sleep_group = {
	.name = "call_sleep",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = sleepable_library,
};
