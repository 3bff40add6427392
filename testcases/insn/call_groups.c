// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Groups that call functions of other programs: what a callee does holds for the roots that get to
 * it, and what is called stays as long as the last of the roots.
 */

#define FIVE MOV_IMM(R1, 5)
#define FUNCTION EXPORT("f", PROTO_INT, IDENTITY)
#define COUNTS SUB("s", INC(0), RETURN(0))

static const struct func library[] = { XDP_MAIN, FUNCTION };

static const struct func xdp_group[] = {
	ROOT("xa", XDP, FIVE, CALL_FUNC(2), EXIT),
	ROOT("xb", XDP, MOV_IMM(R1, 6), CALL_FUNC(2), EXIT),
	SUB_PROTO("s", PROTO_INT, CALL_PROG(0, 1), EXIT),
};

/* A multi-root load with fd_array. Returns 0 or errno. */
static int load_callers(const struct func *funcs, int n)
{
	load_prepare(&loaded, funcs, n);
	loaded.attr.fd_array = (long)fd_array;
	return load_do(&loaded);
}

#define LOAD_CALLERS(funcs) load_callers(funcs, ARRAY_SIZE(funcs))

/* Only the root that calls what overrides a return value is kept from other functions. */
static void override_of_one_root(void)
{
	static const struct func overrides[] = {
		MAIN(KPROBE),
		EXPORT_TAG("f", PROTO_PTREGS, "arg:ctx",
			   MOV_IMM(R2, 0),
			   HELPER(override_return),
			   RETURN(0)),
	};
	static const struct func callers[] = {
		ROOT("calls", KPROBE, CALL_PROG(0, 1), CALL_FUNC(2), EXIT),
		ROOT("does_not", KPROBE, CALL_FUNC(2), EXIT),
		COUNTS,
	};
	const char *name = "callee_of_one_root_overrides_return";
	int calls, does_not;

	fd_array[0] = LOAD_PROG(overrides);
	if (fd_array[0] < 0) {
		skipped(name, "no override_return in this kernel");
		skipped("callee_of_one_root_overrides_return/attach", "the same");
		return;
	}
	expect_load(name, LOAD_CALLERS(callers), 0, NULL);
	calls = attach_kprobe(loaded.fds[0], "__set_task_comm");
	does_not = attach_kprobe(loaded.fds[1], "__set_task_comm");
	sub_result(name, "attach", calls == -EINVAL && does_not >= 0, "%d, %d", calls, does_not);
	if (calls >= 0)
		close(calls);
	if (does_not >= 0)
		close(does_not);
	close_all(&loaded);
	close(fd_array[0]);
}

/* So it is with what is read from a record; the order of roots does not matter. */
static void far_read_of_one_root(bool second)
{
	static const struct func reads[] = {
		MAIN(TRACEPOINT),
		EXPORT_TAG("f", PROTO_LONGS, "arg:ctx",
			   BPF_LDX_MEM(BPF_DW, R0, R1, 160),
			   RETURN(0)),
	};
	static const struct func roots[] = {
		ROOT("calls", TRACEPOINT, CALL_PROG(0, 1), CALL_FUNC(2), EXIT),
		ROOT("does_not", TRACEPOINT, CALL_FUNC(2), EXIT),
	};
	struct func callers[] = { roots[second], roots[!second], COUNTS };
	const char *name = second ? "callee_of_second_root_reads_far"
				  : "callee_of_first_root_reads_far";
	int calls, does_not;

	fd_array[0] = LOAD_PROG(reads);
	expect_load(name, LOAD_CALLERS(callers), 0, NULL);
	calls = attach_tracepoint(loaded.fds[second], "sched/sched_switch");
	does_not = attach_tracepoint(loaded.fds[!second], "sched/sched_switch");
	sub_result(name, "attach", calls == -EACCES && does_not >= 0, "%d, %d: %s", calls,
		   does_not, log_tail());
	if (calls >= 0)
		close(calls);
	if (does_not >= 0)
		close(does_not);
	close_all(&loaded);
	close(fd_array[0]);
}

/* The callee is closed, then one root; the other goes on. */
static void last_root_keeps_callee(void)
{
	static const struct func replaces = EXTENSION("f", PROTO_INT, RETURN(77));
	const char *name = "group_of_callers";
	int before, lib, ext, early, late, a = -1, b = -1, there, gone;
	static struct load roots;
	__u32 id;

	rcu_settle();
	before = count_progs();
	lib = LOAD_PROG(library);
	fd_array[0] = lib;
	view_get(lib, &view0);
	id = view0.info.id;
	expect_load(name, LOAD_CALLERS(xdp_group), 0, NULL);
	roots = loaded;
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &replaces);
	early = attach_link(ext, 0);
	test_run(roots.fds[0], &a);
	close(roots.fds[0]);
	roots.fds[0] = -1;
	rcu_settle();
	late = attach_link(ext, 0);
	close(ext);
	close(lib);
	rcu_settle();
	there = id_exists(id);
	test_run(roots.fds[1], &b);
	sub_result(name, "run", a == 5 && b == 6 && there, "%d, %d, exists %d", a, b, there);
	sub_result(name, "not_replaced", early == -EBUSY && late == -EBUSY, "%d, %d", early, late);
	close_all(&roots);
	rcu_settle();
	gone = !id_exists(id);
	sub_result(name, "gone", gone && count_progs() == before, "gone %d, %d programs, %d before",
		   gone, count_progs(), before);
}

/* The second root is refused, or the log is too small in the end: the callee is let go. */
static void failures(void)
{
	static const struct func second_is_bad[] = {
		ROOT("xa", XDP, FIVE, CALL_FUNC(2), EXIT),
		ROOT("xb", XDP, FIVE, CALL_FUNC(2), MOV_REG(R0, R9), EXIT),
		SUB_PROTO("s", PROTO_INT, CALL_PROG(0, 1), EXIT),
	};
	static const struct func replaces = EXTENSION("f", PROTO_INT, RETURN(77));
	const char *name = "group_of_callers_with_bad_root";
	int before, lib, ext, link, err;

	rcu_settle();
	before = count_progs();
	lib = LOAD_PROG(library);
	fd_array[0] = lib;
	expect_load(name, LOAD_CALLERS(second_is_bad), EACCES, "R9 !read_ok");
	load_prepare(&loaded, xdp_group, ARRAY_SIZE(xdp_group));
	loaded.attr.fd_array = (long)fd_array;
	loaded.attr.log_size = 128;
	err = load_do(&loaded);
	expect_load("group_of_callers_log_too_small", err, ENOSPC, NULL);
	rcu_settle();
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &replaces);
	link = attach_link(ext, 0);
	sub_result(name, "callee_is_free", link >= 0, "%d, %d", ext, link);
	if (link >= 0)
		close(link);
	close(ext);
	close(lib);
	rcu_settle();
	sub_result(name, "nothing_left", count_progs() == before, "%d programs, %d before",
		   count_progs(), before);
}

/* Each root shows the callees of the group, and calls refer to them by index. */
static void views(void)
{
	static const struct func two[] = {
		ROOT("xa", XDP, FIVE, CALL_PROG(1, 1), EXIT),
		ROOT("xb", XDP, FIVE, CALL_FUNC(2), EXIT),
		SUB_PROTO("s", PROTO_INT, CALL_PROG(0, 1), EXIT),
	};
	const char *name = "group_shows_callees";
	__u32 ids[2] = { 0 };
	bool ok = true;
	int r, i;

	for (i = 0; i < 2; i++) {
		fd_array[i] = LOAD_PROG(library);
		view_get(fd_array[i], &view0);
		ids[i] = view0.info.id;
	}
	view_get(fd_array[0], &view1);
	view_get(fd_array[1], &view2);
	expect_load(name, LOAD_CALLERS(two), 0, NULL);
	for (r = 0; r < 2; r++) {
		int calls = 0;

		view_get(loaded.fds[r], &view0);
		for (i = 0; i < view0.nr_xlated; i++) {
			const struct bpf_insn *insn = &view0.xlated[i];

			if (insn->code != (BPF_JMP | BPF_CALL) ||
			    insn->src_reg != BPF_PSEUDO_PROG_CALL)
				continue;
			calls++;
			ok &= insn->off < (int)view0.info.nr_callee_ids &&
			      view0.callees[insn->off] == ids[!r];
		}
		ok &= calls == 1 && calls_of(&view0, (r ? &view1 : &view2)->ksyms[1]) == 1;
	}
	sub_result(name, "calls", ok, "%d callees: %u %u, not %u %u", view0.info.nr_callee_ids,
		   view0.callees[0], view0.callees[1], ids[0], ids[1]);
	close_all(&loaded);
	close(fd_array[0]);
	close(fd_array[1]);
}

static void hardened(void)
{
	const char *name = "group_of_callers_with_blinded_constants";
	int a = -1, b = -1;

	write_string("/proc/sys/net/core/bpf_jit_harden", "2");
	fd_array[0] = LOAD_PROG(library);
	expect_load(name, LOAD_CALLERS(xdp_group), 0, NULL);
	test_run(loaded.fds[0], &a);
	test_run(loaded.fds[1], &b);
	write_string("/proc/sys/net/core/bpf_jit_harden", "0");
	sub_result(name, "run", a == 5 && b == 6, "%d, %d", a, b);
	close_all(&loaded);
	close(fd_array[0]);
}

/* A group may call, and be called, and what it calls stays as long as its callers. */
static void group_in_between(void)
{
	static const struct func middle[] = {
		ROOT("xa", XDP, RETURN(2)),
		ROOT("xb", XDP, RETURN(2)),
		EXPORT("g", PROTO_INT, CALL_PROG(0, 1), EXIT),
	};
	static const struct func last[] = { ROOT("c", XDP, FIVE, CALL_PROG(0, 2), EXIT) };
	const char *name = "group_between_caller_and_callee";
	int before, fd, ret = -1, there;

	rcu_settle();
	before = count_progs();
	fd_array[0] = LOAD_PROG(library);
	expect_load(name, LOAD_CALLERS(middle), 0, NULL);
	close(fd_array[0]);
	fd_array[0] = loaded.fds[1];
	loaded.fds[1] = -1;
	close_all(&loaded);
	fd = LOAD_PROG(last);
	close(fd_array[0]);
	rcu_settle();
	there = count_progs() - before;
	test_run(fd, &ret);
	close(fd);
	rcu_settle();
	sub_result(name, "run", ret == 5 && there == 3 && count_progs() == before,
		   "%d, %d programs, then %d", ret, there, count_progs() - before);
}

static void scenarios(void)
{
	override_of_one_root();
	far_read_of_one_root(false);
	far_read_of_one_root(true);
	last_root_keeps_callee();
	failures();
	views();
	hardened();
	group_in_between();
}

const struct insn_group call_groups_group = {
	.name = "call_groups",
	.scenarios = scenarios,
};
