// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What a load with several roots accepts, every root of it by itself is accepted as well, by any
 * kernel: a root together with the functions that it reaches, and nothing else.
 */

bool opt_alone;

static int callee_of(const struct bpf_insn *insn)
{
	bool call = insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL;
	bool address = insn->code == (BPF_LD | BPF_DW | BPF_IMM) && insn->src_reg == BPF_PSEUDO_FUNC;

	return call || address ? insn->imm : -1;
}

/* Numbers the functions that f[from] reaches in the order of the load that they become. */
static int reach(struct func *f, int from, int *number, int found)
{
	int j, callee;

	number[from] = found++;
	for (j = 0; j < f[from].n; j++) {
		callee = callee_of(&f[from].insns[j]);
		if (callee >= 0 && number[callee] < 0)
			found = reach(f, callee, number, found);
	}
	return found;
}

static int load_alone(struct func *f, int n, int root)
{
	static struct load alone;
	static struct bpf_insn copies[MAX_INSNS];
	struct bpf_insn *next = copies;
	struct func reached[256];
	int number[256], i, j, nr;
	union bpf_attr *attr = &alone.attr;

	memset(number, -1, sizeof(number));
	nr = reach(f, root, number, 0);
	for (i = 0; i < n; i++) {
		if (number[i] < 0)
			continue;
		reached[number[i]] = f[i];
		reached[number[i]].type = 0;
		reached[number[i]].insns = next;
		memcpy(next, f[i].insns, f[i].n * sizeof(*next));
		for (j = 0; j < f[i].n; j++, next++)
			if (callee_of(next) >= 0)
				next->imm = number[next->imm];
	}
	load_prepare(&alone, reached, nr);
	attr->prog_type = f[root].type;
	attr->expected_attach_type = f[root].eatype;
	attr->prog_flags |= f[root].flags;
	attr->roots = attr->root_cnt = attr->root_rec_size = 0;
	i = bpf(BPF_PROG_LOAD, attr, SINGLE_ATTR_SIZE);
	j = errno;
	close(attr->prog_btf_fd);
	if (i < 0)
		return j;
	close(i);
	return 0;
}

void check_alone(const char *name, struct func *f, int n)
{
	char unique[96];
	int i, err;

	for (i = 0; i < n; i++) {
		if (!f[i].type)
			continue;
		err = load_alone(f, n, i);
		snprintf(unique, sizeof(unique), "%s/alone %s", name, f[i].name);
		result(unique, !err, "errno %d; log: %s", err, tail_of(log_text));
	}
}
