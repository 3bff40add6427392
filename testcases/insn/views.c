// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Each root has its own view of line info: only lines of functions it reaches, rising, inside its images.
 */

void views_cases(void)
{
	struct func f[] = { ROOT("xa", XDP, MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
			    ROOT("tb", TC, CALL_FUNC(3), CALL_FUNC(2), EXIT),
			    SUB("s", LD_VALUE(R1, counter_map, 0), MOV_IMM(R0, 0), EXIT),
			    SUB("s3", MOV_IMM(R0, 0), EXIT) };
	struct bpf_line_info li[64];
	static struct bpf_prog_info pi;
	static struct bpf_line_info o[64];
	static uint64_t jl[64];
	int n = 0, bad = 0;
	union bpf_attr a;
	load_prepare(&loaded, f, 4);
	for (int i = 0; i < loaded.ninsns; i++) {
		if (i && loaded.insns[i].code == 0)
			continue;
		li[n++] = (struct bpf_line_info){ i, 1, 1, (i + 1) << 10 };
	}
	loaded.attr.line_info = (long)li;
	loaded.attr.line_info_cnt = n;
	loaded.attr.line_info_rec_size = sizeof(li[0]);
	load_do(&loaded);
	result("T64 line_info", !loaded.err, "errno %d %s", loaded.err, loaded.err ? tail_of(log_text) : "");
	if (loaded.err)
		return;
	int want[2] = { 3 + 3, 3 + 3 + 2 }, first[2] = { 0, 3 };
	for (int r = 0; r < 2; r++) {
		view_get(loaded.fds[r], &view0);
		memset(&pi, 0, sizeof(pi));
		memset(&a, 0, sizeof(a));
		pi.nr_line_info = 64;
		pi.line_info = (long)o;
		pi.line_info_rec_size = sizeof(o[0]);
		pi.nr_jited_line_info = 64;
		pi.jited_line_info = (long)jl;
		pi.jited_line_info_rec_size = 8;
		a.info.bpf_fd = loaded.fds[r];
		a.info.info_len = sizeof(pi);
		a.info.info = (long)&pi;
		bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a));
		bad += pi.nr_line_info != want[r] || pi.nr_jited_line_info != want[r] || o[0].insn_off ||
		       o[0].line_col >> 10 != first[r] + 1;
		for (unsigned i = 1; i < pi.nr_line_info; i++)
			bad += o[i].insn_off <= o[i - 1].insn_off;
		for (unsigned i = 0; i < pi.nr_line_info; i++) {
			int in = 0;
			for (unsigned k = 0; k < view0.i.nr_jited_ksyms; k++)
				in |= jl[i] >= view0.ksyms[k] && jl[i] < view0.ksyms[k] + view0.lens[k];
			bad += !in;
		}
	}
	result("T64/views", !bad, "bad %d last view %u entries", bad, pi.nr_line_info);
	close_all(&loaded);
}
