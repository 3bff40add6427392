// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

/*
 * How long programs live that are called, and what else may happen to them: freplace, fentry, JIT switches.
 */

#define IDENTITY MOV_REG(R0, R1), EXIT
#define XDP_MAIN ROOT("lib", XDP, MOV_IMM(R0, 2), EXIT)
#define CALLER ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT)

static bool id_exists(uint32_t id)
{
	union bpf_attr a;
	int fd;

	memset(&a, 0, sizeof(a));
	a.prog_id = id;
	fd = bpf(BPF_PROG_GET_FD_BY_ID, &a, sizeof(a));
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void orders(void)
{
	struct func l[] = { XDP_MAIN, EXPORT("f", PROTO_INT, IDENTITY) }, c[] = { CALLER };
	struct func middle[] = { XDP_MAIN, EXPORT("g", PROTO_INT, CALL_PROG(0, 1), EXIT) };
	int before, lib, fd, ret = -1;
	uint32_t id;

	rcu_settle();
	before = count_progs();
	lib = fd_array[0] = LIBRARY(l);
	view_get(lib, &view0);
	id = view0.i.id;
	fd = CALL_ACCEPT("P95 callee is closed first", c);
	close(lib);
	rcu_settle();
	test_run(fd, &ret);
	result("P95/run", ret == 5 && id_exists(id) && kallsyms_count("_f") == 1, "%d, exists %d, symbols %d", ret,
	       id_exists(id), kallsyms_count("_f"));
	CALL_REFUSE("P95b FD is gone", c, EBADF, "is no program");
	close(fd);
	rcu_settle();
	result("P95/gone with its caller", !id_exists(id) && count_progs() == before && !kallsyms_count("_f"),
	       "exists %d, %d programs, %d before", id_exists(id), count_progs(), before);

	lib = fd_array[0] = LIBRARY(l);
	fd = CALL_ACCEPT("P96 caller is closed first", c);
	close(fd);
	rcu_settle();
	result("P96/callee stays", count_progs() == before + 1, "%d", count_progs());
	fd_array[0] = LIBRARY(middle);
	close(lib);
	lib = fd_array[0];
	fd = CALL_ACCEPT("P97 three programs", c);
	close(lib);
	rcu_settle();
	ret = -1;
	test_run(fd, &ret);
	result("P97/run", ret == 5 && count_progs() == before + 3, "%d, %d programs", ret, count_progs());
	close(fd);
	rcu_settle();
	result("P97/gone", count_progs() == before, "%d programs, %d before", count_progs(), before);

	/* a root of a group holds the group */
	struct func group[] = { ROOT("ka", KPROBE, MOV_IMM(R0, 0), EXIT), ROOT("xb", XDP, MOV_IMM(R0, 0), EXIT),
				EXPORT("f", PROTO_INT, IDENTITY) };
	struct func g[] = { ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 2), EXIT) };
	load_prepare(&loaded, group, 3);
	load_do(&loaded);
	struct load roots = loaded;
	fd_array[0] = roots.fds[1];
	fd = CALL_ACCEPT("P98 caller of a group", g);
	close_all(&roots);
	rcu_settle();
	ret = -1;
	test_run(fd, &ret);
	result("P98/run", ret == 5 && count_progs() == before + 2, "%d, %d programs", ret, count_progs());
	close(fd);
	rcu_settle();
	result("P98/gone", count_progs() == before && !kallsyms_count("_f"), "%d programs, %d before", count_progs(),
	       before);
}

static int pin(int fd, const char *path)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.pathname = (long)path;
	a.bpf_fd = fd;
	return bpf(BPF_OBJ_PIN, &a, sizeof(a)) ? -errno : 0;
}

static int get_pinned(const char *path)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.pathname = (long)path;
	return bpf(BPF_OBJ_GET, &a, sizeof(a));
}

/* A library that a process has pinned and left, called by one process for each type. */
static void processes(void)
{
	struct func lib[] = { ROOT("kp", KPROBE, MOV_IMM(R0, 0), EXIT), ROOT("tp", TRACEPOINT, MOV_IMM(R0, 0), EXIT),
			      ROOT("tc", TC, MOV_IMM(R0, 0), EXIT), ROOT("xd", XDP, MOV_IMM(R0, 0), EXIT),
			      EXPORT("f", PROTO_INT, INC(0), MOV_REG(R0, R1), EXIT) };
	static const char *const paths[] = { "/sys/fs/bpf/insn-kp", "/sys/fs/bpf/insn-tp", "/sys/fs/bpf/insn-tc",
					     "/sys/fs/bpf/insn-xd" };
	int before, st, bad = 0;
	uint64_t v[16];
	pid_t p;

	rcu_settle();
	before = count_progs();
	fflush(stdout);
	p = fork();
	if (!p) {
		load_prepare(&loaded, lib, ARRAY_LEN(lib));
		load_do(&loaded);
		for (int i = 0; i < 4 && !loaded.err; i++)
			loaded.err = -pin(loaded.fds[i], paths[i]);
		_exit(loaded.err);
	}
	waitpid(p, &st, 0);
	result("P99 library is pinned by a process that leaves", st == 0 && count_progs() == before + 4,
	       "status %#x, %d programs", st, count_progs());
	counters_zero();
	for (int i = 0; i < 4; i++) {
		p = fork();
		if (!p) {
			struct func c[] = { ROOT("c", lib[i].type, MOV_IMM(R1, 5), CALL_PROG(0, 4), EXIT) };
			int fd, ret = 5, at = -1;

			fd_array[0] = get_pinned(paths[i]);
			fd = LIBRARY(c);
			if (i == 0)
				at = attach_kprobe(fd, "__set_task_comm");
			else if (i == 1)
				at = attach_tp(fd, "syscalls/sys_enter_getpgid");
			else
				test_run(fd, &ret);
			set_comm(1);
			getpgid(0);
			_exit(fd < 0 || ret != 5 || (i < 2 && at < 0));
		}
		waitpid(p, &st, 0);
		bad += !!st;
	}
	counters_read(v);
	result("P99/callers", !bad && v[0] >= 4, "%d failed, %llu calls", bad, (long long)v[0]);
	for (int i = 0; i < 4; i++)
		unlink(paths[i]);
	rcu_settle();
	result("P99/gone", count_progs() == before, "%d programs, %d before", count_progs(), before);
}

static void small_log(struct load *l)
{
	l->attr.log_size = 128;
}

/* loads that fail when a callee is held already, early and late */
static void failures(void)
{
	struct func l[] = { XDP_MAIN, EXPORT("f", PROTO_INT, IDENTITY) }, c[] = { CALLER };
	struct func bad[] = { ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), MOV_REG(R0, BPF_REG_9), EXIT) };
	int before;

	rcu_settle();
	before = count_progs();
	fd_array[0] = LIBRARY(l);
	CALL_REFUSE("P100 refused behind the call", bad, EACCES, "R9 !read_ok");
	tweak = small_log;
	CALL_REFUSE("P101 log too small, after the JIT", c, ENOSPC, NULL);
	close(fd_array[0]);
	rcu_settle();
	result("P101/nothing left", count_progs() == before, "%d programs, %d before", count_progs(), before);
}

static void many(void)
{
	struct func l[] = { XDP_MAIN, EXPORT("f", PROTO_INT, IDENTITY) };
	static struct bpf_insn insns[2 * 65 + 1];
	struct func c[] = { { .name = "c", .type = XDP, .global = 1, .insns = insns } };
	int ret = -1, fd;

	for (int n = 64; n <= 65; n++) {
		fd_array[n - 1] = 0;
		for (int i = 0; i < n; i++) {
			if (n == 64 || i == 64)
				fd_array[i] = LIBRARY(l);
			insns[2 * i] = (struct bpf_insn)MOV_IMM(R1, i);
			insns[2 * i + 1] = (struct bpf_insn)CALL_PROG(i, 1);
		}
		insns[2 * n] = (struct bpf_insn)EXIT;
		c[0].n = 2 * n + 1;
		if (n == 65) {
			CALL_REFUSE("P103 65 programs", c, E2BIG, "more than 64 programs are called");
			break;
		}
		fd = CALL_ACCEPT("P102 64 programs", c);
		test_run(fd, &ret);
		view_get(fd, &view0);
		result("P102/run", ret == 63 && view0.i.nr_callee_ids == 64, "%d, %d callees", ret,
		       view0.i.nr_callee_ids);
		close(fd);
	}
	for (int i = 0; i < 65; i++)
		close(fd_array[i]);

	struct func twice[] = { ROOT("c", XDP, MOV_IMM(R1, 7), CALL_PROG(0, 1), MOV_REG(R1, R0), CALL_PROG(1, 1), EXIT) };
	fd_array[0] = LIBRARY(l);
	fd_array[1] = dup(fd_array[0]);
	fd = CALL_ACCEPT("P104 two FDs of one program", twice);
	view_get(fd, &view0);
	result("P104/callee_ids", view0.i.nr_callee_ids == 1, "%d callees", view0.i.nr_callee_ids);
	close(fd);
	close(fd_array[0]);
	close(fd_array[1]);
}

static void replaced(void)
{
	struct func l[] = { XDP_MAIN, EXPORT("f", PROTO_INT, IDENTITY), EXPORT("other", PROTO_INT, IDENTITY) };
	struct func c[] = { CALLER }, ext[] = { { .name = "f", .type = BPF_PROG_TYPE_EXT, .global = 1,
						  .proto = PROTO_INT, INSNS(MOV_IMM(R0, 77), EXIT) } };
	struct func caller_ext[] = { { .name = "f", .type = BPF_PROG_TYPE_EXT, .global = 1, .proto = PROTO_INT,
				       INSNS(CALL_PROG(0, 2), EXIT) } };
	struct func tracer[] = { { .name = "t", .type = BPF_PROG_TYPE_TRACING, .global = 1,
				   INSNS(INC(0), MOV_IMM(R0, 0), EXIT) } };
	struct func fentry_caller[] = { { .name = "t", .type = BPF_PROG_TYPE_TRACING, .global = 1,
					  INSNS(MOV_IMM(R1, 1), CALL_PROG(0, 2), MOV_IMM(R0, 0), EXIT) } };
	int lib = LIBRARY(l), e, fd, link, ret = -1;
	uint64_t v[16];

	fd_array[0] = lib;
	fd = CALL_ACCEPT("P105 callee, then freplace", c);
	e = load_on(BPF_PROG_TYPE_EXT, lib, 1, ext, 1);
	result("P105/extension loads", e > 0, "%d: %s", e, tail_of(log_text));
	link = attach_on(e, 0);
	result("P105/attach", link == -EBUSY, "%d", link);
	test_run(fd, &ret);
	result("P105/run", ret == 5, "%d", ret);
	close(fd);
	rcu_settle();
	link = attach_on(e, 0);
	result("P106 freplace when the caller is gone", link > 0, "%d", link);
	CALL_REFUSE("P107 call of what was replaced", c, EBUSY, "cannot be called: it was replaced in part");
	if (link > 0)
		close(link);
	close(e);
	e = load_on(BPF_PROG_TYPE_EXT, lib, 1, caller_ext, 1);
	result("P108 extension as caller", e == -EINVAL && strstr(log_text, "cannot call other programs"), "%d: %s", e,
	       tail_of(log_text));
	close(lib);

	lib = fd_array[0] = LIBRARY(l);
	fd = CALL_ACCEPT("P109 callee, then fentry", c);
	e = load_on(BPF_PROG_TYPE_TRACING, lib, 1, tracer, 1);
	link = e < 0 ? e : attach_on(e, BPF_TRACE_FENTRY);
	counters_zero();
	ret = -1;
	test_run(fd, &ret);
	counters_read(v);
	result("P109/traced", link > 0 && ret == 5 && v[0] == 1, "link %d ret %d count %d: %s", link, ret, (int)v[0],
	       tail_of(log_text));
	if (link > 0)
		close(link);
	close(e);
	close(fd);
	e = load_on(BPF_PROG_TYPE_TRACING, lib, 1, fentry_caller, 1);
	result("P110 fentry of the callee as caller", e == -EINVAL && strstr(log_text, "cannot call other programs"),
	       "%d: %s", e, tail_of(log_text));
	close(lib);
}

static void switches(void)
{
	struct func l[] = { XDP_MAIN, EXPORT("f", PROTO_INT, MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 0x11111), EXIT) };
	struct func c[] = { ROOT("c", XDP, MOV_IMM(R1, 0x12345), CALL_PROG(0, 1), EXIT) };
	int ret = -1, fd;

	writestr("/proc/sys/net/core/bpf_jit_enable", "0");
	if (readint("/proc/sys/net/core/bpf_jit_enable") == 0) {
		int slow = LIBRARY(l);

		fd_array[0] = slow;
		CALL_REFUSE("P111 JIT off", c, EOPNOTSUPP, "calling functions of other programs requires JIT");
		writestr("/proc/sys/net/core/bpf_jit_enable", "1");
		CALL_REFUSE("P112 callee is not JITed", c, EINVAL, "cannot be called: the program is not JITed");
		close(slow);
	} else {
		skip("P111 JIT off", "the JIT is always on in this kernel");
	}
	writestr("/proc/sys/net/core/bpf_jit_harden", "2");
	fd_array[0] = LIBRARY(l);
	fd = CALL_ACCEPT("P113 constants blinded", c);
	test_run(fd, &ret);
	result("P113/run", ret == 0x23456, "%#x", ret);
	writestr("/proc/sys/net/core/bpf_jit_harden", "0");
	close(fd);
	close(fd_array[0]);
}

/* functions that vanish must not shift those that are exported */
static void layout(void)
{
	struct func l[] = { ROOT("lib", XDP, MOV_IMM(R0, 2), BPF_JMP_IMM(BPF_JEQ, R0, 2, 1), CALL_FUNC(1), EXIT),
			    SUB("dead", MOV_IMM(R0, 1), EXIT),
			    EXPORT("f", PROTO_INT, MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 2), EXIT),
			    EXPORT("g", PROTO_INT, MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 3), EXIT) };
	struct func c[] = { ROOT("c", XDP, MOV_IMM(R1, 10), CALL_PROG(0, 2), MOV_REG(R1, R0), CALL_PROG(0, 3), EXIT) };
	struct func dead[] = { ROOT("c", XDP, MOV_IMM(R0, 4), MOV_IMM(R1, 1), BPF_JMP_IMM(BPF_JEQ, R1, 1, 1),
				    CALL_PROG(0, 2), EXIT) };

	fd_array[0] = LIBRARY(l);
	CALL_RUNS("P115 behind a dead function", c, 15);
	CALL_RUNS("P116 call that is dead", dead, 4);
	close(fd_array[0]);
}

/* verifying a caller does not depend on what it calls */
static void cost(void)
{
	static struct bpf_insn body[50003];
	struct func l[] = { XDP_MAIN, { .name = "f", .global = 1, .exported = 1, .proto = PROTO_INT, .insns = body } };
	struct func c[] = { CALLER };
	int sizes[] = { 10, 1000, 50000 }, fd;
	unsigned seen[3], own[3];

	for (int i = 0; i < 3; i++) {
		for (int j = 0; j < sizes[i]; j++)
			body[j] = (struct bpf_insn)MOV_IMM(R0, j);
		body[sizes[i]] = (struct bpf_insn)EXIT;
		l[1].n = sizes[i] + 1;
		tweak = no_log;
		fd_array[0] = LIBRARY(l);
		fd = load_with_btf(c, 1);
		view_get(fd_array[0], &view1);
		own[i] = view1.i.verified_insns;
		view_get(fd, &view0);
		seen[i] = view0.i.verified_insns;
		close(fd);
		close(fd_array[0]);
	}
	printf("# verified: callees %u %u %u, callers %u %u %u\n", own[0], own[1], own[2], seen[0], seen[1], seen[2]);
	result("P120 cost of verifying a caller", seen[0] == 3 && seen[1] == 3 && seen[2] == 3 && own[2] > 50000,
	       "callees %u %u %u, callers %u %u %u", own[0], own[1], own[2], seen[0], seen[1], seen[2]);
}

void progcall_life_cases(void)
{
	if (opt_alone)
		return;
	orders();
	processes();
	failures();
	many();
	replaced();
	switches();
	layout();
	cost();
}
