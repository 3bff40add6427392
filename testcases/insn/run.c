// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* Runs the cases of a table. */

int count_funcs(const struct func *funcs, int max)
{
	int n = 0;

	while (n < max && funcs[n].name)
		n++;
	return n;
}

static int count_roots(const struct func *funcs, int n)
{
	int roots = 0;

	while (n--)
		roots += !!funcs[n].type;
	return roots;
}

/* Calls of the library become calls of function 1. */
static void make_own(struct insn_test *test)
{
	struct bpf_insn *insn = test->funcs[0].insns;
	int i;

	for (i = 0; i < MAX_FUNC_INSNS; i++, insn++)
		if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_PROG_CALL)
			*insn = (struct bpf_insn)CALL_FUNC(1);
	test->funcs[1] = test->library[1];
	test->funcs[1].exported = false;
}

static void check_runs(const struct insn_test *test, const char *name)
{
	char seen[64] = "";
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(test->runs); i++) {
		int ret = -1, len = strlen(seen);

		if (!test->runs[i].run)
			continue;
		test_run(loaded.fds[i], &ret);
		ok &= ret == test->runs[i].retval;
		snprintf(seen + len, sizeof(seen) - len, " root#%zu returns %d", i, ret);
	}
	if (seen[0])
		sub_result(name, "run", ok, "%s", seen + 1);
}

/* The load of the case itself. Returns 0 or errno; FDs are in @loaded. */
static int load_test(const struct insn_test *test, int n)
{
	int fd;

	if (count_roots(test->funcs, n) > 1 || test->multi_root) {
		load_prepare(&loaded, test->funcs, n);
		if (test->library[0].name)
			loaded.attr.fd_array = (long)fd_array;
		if (test->tweak)
			test->tweak(&loaded, test->value);
		return load_do(&loaded);
	}
	prepare_prog(test->funcs, n);
	if (test->tweak)
		test->tweak(&loaded, test->value);
	fd = load_prepared();
	loaded.nr_roots = 1;
	loaded.fds[0] = fd;
	return fd < 0 ? -fd : 0;
}

static void run_as(const struct insn_test *test, const char *name)
{
	int n = count_funcs(test->funcs, MAX_FUNCS), err;

	err = load_test(test, n);
	if (expect_load(name, err, test->err, test->msg) && !err) {
		check_runs(test, name);
		if (test->check)
			test->check(name);
	}
	close_all(&loaded);
}

void run_test(const struct insn_test *test)
{
	int n_library = count_funcs(test->library, MAX_LIBRARY_FUNCS);
	int n_library2 = count_funcs(test->library2, MAX_LIBRARY_FUNCS);
	struct insn_test copy = *test;
	char own[96];

	if (test->fill)
		test->fill(copy.funcs);
	if (test->setup)
		test->setup();
	opt_prog_flags = test->prog_flags;
	opt_log_level = test->log_level ?: 2;
	if (n_library) {
		fd_array[0] = load_prog(test->library, n_library);
		if (fd_array[0] < 0)
			printf("# library of %s: %s\n", test->name, log_tail());
	}
	if (n_library2) {
		fd_array[1] = load_prog(test->library2, n_library2);
		if (fd_array[1] < 0)
			printf("# second library of %s: %s\n", test->name, log_tail());
	}
	run_as(&copy, test->name);
	if (test->own) {
		snprintf(own, sizeof(own), "%s/own", test->name);
		make_own(&copy);
		run_as(&copy, own);
	}
	if (n_library2)
		close(fd_array[1]);
	if (n_library)
		close(fd_array[0]);
	if (test->cleanup)
		test->cleanup();
	opt_log_level = 2;
	opt_prog_flags = 0;
	maps_close();
}

void run_group(const struct insn_group *group)
{
	int i;

	printf("group %s\n", group->name);
	for (i = 0; i < group->nr_tests; i++)
		run_test(&group->tests[i]);
	if (group->scenarios)
		group->scenarios();
	maps_close();
}
