// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * The example of the series: each kind of root reaches its own arm of the shared function.
 * Attacks the merge of the roots: one image, called by every root, living as long as any of them.
 */

/* images that two programs have in common */
int shared_ksym(struct prog_view *a, struct prog_view *b, uint64_t *addr)
{
	int n = 0;
	for (unsigned i = 0; i < a->i.nr_jited_ksyms; i++)
		for (unsigned j = 0; j < b->i.nr_jited_ksyms; j++)
			if (a->ksyms[i] == b->ksyms[j]) {
				n++;
				*addr = a->ksyms[i];
			}
	return n;
}

/* e8 calls in the entry image of a program that hit addr */
static int calls_to(struct prog_view *p, uint64_t addr)
{
	int n = 0;
	unsigned i;
	for (i = 0; i + 5 <= p->lens[0]; i++)
		if (p->jit[i] == 0xe8 && p->ksyms[0] + i + 5 + *(int32_t *)(p->jit + i + 1) == addr)
			n++;
	return n;
}

static void example(const char *name, struct func *f, int n)
{
	uint64_t v[16], a = 0;
	int i, k = -1, t = -1, g = -1, kf = -1, tf = -1, gf = -1;
	char nm[64];
	counters_zero();
	if (!check(name, f, n, 0, NULL))
		return;
	for (i = 0; i < loaded.nroots; i++) {
		if (loaded.roots[i].prog_type == KPROBE)
			k = loaded.fds[i];
		if (loaded.roots[i].prog_type == TRACEPOINT)
			t = loaded.fds[i];
		if (loaded.roots[i].prog_type == CGROUP_SKB)
			g = loaded.fds[i];
	}
	int e0 = view_get(loaded.fds[0], &view0), e1 = view_get(loaded.fds[1], &view1);
	int sh = shared_ksym(&view0, &view1, &a);
	snprintf(nm, 64, "%s/image", name);
	result(nm,
	       !e0 && !e1 && sh == 1 && view0.ksyms[0] != view1.ksyms[0] && a == view0.ksyms[1] &&
		       calls_to(&view0, a) == 1 && calls_to(&view1, a) == 1 &&
		       kallsyms_count("_bpf_subprog") == 1 && view0.i.group_id &&
		       view0.i.group_id == view1.i.group_id && view0.i.id != view1.i.id,
	       "shared %d at %llx entries %llx %llx e8calls %d %d kallsyms %d group %u/%u ids %u %u names %s %s types %d %d verified %u",
	       sh, (long long)a, (long long)view0.ksyms[0], (long long)view1.ksyms[0], calls_to(&view0, a),
	       calls_to(&view1, a), kallsyms_count("_bpf_subprog"), view0.i.group_id, view1.i.group_id,
	       view0.i.id, view1.i.id, view0.i.name, view1.i.name, view0.i.type, view1.i.type,
	       view0.i.verified_insns);
	snprintf(nm, 64, "%s/view", name);
	result(nm,
	       view1.i.nr_func_info == 2 && view1.fi[0].off == 0 && view1.fi[1].off > 0 &&
		       view1.i.nr_map_ids == 1 && view1.nx &&
		       view1.xl[view1.fi[1].off - 3].code == (BPF_JMP | BPF_CALL),
	       "root1 nr_func_info %u off %u %u maps %u xlated %d", view1.i.nr_func_info, view1.fi[0].off,
	       view1.fi[1].off, view1.i.nr_map_ids, view1.nx);
	if (k >= 0)
		kf = attach_kprobe(k, "__set_task_comm");
	if (t >= 0)
		tf = attach_tp(t, "sched/sched_switch");
	if (g >= 0)
		gf = cgroup_attach(g, BPF_CGROUP_INET_INGRESS, 0);
	set_comm(10);
	int got = udp_ping(5);
	usleep(20000);
	counters_read(v);
	snprintf(nm, 64, "%s/run", name);
	bool ok = true;
	if (k >= 0)
		ok &= kf >= 0 && v[0] >= 10 && (v[8] >> 48) == 0xffff;
	if (t >= 0)
		ok &= tf >= 0 && v[1] >= 10;
	if (g >= 0)
		ok &= gf == 0 && v[2] == 5 && v[10] == 48 && got == 5;
	result(nm, ok,
	       "attach %d %d %d, counts kprobe %llu (ip %llx) tp %llu (next_pid %llu) cgroup %llu (len %llu) udp %d",
	       kf, tf, gf, (long long)v[0], (long long)v[8], (long long)v[1], (long long)v[9],
	       (long long)v[2], (long long)v[10], got);
	/* unload order: first root goes, shared image stays, others run */
	if (kf >= 0)
		close(kf);
	if (loaded.roots[0].prog_type == TRACEPOINT && tf >= 0) {
		close(tf);
		tf = -1;
	}

	close(loaded.fds[0]);
	loaded.fds[0] = -1;
	rcu_settle();
	counters_zero();
	set_comm(5);
	udp_ping(3);
	usleep(20000);
	counters_read(v);
	int ks = kallsyms_count("_bpf_subprog"), k0 = kallsyms_count(loaded.roots[0].prog_name),
	    k1 = kallsyms_count(loaded.roots[1].prog_name);
	ok = ks == 1 && k0 == 0 && k1 == 1 && v[0] == 0;
	if (tf >= 0)
		ok &= v[1] > 0;
	if (g >= 0)
		ok &= v[2] == 3;
	snprintf(nm, 64, "%s/unload0", name);
	result(nm, ok, "after closing root0: S %d root0 %d root1 %d in kallsyms, counts %llu %llu %llu", ks,
	       k0, k1, (long long)v[0], (long long)v[1], (long long)v[2]);
	if (tf >= 0)
		close(tf);
	if (g >= 0)
		cgroup_attach(g, BPF_CGROUP_INET_INGRESS, 1);
	close_all(&loaded);
	rcu_settle();
	snprintf(nm, 64, "%s/unload", name);
	result(nm, kallsyms_count("_bpf_subprog") == 0 && count_progs() == 0,
	       "after closing all: S %d, progs %d", kallsyms_count("_bpf_subprog"), count_progs());
}

static void trivial_probe(void)
{
	struct func f[] = { ROOT("r0", SOCKET_FILTER, MOV_IMM(R0, 0), EXIT),
			    ROOT("r1", SOCKET_FILTER, MOV_IMM(R0, 7), EXIT) };
	int rv = -1, rv1 = -1;
	ACCEPT("T00 two trivial roots", f);
	if (loaded.err)
		return;
	test_run(loaded.fds[0], &rv);
	test_run(loaded.fds[1], &rv1);
	result("T00/run", rv == 0 && rv1 == 7, "retval %d %d", rv, rv1);
	close_all(&loaded);
	struct func g[] = { ROOT("only", XDP, CALL_FUNC(1), EXIT), SUB("s", MOV_IMM(R0, 2), EXIT) };
	ACCEPT("T00b one root", g);
	rv = -1;
	if (!loaded.err)
		test_run(loaded.fds[0], &rv);
	result("T00b/run", rv == 2, "retval %d", rv);
	close_all(&loaded);
}

static volatile int stop;
static void *runner(void *p)
{
	while (!stop) {
		prctl(PR_SET_NAME, "stress");
		sched_yield();
	}
	return NULL;
}
static void stress(void)
{
	pthread_t t[2];
	int bad = 0, i, n = 60;
	stop = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
		skip("T54 attach/close while firing", "more than one CPU");
		return;
	}
	struct func f[] = { EXAMPLE_KPROBE(2), EXAMPLE_TRACEPOINT(2), EXAMPLE_SUB };
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, runner, NULL);
	for (i = 0; i < n; i++) {
		load_prepare(&loaded, f, 3);
		loaded.attr.log_level = 0;
		loaded.attr.log_buf = 0;
		loaded.attr.log_size = 0;
		if (load_do(&loaded)) {
			bad++;
			continue;
		}
		int k = attach_kprobe(loaded.fds[0], "__set_task_comm"),
		    tp = attach_tp(loaded.fds[1], "sched/sched_switch");
		if (k < 0 || tp < 0)
			bad++;
		if (i & 1)
			close_all(&loaded);
		usleep(2000);
		if (i & 2) {
			close(k);
			close_all(&loaded);
			usleep(500);
			close(tp);
		} else {
			close(tp);
			usleep(500);
			close(k);
			close_all(&loaded);
		}
	}
	stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	rcu_settle();
	rcu_settle();
	result("T54 attach/close while firing",
	       !bad && count_progs() == 0 && kallsyms_count("_bpf_subprog") == 0, "bad %d progs %d S %d", bad,
	       count_progs(), kallsyms_count("_bpf_subprog"));
}
void example_cases(void)
{
	trivial_probe();
	{
		struct func f[] = { EXAMPLE_KPROBE(2), EXAMPLE_TRACEPOINT(2), EXAMPLE_SUB };
		example("T01 example K,T", f, 3);
	}
	{
		struct func f[] = { EXAMPLE_TRACEPOINT(2), EXAMPLE_KPROBE(2), EXAMPLE_SUB };
		example("T01r example T,K", f, 3);
	}
	{
		struct func f[] = { EXAMPLE_KPROBE(2), EXAMPLE_CGROUP(2), EXAMPLE_SUB };
		example("T01g example K,G", f, 3);
	}
	{
		struct func f[] = { EXAMPLE_KPROBE(2), EXAMPLE_SUB, EXAMPLE_CGROUP(1) };
		f[0].insns[3].imm = 1;
		example("T01m sub in the middle K,S,G", f, 3);
	}
	{
		struct func f[] = { EXAMPLE_KPROBE(3), EXAMPLE_TRACEPOINT(3), EXAMPLE_CGROUP(3),
				    EXAMPLE_SUB };
		example("T01a example K,T,G", f, 4);
	}
	stress();
}
