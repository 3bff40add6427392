// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * How long programs live that are called: as long as their callers, whatever is closed first, and
 * whoever loaded them. Loads that fail leave nothing of what they held.
 */

#define FUNCTION EXPORT("f", PROTO_INT, IDENTITY)

static const struct func library[] = { XDP_MAIN, FUNCTION };

static const struct func caller[] = {
	ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
};

static void callee_closed_first(int before)
{
	const char *name = "callee_closed_first"; /* P95 */
	int lib = LOAD_PROG(library), fd, ret = -1;
	__u32 id;

	fd_array[0] = lib;
	view_get(lib, &view0);
	id = view0.info.id;
	fd = ACCEPT_PROG(name, caller);
	close(lib);
	rcu_settle();
	test_run(fd, &ret);
	sub_result(name, "run", ret == 5 && id_exists(id) && kallsyms_count("_f") == 1,
		   "%d, exists %d, images %d", ret, id_exists(id), kallsyms_count("_f"));
	REFUSE_PROG("callee_fd_closed", caller, EBADF, "is no program"); /* P95b */
	close(fd);
	rcu_settle();
	sub_result(name, "gone_with_its_caller",
		   !id_exists(id) && count_progs() == before && !kallsyms_count("_f"),
		   "exists %d, %d programs, %d before", id_exists(id), count_progs(), before);
}

static void caller_closed_first(int before)
{
	const char *name = "caller_closed_first"; /* P96 */
	int lib = LOAD_PROG(library);

	fd_array[0] = lib;
	close(ACCEPT_PROG(name, caller));
	rcu_settle();
	sub_result(name, "callee_stays", count_progs() == before + 1, "%d", count_progs());
	close(lib);
}

static void three_programs(int before)
{
	static const struct func middle[] = {
		XDP_MAIN,
		EXPORT("g", PROTO_INT, CALL_PROG(0, 1), EXIT),
	};
	const char *name = "three_programs"; /* P97 */
	int lib = LOAD_PROG(library), second, fd, ret = -1;

	fd_array[0] = lib;
	second = LOAD_PROG(middle);
	fd_array[0] = second;
	close(lib);
	fd = ACCEPT_PROG(name, caller);
	close(second);
	rcu_settle();
	test_run(fd, &ret);
	sub_result(name, "run", ret == 5 && count_progs() == before + 3, "%d, %d programs", ret,
		   count_progs());
	close(fd);
	rcu_settle();
	sub_result(name, "gone", count_progs() == before, "%d programs, %d before", count_progs(),
		   before);
}

/* A root of a group holds the group. */
static void caller_of_group(int before)
{
	static const struct func group[] = {
		ROOT("ka", KPROBE, RETURN(0)),
		ROOT("xb", XDP, RETURN(0)),
		FUNCTION,
	};
	static const struct func calls_group[] = {
		ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 2), EXIT),
	};
	const char *name = "caller_of_group"; /* P98 */
	static struct load roots;
	int fd, ret = -1;

	load_group(group, ARRAY_SIZE(group));
	roots = loaded;
	fd_array[0] = roots.fds[1];
	fd = ACCEPT_PROG(name, calls_group);
	close_all(&roots);
	rcu_settle();
	test_run(fd, &ret);
	sub_result(name, "run", ret == 5 && count_progs() == before + 2, "%d, %d programs", ret,
		   count_progs());
	close(fd);
	rcu_settle();
	sub_result(name, "gone", count_progs() == before && !kallsyms_count("_f"),
		   "%d programs, %d before", count_progs(), before);
}

static const struct func pinned_library[] = {
	ROOT("kp", KPROBE, RETURN(0)),
	ROOT("tp", TRACEPOINT, RETURN(0)),
	ROOT("tc", TC, RETURN(0)),
	ROOT("xd", XDP, RETURN(0)),
	EXPORT("f", PROTO_INT, INC(0), IDENTITY),
};

static const char *const paths[] = {
	"/sys/fs/bpf/insn-kp",
	"/sys/fs/bpf/insn-tp",
	"/sys/fs/bpf/insn-tc",
	"/sys/fs/bpf/insn-xd",
};

/* A child: loads the library, pins it and leaves. */
static void pin_library(void)
{
	size_t i;

	load_group(pinned_library, ARRAY_SIZE(pinned_library));
	for (i = 0; i < ARRAY_SIZE(paths) && !loaded.err; i++)
		loaded.err = -pin(loaded.fds[i], paths[i]);
	_exit(loaded.err);
}

/* A child: calls the function by way of root number @i. */
static void call_pinned(int i)
{
	int type = pinned_library[i].type, fd, ret = 5, event = 0;
	const struct func funcs[] = {
		ROOT("c", type, MOV_IMM(R1, 5), CALL_PROG(0, 4), EXIT),
	};

	fd_array[0] = get_pinned(paths[i]);
	fd = LOAD_PROG(funcs);
	if (type == KPROBE)
		event = attach_kprobe(fd, "__set_task_comm");
	else if (type == TRACEPOINT)
		event = attach_tracepoint(fd, "syscalls/sys_enter_getpgid");
	else
		test_run(fd, &ret);
	set_comm(1);
	getpgid(0);
	_exit(fd < 0 || ret != 5 || event < 0);
}

static int wait_for(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return status;
}

/* A library that a process has pinned and left, called by one process for each type. */
static void processes(void)
{
	const char *name = "library_pinned_by_process_that_leaves"; /* P99 */
	int before, status, bad = 0;
	__u64 v[16];
	pid_t child;
	size_t i;

	rcu_settle();
	before = count_progs();
	fflush(stdout);
	child = fork();
	if (!child)
		pin_library();
	status = wait_for(child);
	result(name, status == 0 && count_progs() == before + 4, "status %#x, %d programs", status,
	       count_progs());
	counters_zero();
	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		child = fork();
		if (!child)
			call_pinned(i);
		bad += !!wait_for(child);
	}
	counters_read(v);
	sub_result(name, "callers", !bad && v[0] >= 4, "%d failed, %llu calls", bad, v[0]);
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		unlink(paths[i]);
	rcu_settle();
	sub_result(name, "gone", count_progs() == before, "%d programs, %d before", count_progs(),
		   before);
}

/* Loads that fail when a callee is held already, early and late. */
static void failures(void)
{
	static const struct func bad[] = {
		ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), MOV_REG(R0, R9), EXIT),
	};
	const char *name = "log_too_small_after_jit"; /* P101 */
	int before, fd;

	rcu_settle();
	before = count_progs();
	fd_array[0] = LOAD_PROG(library);
	REFUSE_PROG("refused_behind_call", bad, EACCES, "R9 !read_ok"); /* P100 */
	prepare_prog(caller, 1);
	loaded.attr.log_size = 128;
	fd = load_prepared();
	expect_load(name, fd < 0 ? -fd : 0, ENOSPC, NULL);
	if (fd >= 0)
		close(fd);
	close(fd_array[0]);
	rcu_settle();
	sub_result(name, "nothing_left", count_progs() == before, "%d programs, %d before",
		   count_progs(), before);
}

/* Does the first counter get there? A timer or a workqueue is on its way. */
static bool counted(void)
{
	__u64 v[16];
	int i;

	for (i = 0; i < 500; i++) {
		counters_read(v);
		if (v[0])
			return true;
		usleep(10000);
	}
	return false;
}

/*
 * What the callee has started runs when neither it nor the caller has an FD any more, and is over
 * when its map is closed.
 */
static void outlives(const char *name, const struct func *funcs)
{
	static const struct func calls[] = { ROOT("c", XDP, CALL_PROG(0, 1), EXIT) };
	int before, at, after, fd, ret = -1, i;
	bool ran;

	rcu_settle();
	before = count_progs();
	counters_zero();
	fd_array[0] = load_prog(funcs, 3);
	fd = ACCEPT_PROG(name, calls);
	test_run(fd, &ret);
	close(fd);
	close(fd_array[0]);
	rcu_settle();
	at = count_progs();
	ran = !ret && counted();
	maps_close();
	after = count_progs();
	for (i = 0; i < 500 && after != before; i++) {
		usleep(10000);
		after = count_progs();
	}
	sub_result(name, "run", ran && at == before + 1 && after == before,
		   "%d, ran %d; %d, %d, %d programs", ret, ran, before, at, after);
}

static void callbacks(void)
{
	static const struct func sets_timer[] = {
		MAIN(XDP),
		EXPORT("f", PROTO_VOID,
		       VALUE(MAP_TIMER),
		       MOV_REG(R6, R0),
		       MOV_REG(R1, R6),
		       LD_MAP(R2, MAP_TIMER),
		       MOV_IMM(R3, CLOCK_MONOTONIC),
		       HELPER(timer_init),
		       MOV_REG(R1, R6),
		       LD_FUNC(R2, 2),
		       HELPER(timer_set_callback),
		       MOV_REG(R1, R6),
		       MOV_IMM(R2, 200 * 1000 * 1000),
		       MOV_IMM(R3, 0),
		       HELPER(timer_start),
		       EXIT),
		SUB("cb", INC(0), RETURN(0)),
	};
	static const struct func queues_work[] = {
		MAIN(XDP),
		EXPORT("f", PROTO_VOID,
		       VALUE(MAP_WQ),
		       MOV_REG(R6, R0),
		       MOV_REG(R1, R6),
		       LD_MAP(R2, MAP_WQ),
		       MOV_IMM(R3, 0),
		       KFUNC(bpf_wq_init),
		       MOV_REG(R1, R6),
		       LD_FUNC(R2, 2),
		       MOV_IMM(R3, 0),
		       MOV_IMM(R4, 0),
		       KFUNC(bpf_wq_set_callback),
		       MOV_REG(R1, R6),
		       MOV_IMM(R2, 0),
		       KFUNC(bpf_wq_start),
		       EXIT),
		SUB("cb", INC(0), RETURN(0)),
	};

	outlives("callee_sets_timer", sets_timer); /* P170 */
	outlives("callee_queues_work", queues_work); /* P171 */
}

/*
 * A timer of the caller calls the callee when neither has an FD any more, and lets go of both when
 * its map is closed.
 */
static void timer_of_caller(void)
{
	static const struct func counts[] = {
		MAIN(XDP),
		EXPORT("f", PROTO_VOID, INC(0), RETURN(0)),
	};
	static const struct func sets_timer[] = {
		ROOT("c", XDP,
		     VALUE(MAP_TIMER),
		     MOV_REG(R6, R0),
		     MOV_REG(R1, R6),
		     LD_MAP(R2, MAP_TIMER),
		     MOV_IMM(R3, CLOCK_MONOTONIC),
		     HELPER(timer_init),
		     MOV_REG(R1, R6),
		     LD_FUNC(R2, 1),
		     HELPER(timer_set_callback),
		     MOV_REG(R1, R6),
		     MOV_IMM(R2, 200 * 1000 * 1000),
		     MOV_IMM(R3, 0),
		     HELPER(timer_start),
		     EXIT),
		SUB("cb", CALL_PROG(0, 1), RETURN(0)),
	};
	const char *name = "timer_of_caller";
	int before, at, after, fd, ret = -1, i;
	bool ran;

	rcu_settle();
	before = count_progs();
	counters_zero();
	fd_array[0] = LOAD_PROG(counts);
	fd = ACCEPT_PROG(name, sets_timer);
	test_run(fd, &ret);
	close(fd);
	close(fd_array[0]);
	rcu_settle();
	at = count_progs();
	ran = !ret && counted();
	maps_close();
	after = count_progs();
	for (i = 0; i < 500 && after != before; i++) {
		usleep(10000);
		after = count_progs();
	}
	sub_result(name, "run", ran && at == before + 2 && after == before,
		   "%d, ran %d; %d, %d, %d programs", ret, ran, before, at, after);
}

/* Each calls the one before; there can be as many as there can be functions in a row. */
static void programs_in_a_row(void)
{
	static const struct func first[] = { XDP_MAIN, FUNCTION };
	static const struct func next[] = {
		ROOT("lib", XDP, MOV_IMM(R1, 5), CALL_FUNC(1), EXIT),
		EXPORT("f", PROTO_INT, CALL_PROG(0, 1), EXIT),
	};
	const char *name = "fifteen_programs_in_a_row";
	int before, fd, n, ret = -1, there;

	rcu_settle();
	before = count_progs();
	fd = LOAD_PROG(first);
	for (n = 1; fd >= 0 && n < 20; n++) {
		fd_array[0] = fd;
		fd = LOAD_PROG(next);
		if (fd >= 0)
			close(fd_array[0]);
	}
	test_run(fd_array[0], &ret);
	rcu_settle();
	there = count_progs() - before;
	result(name, n == 16 && ret == 5 && there == 15 &&
	       strstr(log_text, "the call stack of 17 frames is too deep"),
	       "number %d fails: %d, the last returns %d, %d programs: %s", n, fd, ret, there,
	       log_tail());
	close(fd_array[0]);
	for (n = 0; n < 20 && count_progs() != before; n++)
		rcu_settle();
	sub_result(name, "gone", count_progs() == before, "%d programs, %d before", count_progs(),
		   before);
}

/* The program array of a callee holds its caller, until nobody else has the array. */
static void callee_holds_its_caller(void)
{
	const char *name = "program_array_of_callee_holds_caller";
	int array = map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0), before, lib, fd, err, there;
	const struct func jumps[] = {
		ROOT("lib", XDP,
		     LD_MAP(R2, array),
		     MOV_IMM(R3, 0),
		     HELPER(tail_call),
		     RETURN(2)),
		FUNCTION,
	};

	rcu_settle();
	before = count_progs();
	lib = LOAD_PROG(jumps);
	fd_array[0] = lib;
	fd = ACCEPT_PROG(name, caller);
	err = map_set(array, 0, &fd);
	close(fd);
	close(lib);
	rcu_settle();
	there = count_progs();
	close(array);
	rcu_settle();
	rcu_settle();
	sub_result(name, "gone", !err && there == before + 2 && count_progs() == before,
		   "%d, %d programs, then %d, %d before", err, there, count_progs(), before);
}

static void scenarios(void)
{
	int before;

	rcu_settle();
	before = count_progs();
	callee_closed_first(before);
	caller_closed_first(before);
	rcu_settle();
	three_programs(before);
	caller_of_group(before);
	processes();
	failures();
	callbacks();
	timer_of_caller();
	callee_holds_its_caller();
	programs_in_a_row();
}

const struct insn_group call_lifetime_group = {
	.name = "call_lifetime",
	.scenarios = scenarios,
};
