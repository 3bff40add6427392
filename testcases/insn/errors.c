// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Failures after the JIT: copy-out, FDs, log. All or nothing: no program, FD or symbol stays behind.
 */

static void tweak_ro(struct load *l)
{
	char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(p, l->roots, sizeof(l->roots[0]) * l->nroots);
	mprotect(p, 4096, PROT_READ);
	l->attr.roots = (long)p;
}
static void tweak_ro2(struct load *l) /* second record is read-only, first is not */
{
	char *p = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p += 4096 - 56;
	memcpy(p, l->roots, 112);
	mprotect(p + 56, 4096, PROT_READ);
	l->attr.roots = (long)p;
}
static void tweak_log(struct load *l)
{
	l->attr.log_size = 150;
	l->attr.log_level = 2;
}

void errors_cases(void)
{
	struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
			    SUB("s", LD_VALUE(R1, counter_map, 0), MOV_IMM(R0, 0), EXIT) };
	int progs_before = count_progs(), fds_before = count_fds();
	rcu_settle();
	for (int i = 0; i < 20; i++) {
		tweak = tweak_ro;
		load_prepare(&loaded, f, 3);
		tweak_ro(&loaded);
		tweak = NULL;
		load_do(&loaded);
		if (loaded.err != EFAULT)
			break;
	}
	rcu_settle();
	result("T52a EFAULT on copy out",
	       loaded.err == EFAULT && count_progs() == progs_before && count_fds() == fds_before &&
		       kallsyms_count("_s") == 0,
	       "errno %d progs %d fds %d kallsyms %d", loaded.err, count_progs(), count_fds(),
	       kallsyms_count("_s"));
	for (int i = 0; i < 20; i++) {
		load_prepare(&loaded, f, 3);
		tweak_ro2(&loaded);
		load_do(&loaded);
		if (loaded.err != EFAULT)
			break;
	}
	rcu_settle();
	result("T52b EFAULT on second",
	       loaded.err == EFAULT && count_progs() == progs_before && count_fds() == fds_before,
	       "errno %d progs %d fds %d", loaded.err, count_progs(), count_fds());
	{
		struct rlimit o, n;
		getrlimit(RLIMIT_NOFILE, &o);
		load_prepare(&loaded, f, 3);
		int top = dup(0);
		close(top);
		n = o;
		n.rlim_cur = top + 1;
		setrlimit(RLIMIT_NOFILE, &n);
		load_do(&loaded);
		setrlimit(RLIMIT_NOFILE, &o);
		rcu_settle();
		result("T52c EMFILE, one fd left",
		       loaded.err == EMFILE && count_progs() == progs_before && count_fds() == fds_before,
		       "errno %d progs %d fds %d", loaded.err, count_progs(), count_fds());
	}
	tweak = tweak_log;
	load_prepare(&loaded, f, 3);
	tweak = NULL;
	tweak_log(&loaded);
	load_do(&loaded);
	rcu_settle();
	result("T52d log ENOSPC after JIT",
	       loaded.err == ENOSPC && count_progs() == progs_before && count_fds() == fds_before &&
		       kallsyms_count("_s") == 0,
	       "errno %d progs %d", loaded.err, count_progs());
	/* log level 0, no buffer */
	load_prepare(&loaded, f, 3);
	loaded.attr.log_level = 0;
	loaded.attr.log_buf = 0;
	loaded.attr.log_size = 0;
	load_do(&loaded);
	result("T52e no log", !loaded.err, "errno %d", loaded.err);
	close_all(&loaded);
	load_prepare(&loaded, f, 3);
	loaded.attr.log_level = 0;
	loaded.attr.log_buf = 0;
	loaded.attr.log_size = 0;
	loaded.attr.root_cnt = 17;
	load_do(&loaded);
	result("T52f refusal without log", loaded.err == E2BIG, "errno %d", loaded.err);
}
