// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Each root has its own view of line info: only lines of functions it reaches, rising, inside its
 * images.
 */

static const struct func funcs[] = {
	ROOT("xa", XDP, MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
	ROOT("tb", TC, CALL_FUNC(3), CALL_FUNC(2), EXIT),
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0)),
	SUB("s3", RETURN(0)),
};

/* Instruction number i is on line i + 1. Returns how many lines there are. */
static int describe_lines(struct bpf_line_info *lines)
{
	int n = 0, i;

	for (i = 0; i < loaded.nr_insns; i++) {
		/* the second half of a load of 64 bits */
		if (i && loaded.insns[i].code == 0)
			continue;
		lines[n++] = (struct bpf_line_info){ i, 1, 1, (i + 1) << 10 };
	}
	return n;
}

/* Returns how much of a root's view is not as it should be. */
static int check_lines(int fd, int wanted, int first)
{
	static struct bpf_line_info lines[64];
	static struct bpf_prog_info info;
	static __u64 jited[64];
	union bpf_attr attr;
	unsigned int i, k;
	int bad;

	view_get(fd, &view0);
	memset(&info, 0, sizeof(info));
	memset(&attr, 0, sizeof(attr));
	info.nr_line_info = ARRAY_SIZE(lines);
	info.line_info = (long)lines;
	info.line_info_rec_size = sizeof(lines[0]);
	info.nr_jited_line_info = ARRAY_SIZE(jited);
	info.jited_line_info = (long)jited;
	info.jited_line_info_rec_size = sizeof(jited[0]);
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (long)&info;
	bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	bad = info.nr_line_info != wanted || info.nr_jited_line_info != wanted ||
	      lines[0].insn_off || lines[0].line_col >> 10 != first + 1;
	for (i = 1; i < info.nr_line_info; i++)
		bad += lines[i].insn_off <= lines[i - 1].insn_off;
	for (i = 0; i < info.nr_line_info; i++) {
		bool inside = false;

		for (k = 0; k < view0.info.nr_jited_ksyms; k++)
			inside |= jited[i] >= view0.ksyms[k] &&
				  jited[i] < view0.ksyms[k] + view0.lens[k];
		bad += !inside;
	}
	return bad;
}

static void line_info(void)
{
	const char *name = "line_info"; /* T64 */
	struct bpf_line_info lines[64];
	int n, bad;

	load_prepare(&loaded, funcs, ARRAY_SIZE(funcs));
	n = describe_lines(lines);
	loaded.attr.line_info = (long)lines;
	loaded.attr.line_info_cnt = n;
	loaded.attr.line_info_rec_size = sizeof(lines[0]);
	if (!expect_load(name, load_do(&loaded), 0, NULL))
		return;
	bad = check_lines(loaded.fds[0], 3 + 3, 0);
	bad += check_lines(loaded.fds[1], 3 + 3 + 2, 3);
	sub_result(name, "views", !bad, "%d are wrong", bad);
	close_all(&loaded);
}

const struct insn_group views_group = {
	.name = "views",
	.scenarios = line_info,
};
