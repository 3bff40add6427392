// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

/*
 * What a review found that functions which are not followed can be made to do: each for a function of another
 * program, and for a global one of the same.
 */

/* ctx in R6, a packet of 8 bytes in R7, and in R1 the ctx */
#define SKB_PACKET                                                                                           \
	MOV_REG(R6, R1), BPF_LDX_MEM(BPF_W, R7, R1, 76), BPF_LDX_MEM(BPF_W, R8, R1, 80), MOV_REG(R2, R7),    \
		BPF_ALU64_IMM(BPF_ADD, R2, 8), BPF_JMP_REG(BPF_JLE, R2, R8, 2), RETURN(0)
/* dynptr of the skb at -16 */
#define SKB_DYNPTR(from_skb) MOV_REG(R6, R1), MOV_IMM(R2, 0), STACK(R3, -16), KFUNC(from_skb)
/* writes 8 bytes of the stack to the dynptr in R1 */
#define WRITE_DYNPTR \
	BPF_ST_MEM(BPF_DW, R10, -24, 0), MOV_IMM(R2, 0), STACK(R3, -24), MOV_IMM(R4, 8), MOV_IMM(R5, 0), \
		HELPER(dynptr_write)

static void numbers(void)
{
	struct func l[] = { MAIN(XDP), EXPORT("mem", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
					      BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT) };
	struct func join = ROOT("c", XDP, HELPER(get_prandom_u32), MOV_IMM(R1, 0), BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
				BPF_JMP_A(1), MOV_IMM(R1, 4096), CALL_PROG(0, 1), EXIT),
		    twice = ROOT("c", XDP, HELPER(get_prandom_u32), MOV_IMM(R1, 0), BPF_JMP_IMM(BPF_JEQ, R0, 7, 1),
				 BPF_JMP_A(1), MOV_IMM(R1, 0), CALL_PROG(0, 1), EXIT);

	EITHER_REFUSE("P130", "NULL or a number", l, join, "R1 type=scalar expected=");
	opt_prog_flags = BPF_F_TEST_STATE_FREQ;
	EITHER_REFUSE("P130b", "all states kept", l, join, "R1 type=scalar expected=");
	opt_prog_flags = 0;
	EITHER_ACCEPT("P130c", "NULL or NULL", l, twice);
}

static void written_packets(void)
{
	struct func writes = EXPORT("writes", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
				    BPF_ST_MEM(BPF_W, R1, 0, 1), EXIT);
	struct func cg[] = { ROOTE("lib", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, RETURN(1)), writes },
		    tc[] = { MAIN(TC), writes };
	struct func reads_only = ROOTE("c", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, SKB_PACKET, MOV_REG(R1, R7),
				       CALL_PROG(0, 1), RETURN(1)),
		    may_write = ROOT("c", TC, SKB_PACKET, MOV_REG(R1, R7), CALL_PROG(0, 1), RETURN(0));

	EITHER_REFUSE("P131", "packet that is only read", cg, reads_only, "arg#0 is a packet that cannot be written to");
	for (int whose = OF_LIBRARY; whose <= OF_PROGRAM; whose++) {
		int fd = either("P131b", "packet of tc", whose, tc, may_write, 0, NULL);

		view_get(fd, &view0);
		/* what makes the packet private starts with a load of skb->cloned */
		result(case_name("P131b/prologue", whose, "before it"),
		       view0.nx > 0 && view0.xl[0].code == (BPF_LDX | BPF_MEM | BPF_B), "first %#x", view0.xl[0].code);
		close(fd);
	}
}

static void moved_packets(void)
{
	int from_skb = kbtf_find("bpf_dynptr_from_skb", BTF_KIND_FUNC, NULL),
	    slice = kbtf_find("bpf_dynptr_slice_rdwr", BTF_KIND_FUNC, NULL);
	struct func mem[] = { MAIN(TC), EXPORT("moves", PROTO_SKB_MEM, MOV_REG(R6, R2), MOV_IMM(R2, 0),
					       HELPER(skb_pull_data), BPF_JMP_IMM(BPF_JEQ, R6, 0, 1),
					       BPF_LDX_MEM(BPF_W, R0, R6, 0), RETURN(0)) },
		    dyn[] = { MAIN(TC), EXPORT("moves", PROTO_SKB_DYNPTR, MOV_IMM(R2, 0), HELPER(skb_pull_data),
					       RETURN(0)) },
		    writes[] = { MAIN(TC), EXPORT("writes", PROTO_DYNPTR, WRITE_DYNPTR, RETURN(0)) },
		    reads[] = { MAIN(TC), EXPORT("reads", PROTO_DYNPTR, MOV_REG(R3, R1), STACK(R1, -8), MOV_IMM(R2, 8),
						 MOV_IMM(R4, 0), MOV_IMM(R5, 0), HELPER(dynptr_read), RETURN(0)) },
		    own[] = { MAIN(TC), EXPORT("own", PROTO_SKB, SKB_DYNPTR(from_skb), STACK(R1, -16), WRITE_DYNPTR,
					       RETURN(0)) };
	struct func packet = ROOT("c", TC, SKB_PACKET, MOV_REG(R2, R7), MOV_REG(R1, R6), CALL_PROG(0, 1), RETURN(0)),
		    stack = ROOT("c", TC, BPF_ST_MEM(BPF_DW, R10, -8, 0), STACK(R2, -8), CALL_PROG(0, 1), RETURN(0)),
		    slices = ROOT("c", TC, SKB_DYNPTR(from_skb), STACK(R1, -16), MOV_IMM(R2, 0),
				  BPF_ST_MEM(BPF_DW, R10, -24, 0), STACK(R3, -24), MOV_IMM(R4, 8), KFUNC(slice),
				  BPF_JMP_IMM(BPF_JNE, R0, 0, 2), RETURN(0), MOV_REG(R2, R0), MOV_REG(R1, R6),
				  CALL_PROG(0, 1), RETURN(0)),
		    both = ROOT("c", TC, SKB_DYNPTR(from_skb), MOV_REG(R1, R6), STACK(R2, -16), CALL_PROG(0, 1),
				RETURN(0)),
		    only = ROOT("c", TC, SKB_DYNPTR(from_skb), STACK(R1, -16), CALL_PROG(0, 1), RETURN(0)),
		    local = ROOT("c", TC, LD_VALUE(R1, counter_map, 0), MOV_IMM(R2, 64), MOV_IMM(R3, 0), STACK(R4, -16),
				 HELPER(dynptr_from_mem), STACK(R1, -16), CALL_PROG(0, 1), RETURN(0)),
		    keeps = ROOT("c", TC, SKB_PACKET, MOV_REG(R1, R6), CALL_PROG(0, 1), BPF_LDX_MEM(BPF_B, R0, R7, 0),
				 RETURN(0));

	EITHER_REFUSE("P132", "packet for who moves it", mem, packet, "arg#1 is a packet that the function may move");
	EITHER_ACCEPT("P132b", "memory for who moves packets", mem, stack);
	EITHER_REFUSE("P132c", "slice of a packet", mem, slices, "arg#1 is a packet that the function may move");
	EITHER_REFUSE("P132d", "dynptr of a packet", dyn, both, "arg#1 is a packet that the function may move");
	EITHER_REFUSE("P132e", "dynptr for who writes to it", writes, only, "arg#0 is a packet that the function may move");
	EITHER_ACCEPT("P132f", "dynptr for who reads it", reads, only);
	EITHER_ACCEPT("P132g", "dynptr of memory", writes, local);
	for (int whose = OF_LIBRARY; whose <= OF_PROGRAM; whose++)
		either("P133", "packet moved by dynptr_write", whose, own, keeps, EACCES, "R7 invalid mem access 'scalar'");
}

static void structures(void)
{
	struct func l[] = { MAIN(KPROBE), EXPORT("writes", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
						 BPF_ST_MEM(BPF_W, R1, 0, 1), EXIT) };
	struct func c = ROOT("c", KPROBE, HELPER(get_current_task_btf), MOV_REG(R1, R0), CALL_PROG(0, 1), RETURN(0));

	EITHER_REFUSE("P134", "task_struct for memory", l, c, "arg#0 is a kernel structure, expected memory");
}

#define MOVES MOV_IMM(R2, 4), HELPER(xdp_adjust_head)
#define XDP_KEEPS(call)                                                                                       \
	MOV_REG(R6, R1), BPF_LDX_MEM(BPF_W, R7, R1, 0), BPF_LDX_MEM(BPF_W, R8, R1, 4), MOV_REG(R2, R7),       \
		BPF_ALU64_IMM(BPF_ADD, R2, 8), BPF_JMP_REG(BPF_JLE, R2, R8, 2), RETURN(0), MOV_REG(R1, R6), call, \
		BPF_LDX_MEM(BPF_B, R0, R7, 0), RETURN(2)

static void effects(void)
{
	int timer = map_of("bpf_timer");
	/* what is called comes last: one look at each function, or two, are not enough */
	struct func further[] = { ROOT("c", XDP, XDP_KEEPS(CALL_FUNC(1))), GLOBAL("f", PROTO_XDP, CALL_FUNC(2), EXIT),
				  GLOBAL("g", PROTO_XDP, CALL_FUNC(3), EXIT), GLOBAL("h", PROTO_XDP, CALL_FUNC(4), EXIT),
				  GLOBAL("k", PROTO_XDP, MOVES, RETURN(0)) };
	/* h leads to f by way of a timer, and f calls h; the walk over the functions starts with h */
	struct func cycle[] = { ROOT("c", XDP, MOV_REG(R6, R1), CALL_FUNC(1), MOV_REG(R1, R6), XDP_KEEPS(CALL_FUNC(3))),
				GLOBAL("h", PROTO_XDP, MOV_REG(R6, R1), SET_TIMER(timer, 2), MOV_REG(R1, R6), MOVES,
				       RETURN(0)),
				SUB("g", MOV_IMM(R1, 0), CALL_FUNC(4), RETURN(0)),
				GLOBAL("f", PROTO_XDP, CALL_FUNC(1), RETURN(0)),
				SUB("never", BPF_JMP_IMM(BPF_JNE, R1, 0, 2), RETURN(0), CALL_FUNC(3), EXIT) };

	CALL_REFUSE("P135 moved three calls further", further, EACCES, "R7 invalid mem access 'scalar'");
	CALL_REFUSE("P135b moved in a cycle of timers", cycle, EACCES, "R7 invalid mem access 'scalar'");
	close(timer);
}

static void later(void)
{
	int timer = map_of("bpf_timer"), wq = map_of("bpf_wq"),
	    set_wq = kbtf_find("bpf_wq_set_callback_impl", BTF_KIND_FUNC, NULL);
	struct func xdp[] = { MAIN(XDP), EXPORT("f", PROTO_VOID, RETURN(0)) },
		    sys[] = { ROOTE("lib", BPF_PROG_TYPE_SYSCALL, 0, BPF_F_SLEEPABLE, RETURN(0)),
			      EXPORT("f", PROTO_VOID, RETURN(0)) };
#define QUEUES(k) ROOT("c", XDP, VALUE(wq), MOV_REG(R1, R0), LD_FUNC(R2, k), MOV_IMM(R3, 0), MOV_IMM(R4, 0), KFUNC(set_wq), RETURN(0))
#define TIMES(k) ROOTE("c", BPF_PROG_TYPE_SYSCALL, 0, BPF_F_SLEEPABLE, SET_TIMER(timer, k), RETURN(0))
	struct func queued[] = { QUEUES(1), SUB("cb", CALL_PROG(0, 1), RETURN(0)) },
		    queued_own[] = { QUEUES(1), SUB("cb", CALL_FUNC(2), RETURN(0)), GLOBAL("f", PROTO_VOID, RETURN(0)) },
		    queued_static[] = { QUEUES(1), SUB("cb", CALL_FUNC(2), RETURN(0)), SUB("s", RETURN(0)) },
		    timed[] = { TIMES(1), SUB("cb", CALL_PROG(0, 1), RETURN(0)) },
		    timed_own[] = { TIMES(1), SUB("cb", CALL_FUNC(2), RETURN(0)), GLOBAL("f", PROTO_VOID, RETURN(0)) },
		    timed_static[] = { TIMES(1), SUB("cb", CALL_FUNC(2), RETURN(0)), SUB("s", RETURN(0)) },
		    sleeps[] = { TIMES(1), SUB("cb", STACK(R1, -8), MOV_IMM(R2, 8), MOV_IMM(R3, 0),
					       HELPER(copy_from_user), RETURN(0)) },
		    xdp_timer[] = { ROOT("c", XDP, SET_TIMER(timer, 1), RETURN(0)),
				    SUB("cb", CALL_PROG(0, 1), RETURN(0)) };

	fd_array[0] = LIBRARY(xdp);
	CALL_REFUSE("P136 call in a workqueue", queued, EINVAL, "not allowed in a callback that may sleep");
	CALL_REFUSE("P136/own", queued_own, EINVAL, "not allowed in a callback that may sleep");
	close(CALL_ACCEPT("P136b static function", queued_static));
	close(CALL_ACCEPT("P136c call in a timer", xdp_timer));
	close(fd_array[0]);
	fd_array[0] = LIBRARY(sys);
	CALL_REFUSE("P137 call in a timer of who sleeps", timed, EINVAL, "not allowed in a callback that must not sleep");
	CALL_REFUSE("P137/own", timed_own, EINVAL, "not allowed in a callback that must not sleep");
	close(CALL_ACCEPT("P137b static function", timed_static));
	CALL_REFUSE("P137c sleeping in a timer", sleeps, EINVAL, "helper call might sleep in a non-sleepable prog");
	close(fd_array[0]);
	close(timer);
	close(wq);
}

static void asleep(void)
{
	int lock = kbtf_find("bpf_rcu_read_lock", BTF_KIND_FUNC, NULL),
	    unlock = kbtf_find("bpf_rcu_read_unlock", BTF_KIND_FUNC, NULL),
	    storage = map_create_btf(BPF_MAP_TYPE_TASK_STORAGE, 4, 4, 0, BPF_F_NO_PREALLOC, 1);
	struct func main_of = ROOTE("lib", KPROBE, 0, BPF_F_SLEEPABLE, RETURN(0));
	struct func sleeps[] = { main_of, EXPORT("sleeps", PROTO_VOID, STACK(R1, -8), MOV_IMM(R2, 8), MOV_IMM(R3, 0),
						 HELPER(copy_from_user), RETURN(0)) },
		    stores[] = { main_of, EXPORT("stores", PROTO_VOID, TASK_STORAGE(storage), RETURN(0)) };
	struct func locked = ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, KFUNC(lock), CALL_PROG(0, 1), KFUNC(unlock), RETURN(0)),
		    open = ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, CALL_PROG(0, 1), RETURN(0));

	EITHER_REFUSE("P138", "sleeps in an RCU section", sleeps, locked,
		      "functions that may sleep are not allowed in RCU read sections");
	EITHER_REFUSE("P138b", "allocates in an RCU section", stores, locked,
		      "functions that may sleep are not allowed in RCU read sections");
	EITHER_ACCEPT("P138c", "sleeps", sleeps, open);
	EITHER_ACCEPT("P138d", "allocates", stores, open);
	close(storage);
}

void progcall_review_cases(void)
{
	if (opt_alone)
		return;
	numbers();
	written_packets();
	moved_packets();
	structures();
	effects();
	later();
	asleep();
}
