// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Loaded roots seen from outside: what may attach to them, pins, fdinfo, the JIT switches, many reloads.
 */

void lifetime_cases(void)
{
	struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
			    SUB("s", LD_VALUE(R1, counter_map, 0), MOV_IMM(R0, 0), EXIT) };
	int progs_before = count_progs(), fds_before;
	/* fentry on a root */
	{
		struct func g[] = { ROOT("xa", XDP, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R0, 0), EXIT) };
		if (ACCEPT("T55 target", g)) {
			union bpf_attr a;
			struct bpf_insn i[] = { MOV_IMM(R0, 0), EXIT };
			memset(&a, 0, sizeof(a));
			a.prog_type = BPF_PROG_TYPE_TRACING;
			a.expected_attach_type = BPF_TRACE_FENTRY;
			a.attach_btf_id = BTF_FUNC0;
			a.attach_prog_fd = loaded.fds[0];
			a.insns = (long)i;
			a.insn_cnt = 2;
			a.license = (long)"GPL";
			a.log_buf = (long)log_text;
			a.log_size = LOG_SIZE;
			a.log_level = 1;
			log_text[0] = 0;
			int r = bpf(BPF_PROG_LOAD, &a, sizeof(a)), e = errno;
			result("T55 fentry on root",
			       r < 0 && e == EOPNOTSUPP &&
				       strstr(log_text,
					      "attaching to functions of a multi-root program is not supported"),
			       "errno %d %s", e, tail_of(log_text));
			a.attach_btf_id = BTF_FUNC0 + 2;
			r = bpf(BPF_PROG_LOAD, &a, sizeof(a));
			e = errno;
			result("T55b fentry on shared", r < 0 && e == EOPNOTSUPP, "errno %d", e);
			a.prog_type = BPF_PROG_TYPE_EXT;
			a.expected_attach_type = 0;
			r = bpf(BPF_PROG_LOAD, &a, sizeof(a));
			e = errno;
			result("T55c freplace", r < 0 && e == EOPNOTSUPP, "errno %d", e);
		}
		/* pin */
		union bpf_attr a;
		memset(&a, 0, sizeof(a));
		a.pathname = (long)"/sys/fs/bpf/r1";
		a.bpf_fd = loaded.fds[1];
		int e = bpf(BPF_OBJ_PIN, &a, sizeof(a)), rv = -1;
		close_all(&loaded);
		rcu_settle();
		int n = kallsyms_count("_s");
		a.bpf_fd = 0;
		int fd = bpf(BPF_OBJ_GET, &a, sizeof(a));
		if (fd >= 0)
			test_run(fd, &rv);
		int n2 = count_progs();
		unlink("/sys/fs/bpf/r1");
		close(fd);
		rcu_settle();
		result("T56 pin root1, close all, get",
		       !e && n == 1 && rv == 0 && n2 == progs_before + 1 && count_progs() == progs_before &&
			       kallsyms_count("_s") == 0,
		       "pin %d shared %d ret %d progs %d after %d", e, n, rv, n2, count_progs());
	}
	/* fdinfo */
	{
		load_prepare(&loaded, f, 3);
		load_do(&loaded);
		char b[600] = "", pth[60];
		sprintf(pth, "/proc/self/fdinfo/%d", loaded.fds[1]);
		int fd = open(pth, O_RDONLY);
		if (read(fd, b, 599) < 0) {
		}
		close(fd);
		char *g = strstr(b, "group_id:");
		result("T56b fdinfo", g && atoi(g + 10) > 0, "%.14s", g ? g : "-");
		int en = fcntl(loaded.fds[1], F_GETFD);
		result("T56c cloexec", en == FD_CLOEXEC, "%d", en);
		close_all(&loaded);
	}
	/* JIT knobs */
	writestr("/proc/sys/net/core/bpf_jit_enable", "0");
	if (readint("/proc/sys/net/core/bpf_jit_enable") == 0)
		REFUSE("T57 JIT off", f, EOPNOTSUPP, "multi-root load requires JIT");
	else
		skip("T57 JIT off", "the JIT is always on in this kernel");
	writestr("/proc/sys/net/core/bpf_jit_enable", "1");
	writestr("/proc/sys/net/core/bpf_jit_harden", "2");
	{
		struct func g[] = { ROOT("xa", XDP, MOV_IMM(R1, 0x12345), CALL_FUNC(2), EXIT),
				    ROOT("tb", TC, MOV_IMM(R1, 0x23456), CALL_FUNC(2), EXIT),
				    SUB("s", MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 0x11111), EXIT) };
		int a = -1, b = -1;
		uint64_t ad = 0;
		if (ACCEPT("T57b harden=2", g)) {
			test_run(loaded.fds[0], &a);
			test_run(loaded.fds[1], &b);
			view_get(loaded.fds[0], &view0);
			view_get(loaded.fds[1], &view1);
			int sh = shared_ksym(&view0, &view1, &ad);
			result("T57b/run", a == 0x23456 && b == 0x34567 && sh == 1, "%x %x shared %d", a, b,
			       sh);
		}
		close_all(&loaded);
	}
	writestr("/proc/sys/net/core/bpf_jit_harden", "0");
	/* reloads */
	rcu_settle();
	progs_before = count_progs();
	fds_before = count_fds();
	{
		int bad = 0;
		for (int i = 0; i < 300; i++) {
			load_prepare(&loaded, f, 3);
			loaded.attr.log_level = 0;
			loaded.attr.log_buf = 0;
			loaded.attr.log_size = 0;
			load_do(&loaded);
			bad += !!loaded.err;
			if (i & 1) {
				int t = loaded.fds[0];
				loaded.fds[0] = loaded.fds[1];
				loaded.fds[1] = t;
			}
			close_all(&loaded);
		}
		rcu_settle();
		result("T53 300 loads", !bad && count_progs() == progs_before && count_fds() == fds_before,
		       "bad %d progs %d", bad, count_progs());
	}
}
