// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

/*
 * What a function of another program does that its caller has to know of, without looking into it.
 */

#define IDENTITY MOV_REG(R0, R1), EXIT
#define FRAME(bytes) BPF_ST_MEM(BPF_DW, R10, -(bytes), 0)
#define FIVE MOV_IMM(R1, 5)

static void stack(void)
{
	struct func l[] = { MAIN(XDP), EXPORT("f200", PROTO_INT, FRAME(200), IDENTITY),
			    EXPORT("f300", PROTO_INT, FRAME(104), CALL_FUNC(1), EXIT) };
	struct func sum[] = { ROOT("c", XDP, FRAME(400), FIVE, CALL_PROG(0, 1), EXIT) },
		    fits[] = { ROOT("c", XDP, FRAME(304), FIVE, CALL_PROG(0, 1), EXIT) },
		    below[] = { ROOT("c", XDP, FRAME(304), FIVE, CALL_PROG(0, 2), EXIT) },
		    sub[] = { ROOT("c", XDP, FRAME(200), FIVE, CALL_FUNC(1), EXIT),
			      SUB("s", FRAME(200), CALL_PROG(0, 1), EXIT) },
		    callback[] = { ROOT("c", XDP, FRAME(304), MOV_IMM(R1, 2), LD_FUNC(R2, 1), MOV_IMM(R3, 0),
					MOV_IMM(R4, 0), HELPER(loop), MOV_IMM(R0, 0), EXIT),
				   SUB("cb", FRAME(32), CALL_PROG(0, 1), MOV_IMM(R0, 0), EXIT) },
		    global[] = { ROOT("c", XDP, FRAME(200), FIVE, CALL_FUNC(1), EXIT),
				 GLOBAL("g", PROTO_INT, FRAME(200), CALL_PROG(0, 1), EXIT) },
		    middle[] = { MAIN(XDP), EXPORT("g", PROTO_INT, FRAME(200), CALL_PROG(0, 1), EXIT) },
		    top[] = { ROOT("c", XDP, FRAME(200), FIVE, CALL_PROG(1, 1), EXIT) };

	fd_array[0] = LIBRARY(l);
	CALL_REFUSE("P60 400 and 200 on the stack", sum, EACCES, "combined stack size of 2 calls is ");
	CALL_RUNS("P61 300 and 200", fits, 5);
	CALL_REFUSE("P62 below the callee", below, EACCES, "combined stack size of 3 calls is ");
	CALL_REFUSE("P63 below a subprogram", sub, EACCES, "combined stack size of 3 calls is ");
	CALL_REFUSE("P64 below a callback", callback, EACCES, "combined stack size of 3 calls is ");
	CALL_REFUSE("P65 below a global function", global, EACCES, "combined stack size of 3 calls is ");
	fd_array[1] = LIBRARY(middle);
	result("P66 library that calls a library", fd_array[1] > 0, "%s", tail_of(log_text));
	CALL_REFUSE("P67 three programs", top, EACCES, "combined stack size of 3 calls is ");
	close(fd_array[0]);
	close(fd_array[1]);
}

static void frames(void)
{
	/* f1 calls f2, which is the last */
	struct func l[] = { MAIN(XDP), EXPORT("f1", PROTO_INT, CALL_FUNC(2), EXIT), EXPORT("f2", PROTO_INT, IDENTITY) };
	struct func c[] = { ROOT("c", XDP, FIVE, CALL_FUNC(1), EXIT), SUB("s1", CALL_FUNC(2), EXIT),
			    SUB("s2", CALL_FUNC(3), EXIT), SUB("s3", CALL_FUNC(4), EXIT),
			    SUB("s4", CALL_FUNC(5), EXIT), SUB("s5", CALL_PROG(0, 1), EXIT),
			    SUB("s6", CALL_PROG(0, 1), EXIT) };

	fd_array[0] = LIBRARY(l);
	call_runs("P70 6 frames and 2", c, 6, 5);
	c[5].insns[0] = (struct bpf_insn)CALL_FUNC(6);
	CALL_REFUSE("P71 7 frames and 2", c, E2BIG, "the call stack of 8 frames is too deep");
	c[6].insns[0] = (struct bpf_insn)CALL_PROG(0, 2);
	close(CALL_ACCEPT("P72 7 frames and 1", c));
	close(fd_array[0]);
}

#define PACKET(use) \
	MOV_REG(R6, R1), BPF_LDX_MEM(BPF_W, R7, R1, 0), BPF_LDX_MEM(BPF_W, R8, R1, 4), MOV_REG(R2, R7), \
		BPF_ALU64_IMM(BPF_ADD, R2, 8), BPF_JMP_REG(BPF_JGT, R2, R8, 3), MOV_REG(R1, R6), use, \
		BPF_LDX_MEM(BPF_B, R0, R7, 0), MOV_IMM(R0, 2), EXIT

static void packets(void)
{
	struct func l[] = { MAIN(XDP),
			    EXPORT("moves", PROTO_XDP, MOV_IMM(R2, 4), HELPER(xdp_adjust_head), EXIT),
			    EXPORT("looks", PROTO_XDP, MOV_IMM(R0, 0), EXIT),
			    EXPORT("asks", PROTO_XDP, CALL_FUNC(4), EXIT),
			    SUB("hidden", MOV_IMM(R2, 4), HELPER(xdp_adjust_head), EXIT) };
	struct func moves[] = { ROOT("c", XDP, PACKET(CALL_PROG(0, 1))) },
		    looks[] = { ROOT("c", XDP, PACKET(CALL_PROG(0, 2))) },
		    asks[] = { ROOT("c", XDP, PACKET(CALL_PROG(0, 3))) },
		    global[] = { ROOT("c", XDP, PACKET(CALL_FUNC(1))),
				 GLOBAL("g", PROTO_XDP, CALL_PROG(0, 1), EXIT) },
		    middle[] = { MAIN(XDP), EXPORT("g", PROTO_XDP, CALL_PROG(0, 1), EXIT) },
		    top[] = { ROOT("c", XDP, PACKET(CALL_PROG(1, 1))) };

	l[4].proto = PROTO_XDP;
	fd_array[0] = LIBRARY(l);
	CALL_REFUSE("P75 packet moved by the callee", moves, EACCES, "R7 invalid mem access 'scalar'");
	close(CALL_ACCEPT("P76 packet not moved", looks));
	CALL_REFUSE("P77 moved below the callee", asks, EACCES, "R7 invalid mem access 'scalar'");
	CALL_REFUSE("P78 moved below a global function", global, EACCES, "R7 invalid mem access 'scalar'");
	fd_array[1] = LIBRARY(middle);
	CALL_REFUSE("P79 moved by the third program", top, EACCES, "R7 invalid mem access 'scalar'");
	close(fd_array[0]);
	close(fd_array[1]);
}

static void sections(void)
{
	int lock = kbtf_find("bpf_rcu_read_lock", BTF_KIND_FUNC, NULL),
	    unlock = kbtf_find("bpf_rcu_read_unlock", BTF_KIND_FUNC, NULL),
	    off = kbtf_find("bpf_preempt_disable", BTF_KIND_FUNC, NULL),
	    on = kbtf_find("bpf_preempt_enable", BTF_KIND_FUNC, NULL),
	    spin = map_create_btf(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, 3);
	struct func l[] = { ROOTE("lib", KPROBE, 0, BPF_F_SLEEPABLE, MOV_IMM(R0, 0), EXIT),
			    EXPORT("sleeps", PROTO_VOID, MOV_REG(R1, R10), BPF_ALU64_IMM(BPF_ADD, R1, -8),
				   MOV_IMM(R2, 8), MOV_IMM(R3, 0), HELPER(copy_from_user), MOV_IMM(R0, 0), EXIT),
			    EXPORT("does_not", PROTO_VOID, MOV_IMM(R0, 0), EXIT),
			    EXPORT("asks", PROTO_VOID, CALL_FUNC(1), EXIT) };
	struct func locked[] = { ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, KFUNC(lock), CALL_PROG(0, 1), KFUNC(unlock),
				       MOV_IMM(R0, 0), EXIT) };
	struct func asks[] = { ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, KFUNC(lock), CALL_PROG(0, 3), KFUNC(unlock),
				     MOV_IMM(R0, 0), EXIT) };
	struct func awake[] = { ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, KFUNC(lock), CALL_PROG(0, 2), KFUNC(unlock),
				      MOV_IMM(R0, 0), EXIT) };
	struct func open[] = { ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, CALL_PROG(0, 1), MOV_IMM(R0, 0), EXIT) };
	struct func preempt[] = { ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, KFUNC(off), CALL_PROG(0, 2), KFUNC(on),
					MOV_IMM(R0, 0), EXIT) };
	struct func middle[] = { l[0], EXPORT("g", PROTO_VOID, CALL_PROG(0, 1), EXIT) };
	struct func top[] = { ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, KFUNC(lock), CALL_PROG(1, 1), KFUNC(unlock),
				    MOV_IMM(R0, 0), EXIT) };

	fd_array[0] = LIBRARY(l);
	result("P80 sleepable library", fd_array[0] > 0, "%s", tail_of(log_text));
	CALL_REFUSE("P81 may sleep, in an RCU section", locked, EINVAL,
		    "functions that may sleep are not allowed in RCU read sections");
	CALL_REFUSE("P82 below the callee", asks, EINVAL, "functions that may sleep are not allowed in RCU read sections");
	close(CALL_ACCEPT("P83 does not sleep", awake));
	close(CALL_ACCEPT("P84 outside", open));
	CALL_REFUSE("P85 preemption disabled", preempt, EINVAL,
		    "global function calls are not allowed with preemption disabled");
	fd_array[1] = LIBRARY(middle);
	CALL_REFUSE("P86 the third program may sleep", top, EINVAL, "functions that may sleep are not allowed in RCU read sections");
	close(fd_array[0]);
	close(fd_array[1]);

	struct func x[] = { MAIN(XDP), EXPORT("f", PROTO_VOID, MOV_IMM(R0, 0), EXIT) };
	struct func holds[] = { ROOT("c", XDP, BPF_ST_MEM(BPF_W, R10, -4, 0), MOV_REG(R2, R10),
				     BPF_ALU64_IMM(BPF_ADD, R2, -4), LD_MAP(R1, spin), HELPER(map_lookup_elem),
				     BPF_JMP_IMM(BPF_JNE, R0, 0, 1), EXIT, MOV_REG(R6, R0), MOV_REG(R1, R6),
				     HELPER(spin_lock), CALL_PROG(0, 1), MOV_REG(R1, R6), HELPER(spin_unlock),
				     MOV_IMM(R0, 0), EXIT) };
	fd_array[0] = LIBRARY(x);
	CALL_REFUSE("P87 spin lock held", holds, EINVAL, "global function calls are not allowed while holding a lock");
	close(fd_array[0]);
	close(spin);
}

static void refused_callees(void)
{
	int progs = map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0),
	    storage = map_create(BPF_MAP_TYPE_CGROUP_STORAGE, 16, 8, 0, 0);
	struct func l[] = { MAIN(XDP),
			    EXPORT("leaves", PROTO_XDP, LD_MAP(R2, progs), MOV_IMM(R3, 0), HELPER(tail_call),
				   MOV_IMM(R0, 0), EXIT),
			    EXPORT("asks", PROTO_XDP, CALL_FUNC(3), EXIT),
			    SUB("hidden", LD_MAP(R2, progs), MOV_IMM(R3, 0), HELPER(tail_call), MOV_IMM(R0, 0), EXIT),
			    EXPORT("stays", PROTO_INT, IDENTITY) };
	struct func leaves[] = { ROOT("c", XDP, CALL_PROG(0, 1), EXIT) }, asks[] = { ROOT("c", XDP, CALL_PROG(0, 2), EXIT) },
		    stays[] = { ROOT("c", XDP, MOV_REG(R6, R1), FIVE, CALL_PROG(0, 4), MOV_REG(R7, R0), MOV_REG(R1, R6),
				     LD_MAP(R2, progs), MOV_IMM(R3, 0), HELPER(tail_call), MOV_REG(R0, R7), EXIT) },
		    inner[] = { ROOT("c", XDP, MOV_REG(R6, R1), FIVE, CALL_PROG(0, 4), MOV_REG(R7, R0), MOV_REG(R1, R6),
				     CALL_FUNC(1), MOV_REG(R0, R7), EXIT),
				SUB("s", MOV_REG(R6, R1), MOV_IMM(R1, 6), CALL_PROG(0, 4), MOV_REG(R1, R6),
				    LD_MAP(R2, progs), MOV_IMM(R3, 0), HELPER(tail_call), MOV_IMM(R0, 0), EXIT) };

	l[3].proto = PROTO_XDP;
	fd_array[0] = LIBRARY(l);
	result("P88 library with tail calls", fd_array[0] > 0, "%s", tail_of(log_text));
	CALL_REFUSE("P88b callee with a tail call", leaves, EINVAL, "cannot be called: it may do tail calls");
	CALL_REFUSE("P88c tail call below the callee", asks, EINVAL, "cannot be called: it may do tail calls");
	CALL_RUNS("P89 caller with a tail call", stays, 5);
	CALL_RUNS("P89b call where a tail call is reachable", inner, 5);
	close(fd_array[0]);
	close(progs);

	struct func s[] = { MAIN(SOCKET_FILTER),
			    EXPORT("loads", PROTO_SKB, MOV_REG(R6, R1), BPF_LD_ABS(BPF_B, 0), EXIT) };
	struct func plain[] = { ROOT("c", SOCKET_FILTER, CALL_PROG(0, 1), EXIT) };
	struct func callback[] = { ROOT("c", SOCKET_FILTER, BPF_STX_MEM(BPF_DW, R10, R1, -8), MOV_IMM(R1, 2),
					LD_FUNC(R2, 1), MOV_REG(R3, R10), BPF_ALU64_IMM(BPF_ADD, R3, -8), MOV_IMM(R4, 0),
					HELPER(loop), MOV_IMM(R0, 0), EXIT),
				   SUB("cb", BPF_LDX_MEM(BPF_DW, R1, R2, 0), CALL_PROG(0, 1), MOV_IMM(R0, 0), EXIT) };
	fd_array[0] = LIBRARY(s);
	close(CALL_ACCEPT("P94 callee with LD_ABS", plain));
	CALL_REFUSE("P94b LD_ABS below a callback", callback, EINVAL, "cannot use BPF_LD_[ABS|IND] within callback");
	close(fd_array[0]);

	struct func g[] = { ROOTE("lib", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, MOV_IMM(R0, 1), EXIT),
			    EXPORT("keeps", PROTO_VOID, LD_MAP(R1, storage), MOV_IMM(R2, 0), HELPER(get_local_storage),
				   BPF_LDX_MEM(BPF_W, R0, R0, 0), EXIT),
			    EXPORT("asks", PROTO_VOID, CALL_FUNC(1), EXIT) };
	for (int k = 1; k < 3; k++) {
		struct func c[] = { ROOTE("c", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, CALL_PROG(0, k), MOV_IMM(R0, 1),
					  EXIT) };

		fd_array[0] = LIBRARY(g);
		CALL_REFUSE(k > 1 ? "P90b storage below the callee" : "P90 cgroup storage", c, EINVAL,
			    "cannot be called: it uses cgroup storage");
		close(fd_array[0]);
	}
	close(storage);
}

/* what was found out about the callee's program holds for the caller */
static void inherited(void)
{
	struct func tp[] = { MAIN(TRACEPOINT), EXPORT("f", PROTO_INT, IDENTITY) };
	struct func tc[] = { MAIN(TC), EXPORT("writes", PROTO_SKB, BPF_LDX_MEM(BPF_W, R2, R1, 76),
					      BPF_LDX_MEM(BPF_W, R3, R1, 80), MOV_REG(R4, R2),
					      BPF_ALU64_IMM(BPF_ADD, R4, 8), BPF_JMP_REG(BPF_JGT, R4, R3, 1),
					      BPF_ST_MEM(BPF_B, R2, 0, 7), MOV_IMM(R0, 0), EXIT) };
	struct func far[] = { ROOT("lib", TRACEPOINT, BPF_LDX_MEM(BPF_DW, R2, R1, 160), MOV_IMM(R0, 0), EXIT), tp[1] };
	struct func c[] = { ROOT("c", TRACEPOINT, FIVE, CALL_PROG(0, 1), MOV_IMM(R0, 0), EXIT) };
	struct func w[] = { ROOT("c", TC, CALL_PROG(0, 1), EXIT) };
	int fd, at, lib;

	for (int i = 0; i < 2; i++) {
		fd_array[0] = load_with_btf(i ? far : tp, 2);
		fd = CALL_ACCEPT(i ? "P91b library reads far into its record" : "P91 tracepoint", c);
		at = attach_tp(fd, "sched/sched_switch");
		result(i ? "P91b/attach" : "P91/attach", i ? at == -EACCES : at >= 0, "%d", at);
		if (at >= 0)
			close(at);
		close(fd);
		close(fd_array[0]);
	}
	lib = fd_array[0] = LIBRARY(tc);
	fd = CALL_ACCEPT("P92 callee writes to the packet", w);
	view_get(lib, &view1);
	view_get(fd, &view0);
	/* r6 = r1; ... call bpf_skb_pull_data: what precedes the first instruction of who writes to packets */
	result("P92/prologue", view0.nx > 5 && view1.nx > 0 && view0.xl[0].code == (BPF_LDX | BPF_MEM | BPF_B), "%d insns, first %#x",
	       view0.nx, view0.xl[0].code);
	close(fd);
	close(lib);

	struct func kp[] = { ROOT("lib", KPROBE, MOV_IMM(R2, 0), HELPER(override_return), MOV_IMM(R0, 0), EXIT), tp[1] };
	struct func k[] = { ROOT("c", KPROBE, FIVE, CALL_PROG(0, 1), MOV_IMM(R0, 0), EXIT) };
	fd_array[0] = LIBRARY(kp);
	if (fd_array[0] < 0) {
		skip("P93 override_return", "no override_return in this kernel");
		return;
	}
	fd = CALL_ACCEPT("P93 override_return", k);
	at = attach_kprobe(fd, "__set_task_comm");
	result("P93/attach", at == -EINVAL, "%d", at);
	if (at >= 0)
		close(at);
	close(fd);
	close(fd_array[0]);
}

void progcall_effects_cases(void)
{
	if (opt_alone)
		return;
	stack();
	frames();
	packets();
	sections();
	refused_callees();
	inherited();
}
