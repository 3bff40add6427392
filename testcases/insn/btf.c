// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* Type information of programs and of map values. */

/* ids of types that describe_types() adds */
enum {
	INT = 1,
	PTR_TO_MEM = 8,
	PTR_TO_SKB = 14,
	PTR_TO_DYNPTR = 17,
	PTR_TO_SOCK = 23,
	LONG = 27,
};

struct btf_builder {
	struct btf_header header;
	__u32 types[12288];
	__u32 nr_words;
	char strings[16384];
	__u32 strings_len;
};

static void add_word(struct btf_builder *b, __u32 word)
{
	b->types[b->nr_words++] = word;
}

/* Returns the offset of the string. */
static __u32 add_string(struct btf_builder *b, const char *string)
{
	__u32 off = b->strings_len;

	memcpy(b->strings + off, string, strlen(string) + 1);
	b->strings_len += strlen(string) + 1;
	return off;
}

static void add_type(struct btf_builder *b, const char *name, int kind, int vlen,
		     __u32 size_or_type)
{
	add_word(b, name ? add_string(b, name) : 0);
	add_word(b, kind << 24 | vlen);
	add_word(b, size_or_type);
}

static void add_param(struct btf_builder *b, const char *name, __u32 type)
{
	add_word(b, add_string(b, name));
	add_word(b, type);
}

static void add_int(struct btf_builder *b)
{
	add_type(b, "int", BTF_KIND_INT, 0, sizeof(int));
	add_word(b, BTF_INT_SIGNED << 24 | 32);
}

/* struct NAME { int m; } */
static void add_struct(struct btf_builder *b, const char *name)
{
	add_type(b, name, BTF_KIND_STRUCT, 1, sizeof(int));
	add_param(b, "m", INT);
	add_word(b, 0);
}

/* int (PTR *), with the pointer before it */
static void add_pointer_proto(struct btf_builder *b, __u32 target)
{
	add_type(b, NULL, BTF_KIND_PTR, 0, target);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 1, INT);
	add_param(b, "p", target == INT ? PTR_TO_MEM : target + 1);
}

/* The types of enum proto. */
static void describe_types(struct btf_builder *b)
{
	static const char *const structs[] = {
		"xdp_md", "__sk_buff", "bpf_dynptr", "task_struct", "sock",
	};
	__u32 next = PTR_TO_MEM + 2, i;

	add_int(b);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 0, INT);
	add_struct(b, "pt_regs");
	add_type(b, NULL, BTF_KIND_PTR, 0, 3);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 1, INT);
	add_param(b, "ctx", 4);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 1, INT);
	add_param(b, "a", INT);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 0, 0);
	add_pointer_proto(b, INT);
	for (i = 0; i < ARRAY_SIZE(structs); i++, next += 3) {
		add_struct(b, structs[i]);
		add_pointer_proto(b, next);
	}
	for (i = 0; i < 2; i++) {
		add_type(b, NULL, BTF_KIND_FUNC_PROTO, 2, INT);
		add_param(b, "skb", PTR_TO_SKB);
		add_param(b, "p", i ? PTR_TO_DYNPTR : PTR_TO_MEM);
	}
	add_type(b, "long", BTF_KIND_INT, 0, sizeof(long));
	add_word(b, 64);
	add_type(b, NULL, BTF_KIND_PTR, 0, LONG);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 1, INT);
	add_param(b, "ctx", LONG + 1);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 2, INT);
	add_param(b, "a", INT);
	add_param(b, "skb", PTR_TO_SKB);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 6, INT);
	for (i = 0; i < 6; i++)
		add_param(b, "a", INT);
	add_type(b, NULL, BTF_KIND_FUNC_PROTO, 2, INT);
	for (i = 0; i < 2; i++)
		add_param(b, "p", PTR_TO_SOCK);
}

static void describe_funcs(struct btf_builder *b, const struct func *funcs, int n)
{
	static const __u32 protos[] = {
		[PROTO_VOID] = 2, [PROTO_PTREGS] = 5, [PROTO_INT] = 6, [PROTO_GVOID] = 7,
		[PROTO_MEM] = 9, [PROTO_XDP] = 12, [PROTO_SKB] = 15, [PROTO_DYNPTR] = 18,
		[PROTO_TASK] = 21, [PROTO_SOCK] = 24, [PROTO_SKB_MEM] = 25,
		[PROTO_SKB_DYNPTR] = 26, [PROTO_LONGS] = 29, [PROTO_INT_SKB] = 30,
		[PROTO_SIX_INTS] = 31, [PROTO_TWO_SOCKS] = 32,
	};
	int i;

	for (i = 0; i < n; i++)
		add_type(b, funcs[i].name, BTF_KIND_FUNC,
			 funcs[i].global ? BTF_FUNC_GLOBAL : BTF_FUNC_STATIC,
			 protos[funcs[i].proto]);
	for (i = 0; i < n; i++) {
		if (funcs[i].exported) {
			add_type(b, "bpf_export", BTF_KIND_DECL_TAG, 0, BTF_FUNC0 + i);
			add_word(b, -1);
		}
		if (funcs[i].arg_tag) {
			add_type(b, funcs[i].arg_tag, BTF_KIND_DECL_TAG, 0, BTF_FUNC0 + i);
			add_word(b, 0);
		}
	}
}

int btf_load(const void *btf, unsigned int size)
{
	static char log[65536];
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.btf = (long)btf;
	attr.btf_size = size;
	fd = bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		return fd;
	/* once more for the log, which does not fit if there are many types */
	attr.btf_log_buf = (long)log;
	attr.btf_log_size = sizeof(log);
	attr.btf_log_level = 1;
	fd = bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	printf("# btf: %s\n%s\n", strerror(errno), log);
	return fd;
}

static int build(struct btf_builder *b)
{
	static char blob[sizeof(*b)];
	__u32 types_len = b->nr_words * sizeof(b->types[0]);

	b->header.magic = BTF_MAGIC;
	b->header.version = 1;
	b->header.hdr_len = sizeof(b->header);
	b->header.type_len = types_len;
	b->header.str_off = types_len;
	b->header.str_len = b->strings_len;
	memcpy(blob, &b->header, sizeof(b->header));
	memcpy(blob + sizeof(b->header), b->types, types_len);
	memcpy(blob + sizeof(b->header) + types_len, b->strings, b->strings_len);
	return btf_load(blob, sizeof(b->header) + types_len + b->strings_len);
}

static struct btf_builder *start(void)
{
	static struct btf_builder b;

	memset(&b, 0, sizeof(b));
	b.strings_len = 1;
	return &b;
}

/* Types of the protos, then a FUNC for each function, then the tags. Returns the FD. */
int btf_create(const struct func *funcs, int n)
{
	struct btf_builder *b = start();

	describe_types(b);
	describe_funcs(b, funcs, n);
	return build(b);
}

/* 1: int, 2: struct bpf_spin_lock, 3: struct v { struct bpf_spin_lock l; int x; } */
int btf_of_lock(void)
{
	struct btf_builder *b = start();

	add_int(b);
	add_type(b, "bpf_spin_lock", BTF_KIND_STRUCT, 1, sizeof(int));
	add_param(b, "val", INT);
	add_word(b, 0);
	add_type(b, "v", BTF_KIND_STRUCT, 2, 2 * sizeof(int));
	add_param(b, "l", 2);
	add_word(b, 0);
	add_param(b, "x", INT);
	add_word(b, 32);
	return build(b);
}

/* 1: int, 2: long, 3: a struct of that name and 16 bytes, 4: struct v { struct NAME v; } */
int btf_of_special(const char *name)
{
	struct btf_builder *b = start();

	add_int(b);
	add_type(b, "long", BTF_KIND_INT, 0, sizeof(long));
	add_word(b, 64);
	add_type(b, name, BTF_KIND_STRUCT, 2, 16);
	add_param(b, "a", 2);
	add_word(b, 0);
	add_param(b, "b", 2);
	add_word(b, 64);
	add_type(b, "v", BTF_KIND_STRUCT, 1, 16);
	add_param(b, "v", 3);
	add_word(b, 0);
	return build(b);
}
