// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What a root says of itself. It has its own view of line info: only lines of functions it reaches,
 * rising, inside its images.
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
	unsigned int i, k;
	int bad;

	view_get(fd, &view0);
	memset(&info, 0, sizeof(info));
	info.nr_line_info = ARRAY_SIZE(lines);
	info.line_info = (long)lines;
	info.line_info_rec_size = sizeof(lines[0]);
	info.nr_jited_line_info = ARRAY_SIZE(jited);
	info.jited_line_info = (long)jited;
	info.jited_line_info_rec_size = sizeof(jited[0]);
	obj_info(fd, &info, sizeof(info));
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

/* Fills in what it is not asked for, to see it written over. Returns 0 or -errno. */
static int info_over_garbage(int fd, struct bpf_prog_info *info)
{
	memset(info, 0, sizeof(*info));
	info->group_id = 7;
	info->prog_flags = ~0;
	info->expected_attach_type = 77;
	return obj_info(fd, info, sizeof(*info));
}

static bool is_true(const struct bpf_prog_info *info, __u32 group, int attach_type, __u32 flags)
{
	return info->group_id == group && info->expected_attach_type == attach_type &&
	       info->prog_flags == flags;
}

/* What a process with these capabilities reads, which has the FDs of its parent. */
static void read_by(const char *name, const char *who, __u64 caps, const int *fds, __u32 group)
{
	struct bpf_prog_info info[3];
	int status = -1, bad, i;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		drop_caps(caps);
		for (bad = 0, i = 0; i < 3; i++)
			bad |= !!info_over_garbage(fds[i], &info[i]) << i;
		bad |= !is_true(&info[0], group, INGRESS, 0) << 3;
		bad |= !is_true(&info[1], group, 0, BPF_F_XDP_HAS_FRAGS) << 4;
		bad |= !is_true(&info[2], 0, 0, 0) << 5;
		/* who has no capabilities is not told where the images are */
		bad |= (!caps && (info[0].nr_jited_ksyms || info[1].nr_func_info)) << 6;
		_exit(bad);
	}
	waitpid(child, &status, 0);
	sub_result(name, who, WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
}

/* Fields of the kernel's answer are never what they were in the question. */
static void garbage_in_info(void)
{
	static const struct func group[] = {
		ROOT_AS("cg", CGROUP_SKB, INGRESS, 0, CALL_FUNC(2), RETURN(1)),
		ROOT_AS("xf", XDP, 0, BPF_F_XDP_HAS_FRAGS, CALL_EXIT(2)),
		SUB("s", RETURN(0)),
	};
	static const struct func alone = ROOT("t", TC, RETURN(0));
	const char *name = "info_over_garbage";
	int fds[3];

	load_group(group, ARRAY_SIZE(group));
	expect_load(name, loaded.err, 0, NULL);
	fds[0] = loaded.fds[0];
	fds[1] = loaded.fds[1];
	view_get(fds[0], &view0);
	sub_result(name, "group", view0.info.group_id, "%u", view0.info.group_id);
	/* this overwrites what is loaded */
	fds[2] = load_prog(&alone, 1);
	read_by(name, "without_caps", 0, fds, view0.info.group_id);
	read_by(name, "with_bpf", 1ULL << CAP_BPF, fds, view0.info.group_id);
	close(fds[0]);
	close(fds[1]);
	close(fds[2]);
	rcu_settle();
}

static void scenarios(void)
{
	line_info();
	garbage_in_info();
}

const struct insn_group views_group = {
	.name = "views",
	.scenarios = scenarios,
};
