// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Tail calls: owner of the program array, shared code that tail calls, roots as targets.
 */

void tail_calls_cases(void)
{
	{ /* tail calls */
		int pa = map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0);
		struct bpf_insn ti[] = { MOV_IMM(R0, 3), EXIT };
		int tgt = load_single(XDP, 0, ti, 2, 0), a = -1, b = -1, c = -1, e = -1;
		struct func s =
			SUB("s", LD_MAP(R2, pa), MOV_IMM(R3, 0), HELPER(tail_call), MOV_IMM(R0, 2), EXIT);
		struct func f[] = { ROOT("xa", XDP, CALL_FUNC(2), EXIT), ROOT("xb", XDP, CALL_FUNC(2), EXIT),
				    s };
		if (ACCEPT("T40 tail call in shared code", f)) {
			test_run(loaded.fds[0], &a);
			int u = map_set(pa, 0, &tgt);
			test_run(loaded.fds[0], &b);
			close(loaded.fds[0]);
			loaded.fds[0] = -1;
			rcu_settle();
			test_run(loaded.fds[1], &c);
			map_del(pa, 0);
			close(tgt);
			rcu_settle();
			test_run(loaded.fds[1], &e);
			result("T40/run", a == 2 && b == 3 && c == 3 && e == 2 && !u,
			       "empty %d set %d (root0) closed root0: %d (root1), deleted %d", a, b, c, e);
		} else
			close(tgt);
		close_all(&loaded);
		struct func g[] = { ROOT("xa", XDP, CALL_FUNC(2), EXIT),
				    ROOT("kb", KPROBE, CALL_FUNC(2), EXIT), s };
		REFUSE("T41 X,K tail call", g, EINVAL,
		       "same insn cannot be used with different contexts: tail call");
		tgt = load_single(XDP, 0, ti, 2, 0);
		a = b = -1;
		struct func h[] = { ROOT("xa", XDP, MOV_IMM(R0, 1), EXIT),
				    ROOT("xb", XDP, LD_MAP(R2, pa), MOV_IMM(R3, 0), HELPER(tail_call),
					 MOV_IMM(R0, 2), EXIT) };
		if (ACCEPT("T42 tail call in root1", h)) {
			map_set(pa, 0, &tgt);
			close(loaded.fds[0]);
			loaded.fds[0] = -1;
			rcu_settle();
			test_run(loaded.fds[1], &a);
			map_del(pa, 0);
			close(tgt);
			rcu_settle();
			test_run(loaded.fds[1], &b);
			result("T42/run", a == 3 && b == 2, "%d %d", a, b);
		}
		close_all(&loaded);
		/* prog array owned by X, loaded in an arm dead for T */
		struct func q[] = { ROOT("tp", TRACEPOINT, MOV_REG(R4, R1), MOV_IMM(R1, 1), CALL_EXIT(2)),
				    ROOT("xb", XDP, MOV_REG(R4, R1), MOV_IMM(R1, 2), CALL_FUNC(2), EXIT),
				    SUB("s", BPF_JMP_IMM(BPF_JNE, R1, 2, 5), MOV_REG(R1, R4), LD_MAP(R2, pa),
					MOV_IMM(R3, 0), HELPER(tail_call), MOV_IMM(R0, 2), EXIT) };
		ACCEPT_CLOSE("T42b prog array of X in dead arm of T", q);
		struct func w[] = { ROOT("kp", KPROBE, MOV_IMM(R0, 0), LD_MAP(R2, pa), MOV_IMM(R3, 0),
					 HELPER(tail_call), MOV_IMM(R0, 0), EXIT),
				    ROOT("xb", XDP, MOV_IMM(R0, 1), EXIT) };
		REFUSE("T42c K uses prog array of X", w, EINVAL, NULL);
		/* group roots as tail call targets */
		struct func t[] = { ROOT("xa", XDP, CALL_FUNC(2), EXIT),
				    ROOT("xb", XDP, MOV_IMM(R0, 1), EXIT), SUB("s", MOV_IMM(R0, 4), EXIT) };
		if (ACCEPT("T42d root as tail call target", t)) {
			struct bpf_insn ci[] = { LD_MAP(R2, pa), MOV_IMM(R3, 0), HELPER(tail_call),
						 MOV_IMM(R0, 2), EXIT };
			int cl = load_single(XDP, 0, ci, 6, 0), u = map_set(pa, 0, &loaded.fds[0]);
			a = -1;
			close(loaded.fds[0]);
			loaded.fds[0] = -1;
			test_run(cl, &a);
			result("T42d/run", a == 4 && !u, "%d", a);
			map_del(pa, 0);
			close(cl);
		}
		close_all(&loaded);
		close(pa);
	}
}
