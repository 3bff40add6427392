// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* The loader: functions of a case become one load. */

char log_text[LOG_SIZE];
int opt_log_level = 2;
int opt_prog_flags;
struct load loaded;
int fd_array[MAX_CALLEES];
int attach_id;

int bpf(int cmd, union bpf_attr *attr, unsigned int size)
{
	return syscall(__NR_bpf, cmd, attr, size);
}

/* The end is known by its zeroes. */
int func_len(const struct func *func)
{
	static const struct bpf_insn none;
	int n = MAX_FUNC_INSNS;

	if (func->long_insns)
		return func->long_len;
	while (n && !memcmp(&func->insns[n - 1], &none, sizeof(none)))
		n--;
	return n;
}

const struct bpf_insn *func_insns(const struct func *func)
{
	return func->long_insns ?: func->insns;
}

/* Calls and addresses of functions name them by their index: make that a distance. */
static void resolve_calls(struct load *l, int start, int n, const int *starts)
{
	int i;

	for (i = start; i < start + n; i++) {
		struct bpf_insn *insn = &l->insns[i];

		if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL)
			insn->imm = starts[insn->imm] - i - 1;
		if (insn->code == (BPF_LD | BPF_DW | BPF_IMM)) {
			if (insn->src_reg == BPF_PSEUDO_FUNC)
				insn->imm = starts[insn->imm] - i - 1;
			i++;
		}
	}
}

static void add_root(struct load *l, const struct func *func, int start)
{
	struct bpf_prog_root *root = &l->roots[l->nr_roots++];

	root->insn_off = start;
	root->prog_type = func->type;
	root->expected_attach_type = func->attach_type;
	root->prog_flags = func->flags;
	snprintf(root->prog_name, sizeof(root->prog_name), "%s", func->name);
	/* must be overwritten */
	root->fd = -7;
}

/* Lay the functions out one after the other, resolve what they name, describe the roots. */
void load_prepare(struct load *l, const struct func *funcs, int n)
{
	static struct func_info_record info[256];
	int starts[256], i, pos = 0;

	memset(l, 0, sizeof(*l));
	for (i = 0; i < n; i++) {
		int len = func_len(&funcs[i]);

		starts[i] = pos;
		info[i].off = pos;
		info[i].id = BTF_FUNC0 + i;
		memcpy(l->insns + pos, func_insns(&funcs[i]), len * sizeof(l->insns[0]));
		pos += len;
	}
	l->nr_insns = pos;
	resolve_names(l->insns, l->nr_insns);
	for (i = 0; i < n; i++) {
		resolve_calls(l, starts[i], func_len(&funcs[i]), starts);
		if (funcs[i].type)
			add_root(l, &funcs[i], starts[i]);
	}
	l->attr.insns = (long)l->insns;
	l->attr.insn_cnt = l->nr_insns;
	l->attr.license = (long)"GPL";
	l->attr.log_buf = (long)log_text;
	l->attr.log_size = LOG_SIZE;
	l->attr.log_level = opt_log_level;
	l->attr.prog_flags = opt_prog_flags;
	l->attr.prog_btf_fd = btf_create(funcs, n);
	l->attr.func_info = (long)info;
	l->attr.func_info_cnt = n;
	l->attr.func_info_rec_size = sizeof(info[0]);
	l->attr.roots = (long)l->roots;
	l->attr.root_cnt = l->nr_roots;
	l->attr.root_rec_size = sizeof(l->roots[0]);
	log_text[0] = 0;
}

/* A multi-root load, prepared by load_prepare(). Returns 0 or errno. */
int load_do(struct load *l)
{
	int i, r;

	r = bpf(BPF_PROG_LOAD, &l->attr, sizeof(l->attr));
	l->err = r < 0 ? errno : 0;
	/* a multi-root load returns no FD */
	if (r > 0)
		l->err = 9999;
	for (i = 0; i < l->nr_roots; i++)
		l->fds[i] = l->err ? -1 : l->roots[i].fd;
	close(l->attr.prog_btf_fd);
	return l->err;
}

int load_group(const struct func *funcs, int n)
{
	load_prepare(&loaded, funcs, n);
	return load_do(&loaded);
}

/* An ordinary load of funcs[0] and what it calls, with BTF and fd_array. */
void prepare_prog(const struct func *funcs, int n)
{
	union bpf_attr *attr = &loaded.attr;

	load_prepare(&loaded, funcs, n);
	attr->prog_type = funcs[0].type;
	attr->expected_attach_type = funcs[0].attach_type;
	attr->prog_flags = funcs[0].flags | opt_prog_flags;
	snprintf(attr->prog_name, sizeof(attr->prog_name), "%s", funcs[0].name);
	attr->roots = 0;
	attr->root_cnt = 0;
	attr->root_rec_size = 0;
	attr->fd_array = (long)fd_array;
	loaded.nr_roots = 0;
}

/* Load what prepare_prog() left in @loaded. Returns the FD or -errno. */
int load_prepared(void)
{
	int r = bpf(BPF_PROG_LOAD, &loaded.attr, sizeof(loaded.attr));

	if (r < 0)
		r = -errno;
	close(loaded.attr.prog_btf_fd);
	return r;
}

int load_prog(const struct func *funcs, int n)
{
	prepare_prog(funcs, n);
	return load_prepared();
}

/* An ordinary load by the attributes of a kernel without roots. Returns the FD or -errno. */
int load_plain(int type, const struct bpf_insn *insns, int n, int flags)
{
	static struct bpf_insn resolved[64];
	union bpf_attr attr;
	int r;

	memcpy(resolved, insns, n * sizeof(*insns));
	resolve_names(resolved, n);
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insns = (long)resolved;
	attr.insn_cnt = n;
	attr.license = (long)"GPL";
	attr.prog_flags = flags;
	attr.log_buf = (long)log_text;
	attr.log_size = LOG_SIZE;
	attr.log_level = 1;
	log_text[0] = 0;
	r = bpf(BPF_PROG_LOAD, &attr, SINGLE_ATTR_SIZE);
	return r < 0 ? -errno : r;
}

/* An extension, or a tracing program, of function @k of a program. Returns the FD or -errno. */
/* For function @k of @prog; fentry, where there is a choice. */
void prepare_on(int type, int prog, int k, const struct func *func)
{
	union bpf_attr *attr = &loaded.attr;

	prepare_prog(func, 1);
	attr->prog_type = type;
	attr->expected_attach_type = type == BPF_PROG_TYPE_EXT ? 0 : BPF_TRACE_FENTRY;
	attr->attach_prog_fd = prog;
	attr->attach_btf_id = BTF_FUNC0 + k;
}

int load_on(int type, int prog, int k, const struct func *func)
{
	prepare_on(type, prog, k, func);
	return load_prepared();
}

void close_all(struct load *l)
{
	int i;

	for (i = 0; i < l->nr_roots; i++) {
		if (l->fds[i] >= 0)
			close(l->fds[i]);
		l->fds[i] = -1;
	}
}

/* a tweak: no log at all */
void no_log(struct load *l, int value)
{
	l->attr.log_level = 0;
	l->attr.log_size = 0;
	l->attr.log_buf = 0;
}

/* a tweak: the program is for the kernel's type attach_id */
void attach_to(struct load *l, int value)
{
	l->attr.attach_btf_id = attach_id;
}

/* What the verifier said last, without its statistics. */
const char *log_tail(void)
{
	static char tail[400];
	const char *end = strstr(log_text, "processed ");
	size_t len;

	if (!end || end == log_text)
		end = log_text + strlen(log_text);
	len = end - log_text;
	if (len > 300)
		len = 300;
	memcpy(tail, end - len, len);
	tail[len] = 0;
	return tail;
}
