// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

static struct bpf_insn call_of(int whose)
{
	return whose == OF_LIBRARY ? (struct bpf_insn)CALL_PROG(0, 1) : (struct bpf_insn)CALL_FUNC(1);
}

const char *case_name(const char *id, int whose, const char *what)
{
	static char name[96];

	snprintf(name, sizeof(name), "%s%s %s", id, whose == OF_LIBRARY ? "" : "/own", what);
	return name;
}

/*
 * The caller @c calls function 1, which is that of the library l[1] or the same again as part of the caller.
 * Refused with @msg, or accepted where that is NULL: then the FD is returned.
 */
int either(const char *id, const char *what, int whose, struct func *l, struct func c, int err, const char *msg)
{
	struct func both[] = { c, l[1] };
	int fd;

	both[1].exported = 0;
	fd_array[0] = load_with_btf(l, 2);
	for (int i = 0; i < c.n; i++)
		if (c.insns[i].code == (BPF_JMP | BPF_CALL) && c.insns[i].src_reg == BPF_PSEUDO_PROG_CALL)
			both[0].insns[i] = call_of(whose);
	fd = call_check(case_name(id, whose, what), both, whose == OF_LIBRARY ? 1 : 2, err, msg);
	for (int i = 0; i < c.n; i++)
		if (c.insns[i].code == (BPF_JMP | BPF_CALL) && c.insns[i].src_reg == BPF_PSEUDO_CALL)
			c.insns[i] = call_of(OF_LIBRARY);
	if (fd_array[0] >= 0)
		close(fd_array[0]);
	return fd;
}

/* an array of one value, which is a struct of this name and 16 bytes: bpf_timer, bpf_wq */
int map_of(const char *special)
{
	enum { LONG_NAME = 1, V_NAME = 6, SPECIAL_NAME = 8 };
	uint32_t t[] = { LONG_NAME, BTF_KIND_INT << 24, 8, 64, /* 1 */
			 SPECIAL_NAME, BTF_KIND_STRUCT << 24 | 2, 16, V_NAME, 1, 0, V_NAME, 1, 64, /* 2 */
			 V_NAME, BTF_KIND_STRUCT << 24 | 1, 16, V_NAME, 2, 0, /* 3: what has it */
			 LONG_NAME, BTF_KIND_INT << 24, 4, 32 /* 4: the key */ };
	struct {
		struct btf_header h;
		uint32_t t[ARRAY_LEN(t)];
		char s[32];
	} b = { .s = "\0long\0v" };
	union bpf_attr a;
	int btf, map;

	strcpy(b.s + SPECIAL_NAME, special);
	memcpy(b.t, t, sizeof(t));
	b.h = (struct btf_header){ .magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(b.h), .type_len = sizeof(t),
				   .str_off = sizeof(t), .str_len = sizeof(b.s) };
	memset(&a, 0, sizeof(a));
	a.btf = (long)&b;
	a.btf_size = sizeof(b);
	btf = bpf(BPF_BTF_LOAD, &a, sizeof(a));
	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = 4;
	a.value_size = 16;
	a.max_entries = 1;
	a.btf_fd = btf;
	a.btf_key_type_id = 4;
	a.btf_value_type_id = 3;
	map = bpf(BPF_MAP_CREATE, &a, sizeof(a));
	if (btf < 0 || map < 0)
		printf("# map of %s: %s\n", special, strerror(errno));
	close(btf);
	return map;
}

int attach_id;

void attach_to(struct load *l)
{
	l->attr.attach_btf_id = attach_id;
}

/* an extension, or a tracing program, of function k of a program; FD or -errno */
int load_on(int type, int prog, int k, struct func *f, int n)
{
	union bpf_attr *a = &loaded.attr;

	prepare_with_btf(f, n);
	a->prog_type = type;
	a->expected_attach_type = type == BPF_PROG_TYPE_EXT ? 0 : BPF_TRACE_FENTRY;
	a->attach_prog_fd = prog;
	a->attach_btf_id = BTF_FUNC0 + k;
	return load_prepared();
}

int attach_on(int fd, int type)
{
	union bpf_attr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = fd;
	a.link_create.attach_type = type;
	r = bpf(BPF_LINK_CREATE, &a, sizeof(a));
	return r < 0 ? -errno : r;
}
