// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

/*
 * Attacks by a reviewer who had the code: memory of other kinds for an argument, and what happens to callers and
 * callees while something else has its hands on them.
 */

#define CALL5 MOV_IMM(R1, 5), CALL_PROG(0, 1)
#define SYSCALL(nm, ...) ROOTE(nm, BPF_PROG_TYPE_SYSCALL, 0, BPF_F_SLEEPABLE, __VA_ARGS__)
#define IDENTITY MOV_REG(R0, R1), EXIT

/* what a test run returns with a context of this size, or -errno */
static int run_context(int fd, int size)
{
	static char ctx[256];
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.test.prog_fd = fd;
	a.test.ctx_in = size ? (long)ctx : 0;
	a.test.ctx_size_in = size;
	return bpf(BPF_PROG_TEST_RUN, &a, sizeof(a)) ? -errno : (int)a.test.retval;
}

/* the context of this type is memory, as much of it as the caller and all callees get to */
static void contexts(void)
{
	struct func mem[] = { SYSCALL("lib", RETURN(0)),
			      EXPORT("mem", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 2),
				     BPF_ST_MEM(BPF_W, R1, 0, 5), BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT) };
	struct func far[] = { SYSCALL("lib", RETURN(0)),
			      EXPORT("far", PROTO_MEM, BPF_LDX_MEM(BPF_W, R0, R1, 64), EXIT) };
	struct func c = SYSCALL("c", CALL_PROG(0, 1), EXIT);
	int fd, less, enough;

	far[1].arg_tag = "arg:ctx";
	fd = either("P160", "context for memory", OF_LIBRARY, mem, c, 0, NULL);
	less = run_context(fd, 0);
	enough = run_context(fd, 4);
	result("P160/run", less == -EINVAL && enough == 5, "%d, %d", less, enough);
	close(fd);
	fd = either("P161", "callee reads far into the context", OF_LIBRARY, far, c, 0, NULL);
	less = run_context(fd, 64);
	enough = run_context(fd, 68);
	result("P161/run", less == -EINVAL && enough == 0, "%d, %d", less, enough);
	close(fd);
}

static void memory(void)
{
	int timer = map_of("bpf_timer");
	struct func l[] = { MAIN(XDP), EXPORT("writes", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
					      BPF_ST_MEM(BPF_W, R1, 0, 99), EXIT) };
	struct func special = ROOT("c", XDP, LD_VALUE(R1, timer, 0), CALL_PROG(0, 1), EXIT),
		    dynptr = ROOT("c", XDP, LD_VALUE(R1, counter_map, 0), MOV_IMM(R2, 64), MOV_IMM(R3, 0),
				  STACK(R4, -16), HELPER(dynptr_from_mem), STACK(R1, -16), CALL_PROG(0, 1), EXIT),
		    number = ROOT("c", XDP, BPF_ST_MEM(BPF_DW, R10, -8, 4), STACK(R1, -8), CALL_PROG(0, 1),
				  BPF_LDX_MEM(BPF_DW, R2, R10, -8), LD_VALUE(R1, counter_map, 0),
				  BPF_ALU64_REG(BPF_ADD, R1, R2), BPF_LDX_MEM(BPF_B, R0, R1, 0), EXIT),
		    pointer = ROOT("c", XDP, BPF_STX_MEM(BPF_DW, R10, R1, -8), STACK(R1, -8), CALL_PROG(0, 1),
				   BPF_LDX_MEM(BPF_DW, R1, R10, -8), BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT);

	either("P162", "timer for memory", OF_LIBRARY, l, special, EINVAL, "bpf_timer cannot be accessed");
	either("P163", "dynptr for memory", OF_LIBRARY, l, dynptr, EINVAL, "invalid indirect read from stack");
	either("P164", "number that the callee overwrote", OF_LIBRARY, l, number, EINVAL,
	       "register with unbounded min value is not allowed");
	either("P165", "pointer that the callee overwrote", OF_LIBRARY, l, pointer, EACCES,
	       "R1 invalid mem access 'scalar'");
	close(timer);
}

/* exceptions, tail calls and trampolines have ideas of their own of what is on the stack */
static void frames(void)
{
	int throws = kbtf_find("bpf_throw", BTF_KIND_FUNC, NULL),
	    progs = map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0);
	struct func l[] = { MAIN(XDP), EXPORT("f", PROTO_INT, IDENTITY) };
	struct func thrower[] = { ROOT("c", XDP, CALL5, MOV_REG(R1, R0), CALL_FUNC(1), RETURN(9)),
				  SUB("s", MOV_REG(R6, R1), CALL5, MOV_REG(R1, R6), KFUNC(throws), RETURN(8)) },
		    tails[] = { ROOT("c", XDP, MOV_REG(R6, R1), CALL5, MOV_REG(R7, R0), MOV_REG(R1, R6), CALL_FUNC(1),
				     MOV_REG(R0, R7), EXIT),
				SUB("s", MOV_REG(R6, R1), CALL5, MOV_REG(R1, R6), LD_MAP(R2, progs), MOV_IMM(R3, 0),
				    HELPER(tail_call), RETURN(0)) };
	struct func tracer[] = { { .name = "t", .type = BPF_PROG_TYPE_TRACING, .global = 1,
				   INSNS(INC(0), RETURN(0)) } };
	int lib = fd_array[0] = LIBRARY(l), ret = -1, fd, t, link;
	uint64_t v[16];

	thrower[1].proto = PROTO_INT;
	CALL_RUNS("P167 exception behind a call", thrower, 5);
	t = load_on(BPF_PROG_TYPE_TRACING, lib, 1, tracer, 1);
	link = t < 0 ? t : attach_on(t, BPF_TRACE_FENTRY);
	fd = CALL_ACCEPT("P168 traced callee where a tail call is reachable", tails);
	counters_zero();
	test_run(fd, &ret);
	counters_read(v);
	result("P168/run", link > 0 && ret == 5 && v[0] == 2, "link %d, %d, traced %d times", link, ret, (int)v[0]);
	close(fd);
	close(link);
	close(t);
	close(lib);
	close(progs);
}

/* the caller may be replaced in part, but then it is no callee */
static void replaced_caller(void)
{
	struct func l[] = { MAIN(XDP), EXPORT("f", PROTO_INT, IDENTITY) };
	struct func c[] = { ROOT("c", XDP, CALL_FUNC(1), EXIT), EXPORT("g", PROTO_VOID, CALL5, EXIT) };
	struct func d[] = { ROOT("d", XDP, CALL_PROG(1, 1), EXIT) };
	struct func ext[] = { { .name = "g", .type = BPF_PROG_TYPE_EXT, .global = 1, .proto = PROTO_VOID,
				INSNS(RETURN(77)) } };
	int e, link, ret = -1, again = -1;

	fd_array[0] = LIBRARY(l);
	fd_array[1] = LIBRARY(c);
	e = load_on(BPF_PROG_TYPE_EXT, fd_array[1], 1, ext, 1);
	link = attach_on(e, 0);
	test_run(fd_array[1], &ret);
	CALL_REFUSE("P169 callee that is a caller, replaced in part", d, EBUSY,
		    "cannot be called: it was replaced in part");
	if (link > 0)
		close(link);
	test_run(fd_array[1], &again);
	result("P169/run", link > 0 && ret == 77 && again == 5, "link %d, %d, then %d", link, ret, again);
	close(e);
	close(fd_array[0]);
	close(fd_array[1]);
}

/* does the first counter get there? A timer or a workqueue is on its way */
static bool counted(void)
{
	uint64_t v[16];

	for (int i = 0; i < 500; i++) {
		counters_read(v);
		if (v[0])
			return true;
		usleep(10000);
	}
	return false;
}

/* what the callee has started goes on when neither it nor the caller has an FD any more */
static void later(const char *id, const char *run, int map, struct func *l)
{
	struct func c[] = { ROOT("c", XDP, CALL_PROG(0, 1), EXIT) };
	int before, at, after, fd, ret = -1;

	rcu_settle();
	before = count_progs();
	counters_zero();
	fd_array[0] = load_with_btf(l, 3);
	fd = CALL_ACCEPT(id, c);
	test_run(fd, &ret);
	close(fd);
	close(fd_array[0]);
	rcu_settle();
	at = count_progs();
	ret = ret ?: !counted();
	close(map);
	for (int i = 0; i < 500 && (after = count_progs()) != before; i++)
		usleep(10000);
	result(run, !ret && at == before + 1 && after == before, "%d; %d, %d, %d programs", ret, before, at, after);
}

static void callbacks(void)
{
	int timer = map_of("bpf_timer"), wq = map_of("bpf_wq"), init = kbtf_find("bpf_wq_init", BTF_KIND_FUNC, NULL),
	    set = kbtf_find("bpf_wq_set_callback_impl", BTF_KIND_FUNC, NULL),
	    start = kbtf_find("bpf_wq_start", BTF_KIND_FUNC, NULL);
	struct func callback = SUB("cb", INC(0), RETURN(0));
	struct func times[] = { MAIN(XDP),
				EXPORT("f", PROTO_VOID, VALUE(timer), MOV_REG(R6, R0), MOV_REG(R1, R6), LD_MAP(R2, timer),
				       MOV_IMM(R3, CLOCK_MONOTONIC), HELPER(timer_init), MOV_REG(R1, R6), LD_FUNC(R2, 2),
				       HELPER(timer_set_callback), MOV_REG(R1, R6), MOV_IMM(R2, 200 * 1000 * 1000),
				       MOV_IMM(R3, 0), HELPER(timer_start), EXIT),
				callback },
		    queues[] = { MAIN(XDP),
				 EXPORT("f", PROTO_VOID, VALUE(wq), MOV_REG(R6, R0), MOV_REG(R1, R6), LD_MAP(R2, wq),
					MOV_IMM(R3, 0), KFUNC(init), MOV_REG(R1, R6), LD_FUNC(R2, 2), MOV_IMM(R3, 0),
					MOV_IMM(R4, 0), KFUNC(set), MOV_REG(R1, R6), MOV_IMM(R2, 0), KFUNC(start), EXIT),
				 callback };

	later("P170 callee sets a timer", "P170/run", timer, times);
	later("P171 callee queues work", "P171/run", wq, queues);
}

/* loads that may fault are found by the image that they are in */
static void faults(void)
{
	int top = kbtf_find("task_struct", BTF_KIND_STRUCT, "pi_top_task"),
	    pid = kbtf_find("task_struct", BTF_KIND_STRUCT, "pid");
	struct func l[] = { MAIN(BPF_PROG_TYPE_RAW_TRACEPOINT),
			    EXPORT("f", PROTO_VOID, HELPER(get_current_task_btf), BPF_LDX_MEM(BPF_DW, R1, R0, top),
				   MOV_IMM(R0, 7), BPF_LDX_MEM(BPF_W, R0, R1, pid), EXIT) };
	struct func c[] = { ROOT("c", BPF_PROG_TYPE_RAW_TRACEPOINT, CALL_PROG(0, 1), LD_VALUE(R1, counter_map, 0),
				 BPF_ALU64_IMM(BPF_ADD, R0, 3), BPF_STX_MEM(BPF_DW, R1, R0, 0), RETURN(0)) };
	uint64_t v[16] = { 0 };
	int fd, ret;

	fd_array[0] = LIBRARY(l);
	fd = CALL_ACCEPT("P172 callee follows NULL", c);
	ret = run_context(fd, 0);
	counters_read(v);
	result("P172/run", ret == 0 && v[0] == 3, "%d, counter %d", ret, (int)v[0]);
	close(fd);
	close(fd_array[0]);
}

void progcall_attack_cases(void)
{
	if (opt_alone)
		return;
	contexts();
	memory();
	frames();
	replaced_caller();
	callbacks();
	faults();
}
