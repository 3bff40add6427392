// SPDX-License-Identifier: GPL-2.0-only
/* Translated instructions as text, by the kernel's own disassembler. */
#include <bpf/btf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "disasm.h"
#undef ARRAY_SIZE
#include "runner.h"

struct printer {
	const struct xlated *xlated;
	FILE *out;
	char text[256];		/* what a callback returned last */
};

__attribute__((format(printf, 2, 3))) static void print(void *data, const char *fmt, ...)
{
	struct printer *printer = data;
	va_list args;

	va_start(args, fmt);
	vfprintf(printer->out, fmt, args);
	va_end(args);
}

/*
 * A call's imm is the index of the function called (JITed bpf2bpf; off is then the distance) or
 * the distance from __bpf_call_base (helper, kfunc): kernel/bpf/verifier.c, jit_subprogs(), and
 * syscall.c, bpf_insn_prepare_dump(). The text is bpftool's ("call pc+2#NAME").
 */
static const char *call_name(void *data, const struct bpf_insn *insn)
{
	struct printer *printer = data;
	const struct xlated *xlated = printer->xlated;
	const char *name;

	if (insn->src_reg == BPF_PSEUDO_CALL) {
		if (!xlated->nr_ksyms || (__u32)insn->imm >= xlated->nr_ksyms)
			return NULL;
		name = symbols_find(xlated->ksyms[insn->imm]);
		snprintf(printer->text, sizeof(printer->text), "%+d#%s", insn->off, name ? name : "?");
		return printer->text;
	}
	name = symbols_call_base() ? symbols_find(symbols_call_base() + insn->imm) : NULL;
	return name ? name : "unknown";
}

static const char *imm_text(void *data, const struct bpf_insn *insn, __u64 full_imm)
{
	struct printer *printer = data;

	if (insn->src_reg == BPF_PSEUDO_MAP_FD)
		snprintf(printer->text, sizeof(printer->text), "map[id:%d]", insn->imm);
	else if (insn->src_reg == BPF_PSEUDO_MAP_VALUE)
		snprintf(printer->text, sizeof(printer->text), "map[id:%d][0]+%d", insn->imm, insn[1].imm);
	else if (insn->src_reg == BPF_PSEUDO_FUNC)
		snprintf(printer->text, sizeof(printer->text), "subprog[%+d]", insn->imm);
	else
		snprintf(printer->text, sizeof(printer->text), "0x%llx", (unsigned long long)full_imm);
	return printer->text;
}

static void print_function_name(const struct xlated *xlated, __u32 i, __u32 *next, FILE *out)
{
	const struct bpf_func_info *func;
	const struct btf_type *type;

	if (!xlated->btf || *next >= xlated->nr_func_info)
		return;
	func = (const void *)((const char *)xlated->func_info + *next * xlated->func_info_rec_size);
	if (func->insn_off != i)
		return;
	type = btf__type_by_id(xlated->btf, func->type_id);
	fprintf(out, "%s:\n", type ? btf__name_by_offset(xlated->btf, type->name_off) : "?");
	(*next)++;
}

/* print_bpf_insn() of Linux before 7.3 ends the line, since then it does not. */
static void end_line(FILE *out, char *const *text, const size_t *len)
{
	fflush(out); /* which sets both */
	if (*len && (*text)[*len - 1] != '\n')
		fputc('\n', out);
}

json_t *xlated_text(const struct xlated *xlated)
{
	struct printer printer = { .xlated = xlated };
	const struct bpf_insn_cbs cbs = {
		.cb_print = print,
		.cb_call = call_name,
		.cb_imm = imm_text,
		.private_data = &printer,
	};
	__u32 i, next = 0;
	size_t len = 0;
	char *text = NULL;
	json_t *json;

	printer.out = open_memstream(&text, &len);
	if (!printer.out)
		return json_string("");
	for (i = 0; i < xlated->nr_insns; i++) {
		print_function_name(xlated, i, &next, printer.out);
		fprintf(printer.out, "%4u: ", i);
		print_bpf_insn(&cbs, xlated->insns + i, true);
		end_line(printer.out, &text, &len);
		if (xlated->insns[i].code == (BPF_LD | BPF_IMM | BPF_DW))
			i++;
	}
	fclose(printer.out);
	json = json_text(text, len);
	free(text);
	return json;
}
