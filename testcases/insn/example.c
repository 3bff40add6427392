// SPDX-License-Identifier: GPL-2.0
#include "example.h"

/*
 * The example of the series: each kind of root reaches its own arm of the shared function.
 * Attacks the merge of the roots: one image, called by every root, living as long as any of them.
 */

struct attached {
	int kprobe, tracepoint, cgroup;		/* FDs of the roots, or -1 */
	int kprobe_event, tracepoint_event;	/* FDs of the events */
	int cgroup_err;
};

static int root_fd(int type)
{
	int i;

	for (i = 0; i < loaded.nr_roots; i++)
		if (loaded.roots[i].prog_type == type)
			return loaded.fds[i];
	return -1;
}

static void check_image(const char *name)
{
	int err0 = view_get(loaded.fds[0], &view0), err1 = view_get(loaded.fds[1], &view1);
	int images = kallsyms_count("_bpf_subprog"), shared, calls0, calls1;
	__u64 addr = 0;

	shared = shared_image(&view0, &view1, &addr);
	calls0 = calls_of(&view0, addr);
	calls1 = calls_of(&view1, addr);
	sub_result(name, "image",
		   !err0 && !err1 && shared == 1 && view0.ksyms[0] != view1.ksyms[0] &&
		   addr == view0.ksyms[1] && calls0 == 1 && calls1 == 1 && images == 1 &&
		   view0.info.group_id && view0.info.group_id == view1.info.group_id &&
		   view0.info.id != view1.info.id,
		   "shared %d at %llx, entries %llx %llx, calls %d %d, images %d, group %u %u, id %u %u",
		   shared, addr, view0.ksyms[0], view1.ksyms[0], calls0, calls1, images,
		   view0.info.group_id, view1.info.group_id, view0.info.id, view1.info.id);
	sub_result(name, "view",
		   view1.info.nr_func_info == 2 && view1.funcs[0].off == 0 &&
		   view1.funcs[1].off > 0 && view1.info.nr_map_ids == 1 && view1.nr_xlated &&
		   view1.xlated[view1.funcs[1].off - 3].code == (BPF_JMP | BPF_CALL),
		   "root#1 nr_func_info %u off %u %u maps %u xlated %d", view1.info.nr_func_info,
		   view1.funcs[0].off, view1.funcs[1].off, view1.info.nr_map_ids, view1.nr_xlated);
}

static void attach_roots(struct attached *at)
{
	at->kprobe = root_fd(KPROBE);
	at->tracepoint = root_fd(TRACEPOINT);
	at->cgroup = root_fd(CGROUP_SKB);
	at->kprobe_event = -1;
	at->tracepoint_event = -1;
	at->cgroup_err = -1;
	if (at->kprobe >= 0)
		at->kprobe_event = attach_kprobe(at->kprobe, "__set_task_comm");
	if (at->tracepoint >= 0)
		at->tracepoint_event = attach_tracepoint(at->tracepoint, "sched/sched_switch");
	if (at->cgroup >= 0)
		at->cgroup_err = cgroup_attach(at->cgroup, INGRESS);
}

static void check_attached(const char *name, const struct attached *at)
{
	bool ok = true;
	__u64 v[16];
	int got;

	counters_zero();
	set_comm(10);
	got = udp_ping(5);
	usleep(20000);
	counters_read(v);
	/* v[8]: an address of the kernel */
	if (at->kprobe >= 0)
		ok &= at->kprobe_event >= 0 && v[0] >= 10 && v[8] >> 48 == 0xffff;
	if (at->tracepoint >= 0)
		ok &= at->tracepoint_event >= 0 && v[1] >= 10;
	if (at->cgroup >= 0)
		ok &= at->cgroup_err == 0 && v[2] == 5 && v[10] == 48 && got == 5;
	sub_result(name, "run", ok,
		   "attach %d %d %d, counts %llu (ip %llx) %llu (next_pid %llu) %llu (len %llu), udp %d",
		   at->kprobe_event, at->tracepoint_event, at->cgroup_err, v[0], v[8], v[1], v[9],
		   v[2], v[10], got);
}

/* The first root is unloaded: the shared image stays, and the others run. */
static void check_first_gone(const char *name, const struct attached *at)
{
	const char *gone = loaded.roots[0].prog_name, *left = loaded.roots[1].prog_name;
	int images, images0, images1;
	bool ok;
	__u64 v[16];

	close(loaded.fds[0]);
	loaded.fds[0] = -1;
	rcu_settle();
	counters_zero();
	set_comm(5);
	udp_ping(3);
	usleep(20000);
	counters_read(v);
	images = kallsyms_count("_bpf_subprog");
	images0 = kallsyms_count(gone);
	images1 = kallsyms_count(left);
	ok = images == 1 && images0 == 0 && images1 == 1 && v[0] == 0;
	if (at->tracepoint_event >= 0)
		ok &= v[1] > 0;
	if (at->cgroup >= 0)
		ok &= v[2] == 3;
	sub_result(name, "unload0", ok, "images %d root#0 %d root#1 %d, counts %llu %llu %llu",
		   images, images0, images1, v[0], v[1], v[2]);
}

static void check_example(const char *name)
{
	struct attached at;

	check_image(name);
	attach_roots(&at);
	check_attached(name, &at);
	if (at.kprobe_event >= 0)
		close(at.kprobe_event);
	if (loaded.roots[0].prog_type == TRACEPOINT && at.tracepoint_event >= 0) {
		close(at.tracepoint_event);
		at.tracepoint_event = -1;
	}
	check_first_gone(name, &at);
	if (at.tracepoint_event >= 0)
		close(at.tracepoint_event);
	if (at.cgroup >= 0)
		cgroup_detach(at.cgroup, INGRESS);
	close_all(&loaded);
	rcu_settle();
	sub_result(name, "unload", kallsyms_count("_bpf_subprog") == 0 && count_progs() == 0,
		   "images %d, programs %d", kallsyms_count("_bpf_subprog"), count_progs());
}

static const struct insn_test tests[] = {
	{
		.name = "two_trivial_roots", /* T00 */
		.funcs = {
			ROOT("r0", SOCKET_FILTER, RETURN(0)),
			ROOT("r1", SOCKET_FILTER, RETURN(7)),
		},
		.runs = { RETURNS(0), RETURNS(7) },
	},
	{
		.name = "one_root", /* T00b */
		.funcs = {
			ROOT("only", XDP, CALL_FUNC(1), EXIT),
			SUB("s", RETURN(2)),
		},
		.multi_root = true,
		.runs = { RETURNS(2) },
	},
	{
		.name = "example_kprobe_tracepoint", /* T01 */
		.funcs = {
			EXAMPLE_KPROBE(2),
			EXAMPLE_TRACEPOINT(2),
			EXAMPLE_SUB,
		},
		.check = check_example,
	},
	{
		.name = "example_tracepoint_kprobe", /* T01r */
		.funcs = {
			EXAMPLE_TRACEPOINT(2),
			EXAMPLE_KPROBE(2),
			EXAMPLE_SUB,
		},
		.check = check_example,
	},
	{
		.name = "example_kprobe_cgroup", /* T01g */
		.funcs = {
			EXAMPLE_KPROBE(2),
			EXAMPLE_CGROUP(2),
			EXAMPLE_SUB,
		},
		.check = check_example,
	},
	{
		.name = "example_shared_function_in_the_middle", /* T01m */
		.funcs = { EXAMPLE_KPROBE(1), EXAMPLE_SUB, EXAMPLE_CGROUP(1) },
		.check = check_example,
	},
	{
		.name = "example_three_roots", /* T01a */
		.funcs = {
			EXAMPLE_KPROBE(3),
			EXAMPLE_TRACEPOINT(3),
			EXAMPLE_CGROUP(3),
			EXAMPLE_SUB,
		},
		.check = check_example,
	},
};

static bool stop;

static void *rename_task(void *unused)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		prctl(PR_SET_NAME, "stress");
		sched_yield();
	}
	return NULL;
}

/* One round: load, attach, and let go in one of four orders. Returns whether all went well. */
static bool attach_and_close(const struct func *funcs, int n, int order)
{
	int kprobe, tracepoint;

	load_prepare(&loaded, funcs, n);
	no_log(&loaded, 0);
	if (load_do(&loaded))
		return false;
	kprobe = attach_kprobe(loaded.fds[0], "__set_task_comm");
	tracepoint = attach_tracepoint(loaded.fds[1], "sched/sched_switch");
	if (order & 1)
		close_all(&loaded);
	usleep(2000);
	if (order & 2) {
		close(kprobe);
		close_all(&loaded);
		usleep(500);
		close(tracepoint);
	} else {
		close(tracepoint);
		usleep(500);
		close(kprobe);
		close_all(&loaded);
	}
	return kprobe >= 0 && tracepoint >= 0;
}

static void attach_while_firing(void)
{
	const struct func funcs[] = {
		EXAMPLE_KPROBE(2),
		EXAMPLE_TRACEPOINT(2),
		EXAMPLE_SUB,
	};
	const char *name = "attach_and_close_while_firing"; /* T54 */
	pthread_t threads[2];
	int bad = 0, i;

	if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
		skipped(name, "more than one CPU");
		return;
	}
	stop = false;
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, rename_task, NULL);
	for (i = 0; i < 60; i++)
		bad += !attach_and_close(funcs, ARRAY_SIZE(funcs), i);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	rcu_settle();
	rcu_settle();
	result(name, !bad && count_progs() == 0 && kallsyms_count("_bpf_subprog") == 0,
	       "bad %d programs %d images %d", bad, count_progs(),
	       kallsyms_count("_bpf_subprog"));
}

const struct insn_group example_group = {
	.name = "example",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = attach_while_firing,
};
