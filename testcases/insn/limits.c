// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Roots are no callees and no callbacks; recursion, callbacks in shared code, LD_ABS, and as many roots as there can be.
 */

void limits_cases(void)
{
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(1)),
				    ROOT("kb", KPROBE, MOV_IMM(R0, 0), EXIT) };
		REFUSE("T45 root calls root", f, EINVAL, "func#1 is a root and cannot be called");
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, MOV_IMM(R0, 0), EXIT),
				    ROOT("kb", KPROBE, CALL_EXIT(2)), SUB("s", CALL_EXIT(0)) };
		REFUSE("T45b subprog calls root0", f, EINVAL, "func#0 is a root and cannot be called");
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, MOV_IMM(R1, 1), LD_FUNC(R2, 1), MOV_IMM(R3, 0),
					 MOV_IMM(R4, 0), HELPER(loop), MOV_IMM(R0, 0), EXIT),
				    ROOT("kb", KPROBE, MOV_IMM(R0, 0), EXIT) };
		REFUSE("T46 root as callback", f, EINVAL, "func#1 is a root and cannot be called");
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
				    SUB("s", CALL_FUNC(2), EXIT) };
		REFUSE("T47 recursion", f, E2BIG, "the call stack of 9 frames is too deep");
	}
	{ /* bpf_loop with shared callback */
		int a = -1, b = -1;
		struct func f[] = { ROOT("xa", XDP, CALL_FUNC(2), EXIT), ROOT("tb", TC, CALL_FUNC(2), EXIT),
				    SUB("s", BPF_ST_MEM(BPF_DW, R10, -8, 0), MOV_IMM(R1, 5), LD_FUNC(R2, 3),
					MOV_REG(R3, R10), BPF_ALU64_IMM(BPF_ADD, R3, -8), MOV_IMM(R4, 0),
					HELPER(loop), BPF_LDX_MEM(BPF_DW, R0, R10, -8), EXIT),
				    SUB("cb", BPF_LDX_MEM(BPF_DW, R3, R2, 0), BPF_ALU64_IMM(BPF_ADD, R3, 2),
					BPF_STX_MEM(BPF_DW, R2, R3, 0), MOV_IMM(R0, 0), EXIT) };
		if (ACCEPT("T47b bpf_loop in shared code", f)) {
			test_run(loaded.fds[0], &a);
			test_run(loaded.fds[1], &b);
			view_get(loaded.fds[1], &view1);
			result("T47b/run", a == 10 && b == 10 && view1.i.nr_jited_ksyms == 3, "%d %d", a, b);
		}
		close_all(&loaded);
	}
	{ /* for_each_map_elem callback: pseudo func stays */
		int a = -1;
		struct func f[] = { ROOT("xa", XDP, MOV_IMM(R0, 9), EXIT), ROOT("tb", TC, CALL_FUNC(2), EXIT),
				    SUB("s", LD_MAP(R1, array_map), LD_FUNC(R2, 3), MOV_IMM(R3, 0),
					MOV_IMM(R4, 0), HELPER(for_each_map_elem), EXIT),
				    SUB("cb", MOV_IMM(R0, 0), EXIT) };
		if (ACCEPT("T47c for_each callback of one root", f)) {
			test_run(loaded.fds[1], &a);
			view_get(loaded.fds[0], &view0);
			view_get(loaded.fds[1], &view1);
			result("T47c/run",
			       a == 4 && view0.i.nr_jited_ksyms == 1 && view1.i.nr_jited_ksyms == 3 &&
				       view0.i.nr_map_ids == 0 && view1.i.nr_map_ids == 1,
			       "%d, ksyms %u %u maps %u %u", a, view0.i.nr_jited_ksyms,
			       view1.i.nr_jited_ksyms, view0.i.nr_map_ids, view1.i.nr_map_ids);
		}
		close_all(&loaded);
	}
	{
		int a = -1; /* fastcall pattern */
		struct func f[] = { ROOT("xa", XDP, CALL_FUNC(2), EXIT), ROOT("xb", XDP, CALL_FUNC(2), EXIT),
				    SUB("s", MOV_IMM(R1, 7), BPF_STX_MEM(BPF_DW, R10, R1, -8),
					HELPER(get_smp_processor_id), BPF_LDX_MEM(BPF_DW, R1, R10, -8),
					MOV_REG(R0, R1), EXIT) };
		if (ACCEPT("T61 fastcall", f)) {
			test_run(loaded.fds[0], &a);
			view_get(loaded.fds[0], &view0);
			int st = 0;
			for (int i = view0.fi[1].off; i < view0.nx; i++)
				st += view0.xl[i].code == (BPF_STX | BPF_MEM | BPF_DW);
			result("T61/run", a == 7 && st == 1, "%d spills kept %d", a, st);
		}
		close_all(&loaded);
	}
	struct func ld_abs_sub = SUB("s", MOV_REG(R6, R1), BPF_LD_ABS(BPF_B, 2), EXIT);
	{
		struct func f[] = { ROOT("fi", SOCKET_FILTER, CALL_FUNC(2), EXIT),
				    ROOT("tc", TC, CALL_FUNC(2), EXIT), ld_abs_sub };
		REFUSE("T62 F,C LD_ABS", f, EINVAL,
		       "same insn cannot be used with different contexts: LD_ABS");
	}
	{
		struct func f[] = { ROOT("fa", SOCKET_FILTER, CALL_FUNC(2), EXIT),
				    ROOT("fb", SOCKET_FILTER, CALL_FUNC(2), EXIT), ld_abs_sub };
		int a = -1;
		if (ACCEPT("T62b F,F LD_ABS", f)) {
			char pkt[64] = { 0 };
			pkt[16] = 42;
			test_run_full(loaded.fds[1], pkt, 64, NULL, 0, NULL, 0, &a);
			result("T62b/run", a == 42, "%d", a);
		}
		close_all(&loaded);
	}
	{
		struct func f[17];
		for (int i = 0; i < 16; i++) {
			struct func r = ROOT("r", i & 1 ? TC : XDP, MOV_IMM(R1, 0), CALL_FUNC(16), EXIT);
			f[i] = r;
			f[i].insns = malloc(24);
			memcpy(f[i].insns, r.insns, 24);
			f[i].insns[0].imm = i;
			static char nm[16][8];
			sprintf(nm[i], "r%d", i);
			f[i].name = nm[i];
		}
		struct func s = SUB("shared16", MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 100), EXIT);
		f[16] = s;
		int ok = 1, a;
		if (check("T63 16 roots", f, 17, 0, NULL)) {
			for (int i = 0; i < 16; i++) {
				a = -1;
				test_run(loaded.fds[i], &a);
				ok &= a == 100 + i;
			}
			int n = kallsyms_count("_shared16");
			for (int i = 0; i < 15; i++) {
				close(loaded.fds[i]);
				loaded.fds[i] = -1;
			}
			rcu_settle();
			a = -1;
			test_run(loaded.fds[15], &a);
			result("T63/run", ok && n == 1 && a == 115, "all ran, %d image, last one alone %d", n,
			       a);
		}
		close_all(&loaded);
	}
	opt_prog_flags = BPF_F_TEST_STATE_FREQ;
	{
		struct func f[] = { EXAMPLE_KPROBE(2), EXAMPLE_TRACEPOINT(2), EXAMPLE_SUB };
		check("T59 state freq", f, 3, 0, "Validating root#0 kp_root()");
		result("T59/log", strstr(log_text, "Validating root#1 tp_root()"), "second root in the log");
		close_all(&loaded);
	}
	opt_prog_flags = 0;
}
