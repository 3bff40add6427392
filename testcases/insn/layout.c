// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Stack depth is counted from each root; dead code is what is dead in all roots; views follow when code moves.
 */

void layout_cases(void)
{
	struct func stack200 = SUB("s", BPF_ST_MEM(BPF_DW, R10, -200, 1), MOV_IMM(R0, 0), EXIT);
	{
		struct func f[] = { ROOT("ka", KPROBE, BPF_ST_MEM(BPF_DW, R10, -256, 1), CALL_EXIT(2)),
				    ROOT("xb", XDP, BPF_ST_MEM(BPF_DW, R10, -296, 1), CALL_EXIT(2)),
				    stack200 };
		ACCEPT_CLOSE("T35 stacks are per root", f);
	}
	{
		struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)),
				    ROOT("xb", XDP, BPF_ST_MEM(BPF_DW, R10, -400, 1), CALL_EXIT(2)),
				    stack200 };
		REFUSE("T36 second root too deep", f, EACCES,
		       "combined stack size of 2 calls is 608. Too large");
	}
	{
		struct func s = SUB("s", BPF_JMP_IMM(BPF_JEQ, R1, 1, 2), MOV_IMM(R0, 22), EXIT,
				    MOV_IMM(R0, 11), EXIT);
		int a = -1, b = -1;
		struct func f[] = { ROOT("xa", XDP, MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
				    ROOT("tb", TC, MOV_IMM(R1, 2), CALL_FUNC(2), EXIT), s };
		if (ACCEPT("T38 arms dead in the other root", f)) {
			test_run(loaded.fds[0], &a);
			test_run(loaded.fds[1], &b);
			result("T38/run", a == 11 && b == 22, "%d %d", a, b);
		}
		close_all(&loaded);
	}
	{ /* dead in both: function F goes away, roots move */
		int a = -1, b = -1;
		struct func f[] = {
			ROOT("xa", XDP, MOV_IMM(R1, 1), CALL_FUNC(2), EXIT),
			{ 0 },
			SUB("s", MOV_IMM(R0, 33), BPF_JMP_IMM(BPF_JNE, R1, 9, 1), CALL_FUNC(3), EXIT),
			SUB("dead", MOV_IMM(R0, 1), MOV_IMM(R0, 2), EXIT),
			ROOT("tb", TC, MOV_IMM(R1, 2), CALL_FUNC(2), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT),
			SUB("s2", MOV_IMM(R0, 44), EXIT),
			ROOT("xc", XDP, CALL_FUNC(4), EXIT)
		};
		struct func g[] = {
			f[0],
			SUB("s", MOV_IMM(R0, 33), BPF_JMP_IMM(BPF_JNE, R1, 9, 1), CALL_FUNC(2), EXIT),
			SUB("dead", MOV_IMM(R0, 1), MOV_IMM(R0, 2), EXIT),
			ROOT("tb", TC, MOV_IMM(R1, 2), CALL_FUNC(1), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT),
			SUB("s2", MOV_IMM(R0, 44), EXIT),
			ROOT("xc", XDP, CALL_FUNC(4), EXIT)
		};
		g[0].insns[1].imm = 1;
		int c = -1;
		if (ACCEPT("T39 dead function removed", g)) {
			test_run(loaded.fds[0], &a);
			test_run(loaded.fds[1], &b);
			test_run(loaded.fds[2], &c);
			view_get(loaded.fds[1], &view1);
			view_get(loaded.fds[2], &view2);
			result("T39/run",
			       a == 33 && b == 34 && c == 44 && kallsyms_count("_dead") == 0 &&
				       kallsyms_count("_s2") == 1 && kallsyms_count("_tb") == 1 &&
				       kallsyms_count("_xc") == 1 && view1.i.nr_func_info == 2 &&
				       view1.i.nr_jited_ksyms == 2,
			       "%d %d %d, dead in kallsyms %d", a, b, c, kallsyms_count("_dead"));
		}
		close_all(&loaded);
	}
}
