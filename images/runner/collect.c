// SPDX-License-Identifier: GPL-2.0-only
/* A program after its load: protocol.py's Program, from bpf_prog_info. */
#include "runner.h"

#include <bpf/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* bpf_prog_info and the arrays it points to. */
struct info {
	struct bpf_prog_info raw;
	struct btf *btf;
};

/* What is not there is 0 or empty: every key costs a small program a hundredth of its load. */
static json_t *program_json(const struct load *load, const struct bpf_program *prog, const char *verdict,
			    struct prog_load *found)
{
	const char *name = bpf_program__name(prog);
	int number = prog_load_report(found);
	json_t *json = json_object();

	set_text(json, "name", name);
	set_text(json, "section", bpf_program__section_name(prog));
	set_value(json, "root", json_boolean(load_is_root(load, name)));
	set_text(json, "verdict", verdict);
	if (number)
		set_integer(json, "load", number);
	return json;
}

json_t *collect_refused(const struct load *load, const struct bpf_program *prog, struct prog_load *found)
{
	return program_json(load, prog, "reject", found);
}

/* No verdict: the kernel was not asked, or could not tell. */
json_t *collect_unknown(const struct load *load, const struct bpf_program *prog, int err, const char *why)
{
	json_t *json = program_json(load, prog, "", NULL);

	set_integer(json, "errno", err < 0 ? -err : err);
	set_text(json, "error", why);
	return json;
}

static void info_free(struct info *info)
{
	free((void *)(uintptr_t)info->raw.xlated_prog_insns);
	free((void *)(uintptr_t)info->raw.jited_prog_insns);
	free((void *)(uintptr_t)info->raw.jited_ksyms);
	free((void *)(uintptr_t)info->raw.jited_func_lens);
	free((void *)(uintptr_t)info->raw.func_info);
	free((void *)(uintptr_t)info->raw.prog_tags);
	btf__free(info->btf);
}

#define XLATED_MAX (4U << 20)
#define ALLOC(info, array, count, size) ((info)->array = (uintptr_t)calloc((count) ?: 1, (size)))

/* Sizes first, then, with @contents, what they are the sizes of. */
static int info_read(int fd, bool contents, struct info *info)
{
	struct bpf_prog_info sizes = {}, *raw = &info->raw;
	__u32 len = sizeof(sizes);

	memset(info, 0, sizeof(*info));
	if (bpf_prog_get_info_by_fd(fd, &sizes, &len))
		return -1;
	if (!contents) {
		*raw = sizes;
		return 0;
	}
	/*
	 * The kernel copies the instructions with kmemdup() (kernel/bpf/syscall.c, bpf_insn_prepare_dump) and
	 * warns when they take more than its allocator has in one piece. The length comes back all the same.
	 */
	raw->xlated_prog_len = sizes.xlated_prog_len > XLATED_MAX ? 0 : sizes.xlated_prog_len;
	raw->jited_prog_len = sizes.jited_prog_len;
	raw->nr_jited_ksyms = sizes.nr_jited_ksyms;
	raw->nr_jited_func_lens = sizes.nr_jited_func_lens;
	raw->nr_prog_tags = sizes.nr_prog_tags;
	raw->nr_func_info = sizes.nr_func_info;
	raw->func_info_rec_size = sizes.func_info_rec_size;
	ALLOC(raw, xlated_prog_insns, raw->xlated_prog_len, 1);
	ALLOC(raw, jited_prog_insns, sizes.jited_prog_len, 1);
	ALLOC(raw, jited_ksyms, sizes.nr_jited_ksyms, sizeof(__u64));
	ALLOC(raw, jited_func_lens, sizes.nr_jited_func_lens, sizeof(__u32));
	ALLOC(raw, prog_tags, sizes.nr_prog_tags, BPF_TAG_SIZE);
	ALLOC(raw, func_info, sizes.nr_func_info, sizes.func_info_rec_size);
	len = sizeof(*raw);
	if (bpf_prog_get_info_by_fd(fd, raw, &len)) {
		info_free(info);
		return -1;
	}
	if (raw->btf_id)
		info->btf = btf__load_from_kernel_by_id(raw->btf_id);
	return 0;
}

/* kernel/bpf/core.c, bpf_get_prog_name(): what kallsyms calls function @i. */
static void function_symbol(const struct info *info, __u32 i, char *symbol, size_t size)
{
	const struct bpf_prog_info *raw = &info->raw;
	const unsigned char *tag = raw->tag;
	const char *name = raw->name;
	size_t used, k;

	if (i < raw->nr_prog_tags)
		tag = (const unsigned char *)(uintptr_t)raw->prog_tags + i * BPF_TAG_SIZE;
	if (info->btf && i < raw->nr_func_info) {
		const struct bpf_func_info *func =
			(const void *)(uintptr_t)(raw->func_info + i * raw->func_info_rec_size);
		const struct btf_type *type = btf__type_by_id(info->btf, func->type_id);

		name = type ? btf__name_by_offset(info->btf, type->name_off) : name;
	}
	used = snprintf(symbol, size, "bpf_prog_");
	for (k = 0; k < BPF_TAG_SIZE; k++)
		used += snprintf(symbol + used, size - used, "%02x", tag[k]);
	if (name && name[0])
		snprintf(symbol + used, size - used, "_%s", name);
}

/* Each function is one image; kernels tell their names and addresses apart from the code. */
static json_t *jited_json(const struct info *info)
{
	const struct bpf_prog_info *raw = &info->raw;
	const __u64 *addrs = (const __u64 *)(uintptr_t)raw->jited_ksyms;
	const __u32 *lens = (const __u32 *)(uintptr_t)raw->jited_func_lens;
	const char *code = (const char *)(uintptr_t)raw->jited_prog_insns;
	json_t *functions = json_array();
	size_t done = 0;
	__u32 i;

	for (i = 0; i < raw->nr_jited_func_lens && done + lens[i] <= raw->jited_prog_len; i++) {
		char symbol[512], addr[24];

		function_symbol(info, i, symbol, sizeof(symbol));
		snprintf(addr, sizeof(addr), "%llx", i < raw->nr_jited_ksyms ? addrs[i] : 0ULL);
		json_array_append_new(functions,
				      json_pack("{s:s, s:s, s:o}", "symbol", symbol, "addr", addr, "code",
						json_base64(code + done, lens[i])));
		done += lens[i];
	}
	return functions;
}

static void add_symbols(const struct info *info)
{
	const struct bpf_prog_info *raw = &info->raw;
	const __u64 *addrs = (const __u64 *)(uintptr_t)raw->jited_ksyms;
	char symbol[512];
	__u32 i;

	for (i = 0; i < raw->nr_jited_ksyms; i++) {
		function_symbol(info, i, symbol, sizeof(symbol));
		symbols_add(addrs[i], symbol);
	}
}

/*
 * Every call rel32, jmp rel32 and jcc rel32 there may be, at any byte, which leads to the first
 * byte of a function. Bytes that only look like one are harmless: whoever disassembles never asks.
 */
static void targets(const struct info *info, json_t *symbols)
{
	const struct bpf_prog_info *raw = &info->raw;
	const __u64 *addrs = (const __u64 *)(uintptr_t)raw->jited_ksyms;
	const __u32 *lens = (const __u32 *)(uintptr_t)raw->jited_func_lens;
	const unsigned char *code = (const unsigned char *)(uintptr_t)raw->jited_prog_insns;
	size_t done = 0, k;
	__u32 i;

	for (i = 0; i < raw->nr_jited_func_lens && i < raw->nr_jited_ksyms; i++) {
		if (done + lens[i] > raw->jited_prog_len)
			return;
		for (k = 0; k + 5 <= lens[i]; k++) {
			const unsigned char *p = code + done + k;
			bool jcc = p[0] == 0x0f && (p[1] & 0xf0) == 0x80;
			const char *name;
			uint64_t target;
			char addr[24];
			int32_t rel;

			if ((p[0] != 0xe8 && p[0] != 0xe9 && !jcc) || k + 5 + jcc > lens[i])
				continue;
			memcpy(&rel, p + 1 + jcc, sizeof(rel));
			target = addrs[i] + k + 5 + jcc + (int64_t)rel;
			name = symbols_find(target);
			if (!name)
				continue;
			snprintf(addr, sizeof(addr), "%llx", (unsigned long long)target);
			json_object_set_new(symbols, addr, json_string(name));
		}
		done += lens[i];
	}
}

static json_t *xlated_json(const struct info *info)
{
	const struct bpf_prog_info *raw = &info->raw;
	const struct xlated xlated = {
		.insns = (const struct bpf_insn *)(uintptr_t)raw->xlated_prog_insns,
		.nr_insns = raw->xlated_prog_len / sizeof(struct bpf_insn),
		.ksyms = (const uint64_t *)(uintptr_t)raw->jited_ksyms,
		.nr_ksyms = raw->nr_jited_ksyms,
		.btf = info->btf,
		.func_info = (const void *)(uintptr_t)raw->func_info,
		.nr_func_info = raw->nr_func_info,
		.func_info_rec_size = raw->func_info_rec_size,
	};

	if (raw->xlated_prog_len > XLATED_MAX)
		return json_string("not read: the kernel dumps no more than 4 MiB of instructions\n");
	return xlated_text(&xlated);
}

json_t *collect_accepted(const struct load *load, const struct bpf_program *prog, struct result *result)
{
	struct prog_load *found = prog_load_of(prog);
	json_t *json = program_json(load, prog, "accept", found);
	bool code = load->collect & (COLLECT_XLATED | COLLECT_JITED);
	struct info info;
	char tag[2 * BPF_TAG_SIZE + 1];
	size_t k;

	/* Asked when it was loaded: the kernel need not be asked for its size again. */
	if (!code && bpf_program__fd(prog) >= 0 && found && found->nr_fds == 1 && found->info.id) {
		set_integer(json, "jited_bytes", found->info.jited_prog_len);
		return json;
	}
	/* No fd: accepted, and gone since, because a tail call's target was refused. */
	if (bpf_program__fd(prog) < 0 || info_read(bpf_program__fd(prog), code, &info))
		return json;
	if (!code) {
		set_integer(json, "jited_bytes", info.raw.jited_prog_len);
		return json;
	}
	for (k = 0; k < BPF_TAG_SIZE; k++)
		snprintf(tag + 2 * k, 3, "%02x", info.raw.tag[k]);
	json_object_update_new(
		json, json_pack("{s:i, s:s, s:I, s:I, s:I}", "id", info.raw.id, "tag", tag, "xlated_bytes",
				(json_int_t)info.raw.xlated_prog_len, "jited_bytes",
				(json_int_t)info.raw.jited_prog_len, "run_cnt", (json_int_t)info.raw.run_cnt));
	add_symbols(&info);
	if (load->collect & COLLECT_XLATED)
		json_object_set_new(json, "xlated", xlated_json(&info));
	if (load->collect & COLLECT_JITED) {
		json_object_set_new(json, "jited", jited_json(&info));
		targets(&info, result->symbols);
	}
	info_free(&info);
	return json;
}
