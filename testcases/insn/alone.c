// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * If a load with several roots is accepted, any kernel accepts each root of it by itself:
 * the root together with the functions that it reaches, and nothing else.
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

static int load_alone(const struct func *funcs, int n, int root)
{
	static struct bpf_insn copies[MAX_INSNS];
	struct bpf_insn *next = copies;
	struct func reached[MAX_FUNCS];
	int number[MAX_FUNCS], i, j, nr, fd, err;
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
	err = fd < 0 ? errno : 0;
	close(attr->prog_btf_fd);
	if (fd >= 0)
		close(fd);
	return err;
}

static void test_alone(const struct insn_test *test)
{
	int i, n = count_funcs(test->funcs, MAX_FUNCS), err;
	struct func funcs[MAX_FUNCS];
	char what[64];

	memcpy(funcs, test->funcs, sizeof(funcs));
	if (test->fill)
		test->fill(funcs);
	if (test->setup)
		test->setup();
	opt_prog_flags = test->prog_flags;
	opt_log_level = test->log_level ?: 2;
	for (i = 0; i < n; i++) {
		if (!funcs[i].type)
			continue;
		err = load_alone(funcs, n, i);
		snprintf(what, sizeof(what), "alone %s", funcs[i].name);
		sub_result(test->name, what, !err, "errno %d; log: %s", err, log_tail());
	}
	if (test->cleanup)
		test->cleanup();
	opt_log_level = 2;
	opt_prog_flags = 0;
	maps_close();
}

/* Every root of the accepted multi-root loads by itself. */
void run_alone(const struct insn_group *group)
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
			test_alone(test);
	}
}
