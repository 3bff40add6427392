// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Failures after the JIT: copy-out, FDs, log. All or nothing: no program, FD or symbol stays
 * behind.
 */

static const struct func funcs[] = {
	ROOT("ka", KPROBE, CALL_EXIT(2)),
	ROOT("xb", XDP, CALL_EXIT(2)),
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0)),
};

/* What there was before. */
static int progs, fds;

/* The load failed with @err, and nothing is left of it. */
static void check_nothing_left(const char *name, int err)
{
	int progs_left, fds_left, images;

	rcu_settle();
	progs_left = count_progs();
	fds_left = count_fds();
	images = kallsyms_count("_s");
	result(name, loaded.err == err && progs_left == progs && fds_left == fds && !images,
	       "errno %d programs %d->%d FDs %d->%d images %d", loaded.err, progs, progs_left,
	       fds, fds_left, images);
}

/* The records, of which those from @first on cannot be written to. */
static void make_read_only(struct load *l, int first)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *records = pages + 4096 - first * ROOT_SIZE;

	memcpy(records, l->roots, l->nr_roots * ROOT_SIZE);
	mprotect(pages + 4096, 4096, PROT_READ);
	l->attr.roots = (long)records;
}

static void copy_out_fails(const char *name, int first)
{
	int i;

	for (i = 0; i < 20; i++) {
		load_prepare(&loaded, funcs, ARRAY_SIZE(funcs));
		make_read_only(&loaded, first);
		if (load_do(&loaded) != EFAULT)
			break;
	}
	check_nothing_left(name, EFAULT);
}

static void no_fd_for_second(void)
{
	struct rlimit old, new;
	int top;

	getrlimit(RLIMIT_NOFILE, &old);
	load_prepare(&loaded, funcs, ARRAY_SIZE(funcs));
	top = dup(0);
	close(top);
	new = old;
	new.rlim_cur = top + 1;
	setrlimit(RLIMIT_NOFILE, &new);
	load_do(&loaded);
	setrlimit(RLIMIT_NOFILE, &old);
	check_nothing_left("one_fd_left", EMFILE); /* T52c */
}

static void log_too_small(void)
{
	load_prepare(&loaded, funcs, ARRAY_SIZE(funcs));
	loaded.attr.log_size = 150;
	loaded.attr.log_level = 2;
	load_do(&loaded);
	check_nothing_left("log_too_small", ENOSPC); /* T52d */
}

static void without_log(void)
{
	load_prepare(&loaded, funcs, ARRAY_SIZE(funcs));
	no_log(&loaded, 0);
	load_do(&loaded);
	result("load_without_log", !loaded.err, "errno %d", loaded.err); /* T52e */
	close_all(&loaded);
	load_prepare(&loaded, funcs, ARRAY_SIZE(funcs));
	no_log(&loaded, 0);
	loaded.attr.root_cnt = 17;
	load_do(&loaded);
	result("refusal_without_log", loaded.err == E2BIG, "errno %d", loaded.err); /* T52f */
}

static void scenarios(void)
{
	rcu_settle();
	progs = count_progs();
	fds = count_fds();
	copy_out_fails("copy_out_fault", 0); /* T52a */
	copy_out_fails("copy_out_fault_of_second_root", 1); /* T52b */
	no_fd_for_second();
	log_too_small();
	without_log();
}

const struct insn_group errors_group = {
	.name = "errors",
	.scenarios = scenarios,
};
