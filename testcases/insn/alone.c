// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * If a load with several roots is accepted, any kernel accepts each root of it by itself:
 * the root together with the functions that it reaches, and nothing else. And it does the same.
 */

static int callee_of(const struct bpf_insn *insn)
{
	bool call = insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL;
	bool address = insn->code == (BPF_LD | BPF_DW | BPF_IMM) &&
		       insn->src_reg == BPF_PSEUDO_FUNC;

	return call || address ? insn->imm : -1;
}

/* Numbers the functions that @from reaches in the order of the load that they become. */
static int reach(const struct func *funcs, int from, int *number, int found)
{
	const struct bpf_insn *insns = func_insns(&funcs[from]);
	int i, callee, len = func_len(&funcs[from]);

	number[from] = found++;
	for (i = 0; i < len; i++) {
		callee = callee_of(&insns[i]);
		if (callee >= 0 && number[callee] < 0)
			found = reach(funcs, callee, number, found);
	}
	return found;
}

/* Loads a root by itself. Returns the FD or -errno. */
static int load_alone(const struct func *funcs, int n, int root)
{
	static struct bpf_insn copies[MAX_INSNS];
	struct bpf_insn *next = copies;
	struct func reached[MAX_FUNCS];
	int number[MAX_FUNCS], i, j, nr, fd;
	union bpf_attr *attr = &loaded.attr;

	memset(number, -1, sizeof(number));
	nr = reach(funcs, root, number, 0);
	for (i = 0; i < n; i++) {
		if (number[i] < 0)
			continue;
		reached[number[i]] = funcs[i];
		reached[number[i]].type = 0;
		reached[number[i]].long_insns = next;
		reached[number[i]].long_len = func_len(&funcs[i]);
		memcpy(next, func_insns(&funcs[i]), func_len(&funcs[i]) * sizeof(*next));
		for (j = 0; j < func_len(&funcs[i]); j++, next++)
			if (callee_of(next) >= 0)
				next->imm = number[next->imm];
	}
	load_prepare(&loaded, reached, nr);
	attr->prog_type = funcs[root].type;
	attr->expected_attach_type = funcs[root].attach_type;
	attr->prog_flags |= funcs[root].flags;
	attr->roots = 0;
	attr->root_cnt = 0;
	attr->root_rec_size = 0;
	fd = bpf(BPF_PROG_LOAD, attr, SINGLE_ATTR_SIZE);
	if (fd < 0)
		fd = -errno;
	close(attr->prog_btf_fd);
	return fd;
}

static void check_alone(const struct insn_test *test, const struct func *funcs, int n, int root)
{
	char what[64];
	int fd;

	if (test->setup)
		test->setup();
	fd = load_alone(funcs, n, root);
	snprintf(what, sizeof(what), "alone %s", funcs[root].name);
	sub_result(test->name, what, fd >= 0, "errno %d; log: %s", -fd, log_tail());
	if (fd >= 0)
		close(fd);
	if (test->cleanup)
		test->cleanup();
	maps_close();
}

/* What a run of a root leaves behind. */
struct seen {
	int err;		/* 0 or -errno, of the load or the run */
	int retval;
	__u64 counters[16];
	char values[4][64];	/* of MAP_ARRAY */
	char packet[128];
};

static void zero_values(void)
{
	static const char zeroes[64];
	int i;

	counters_zero();
	for (i = 0; i < 4; i++)
		map_set(map_fd(MAP_ARRAY), i, zeroes);
}

static struct seen see_run(int fd, int type)
{
	struct seen seen = { .packet = { 1, 2, 3, 4, [12] = 8 } };
	char packet[64] = { 1, 2, 3, 4, [12] = 8 };
	union bpf_attr attr;
	int i;

	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = fd;
	if (type != BPF_PROG_TYPE_RAW_TRACEPOINT) {
		attr.test.data_in = (long)packet;
		attr.test.data_size_in = sizeof(packet);
		attr.test.data_out = (long)seen.packet;
		attr.test.data_size_out = sizeof(seen.packet);
		attr.test.repeat = 1;
	}
	seen.err = bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)) ? -errno : 0;
	seen.retval = attr.test.retval;
	counters_read(seen.counters);
	for (i = 0; i < 4; i++)
		map_get(map_fd(MAP_ARRAY), i, seen.values[i]);
	return seen;
}

/* A load and a run, with new maps. @index: of the root among the roots; -1: alone */
static struct seen see(const struct insn_test *test, const struct func *funcs, int n, int root,
		       int index)
{
	struct seen seen = { 0 };
	int fd;

	zero_values();
	if (test->setup)
		test->setup();
	if (index < 0)
		fd = load_alone(funcs, n, root);
	else
		fd = load_group(funcs, n) ? -loaded.err : loaded.fds[index];
	if (fd < 0)
		seen.err = fd;
	else
		seen = see_run(fd, funcs[root].type);
	if (index >= 0)
		close_all(&loaded);
	else if (fd >= 0)
		close(fd);
	if (test->cleanup)
		test->cleanup();
	maps_close();
	return seen;
}

static bool can_be_run(int type)
{
	return type == XDP || type == TC || type == CGROUP_SKB || type == SOCKET_FILTER ||
	       type == BPF_PROG_TYPE_SCHED_ACT || type == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

static void check_alike(const struct insn_test *test, const struct func *funcs, int n, int root)
{
	struct seen group, alone;
	int i, index = 0;
	char what[64];

	if (!can_be_run(funcs[root].type))
		return;
	for (i = 0; i < root; i++)
		index += !!funcs[i].type;
	group = see(test, funcs, n, root, index);
	alone = see(test, funcs, n, root, -1);
	snprintf(what, sizeof(what), "alike %s", funcs[root].name);
	sub_result(test->name, what, !group.err && !memcmp(&group, &alone, sizeof(group)),
		   "%d/%d in the group, %d/%d alone", group.err, group.retval, alone.err,
		   alone.retval);
}

typedef void check_root_fn(const struct insn_test *test, const struct func *funcs, int n, int root);

static void each_root(const struct insn_test *test, check_root_fn *check)
{
	int i, n = count_funcs(test->funcs, MAX_FUNCS);
	struct func funcs[MAX_FUNCS];

	memcpy(funcs, test->funcs, sizeof(funcs));
	if (test->fill)
		test->fill(funcs);
	opt_prog_flags = test->prog_flags;
	opt_log_level = test->log_level ?: 2;
	for (i = 0; i < n; i++)
		if (funcs[i].type)
			check(test, funcs, n, i);
	opt_log_level = 2;
	opt_prog_flags = 0;
}

static void each_root_of(const struct insn_group *group, check_root_fn *check)
{
	int i, j, roots;

	printf("group %s\n", group->name);
	for (i = 0; i < group->nr_tests; i++) {
		const struct insn_test *test = &group->tests[i];

		for (j = 0, roots = 0; j < MAX_FUNCS; j++)
			roots += !!test->funcs[j].type;
		if (test->err)
			continue;
		if (!test->library[0].name && (roots > 1 || test->multi_root))
			each_root(test, check);
	}
}

/* Every root of the accepted multi-root loads by itself. */
void run_alone(const struct insn_group *group)
{
	each_root_of(group, check_alone);
}

/* Every root that can be run, in its load and by itself: with the same results. */
void run_alike(const struct insn_group *group)
{
	each_root_of(group, check_alike);
}
