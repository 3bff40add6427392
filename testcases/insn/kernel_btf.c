// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* Types of the running kernel. */

static struct btf_header *header;

static int read_btf(void)
{
	size_t n = 0, room = 32 << 20;
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	ssize_t r;
	char *blob;

	if (fd < 0)
		return -1;
	blob = malloc(room);
	while ((r = read(fd, blob + n, room - n)) > 0)
		n += r;
	close(fd);
	header = (void *)blob;
	return 0;
}

/* Words of a type behind the first three. */
static int words_behind(int kind, int vlen)
{
	switch (kind) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 1;
	case BTF_KIND_ARRAY:
		return 3;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case BTF_KIND_ENUM64:
		return 3 * vlen;
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return 2 * vlen;
	default:
		return 0;
	}
}

/* Byte offset of a member of the struct @type. */
static int find_member(const __u32 *type, const char *strings, const char *member)
{
	int vlen = type[1] & 0xffff, i;

	for (i = 0; i < vlen; i++) {
		__u32 bits = type[5 + 3 * i];

		if (strcmp(strings + type[3 + 3 * i], member))
			continue;
		/* with kind_flag, the size of a bitfield is above */
		return (type[1] >> 31 ? bits & 0xffffff : bits) / 8;
	}
	return -1;
}

/* The id of a type, or the byte offset of its member; -1 if there is none. */
int kernel_btf_find(const char *name, int kind, const char *member)
{
	const __u32 *type, *end;
	const char *strings;
	int id = 0;

	if (!header && read_btf())
		return -1;
	type = (void *)header + header->hdr_len + header->type_off;
	end = (void *)type + header->type_len;
	strings = (void *)header + header->hdr_len + header->str_off;
	while (type < end) {
		int this = type[1] >> 24 & 31, vlen = type[1] & 0xffff;

		id++;
		if (this == kind && !strcmp(strings + type[0], name))
			return member ? find_member(type, strings, member) : id;
		type += 3 + words_behind(this, vlen);
	}
	return -1;
}
