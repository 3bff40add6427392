// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Verifier state must not leak from one root into the next.
 * Attacks state pruning, spills, callbacks, uninitialised arguments, loops and stale packet pointers in shared code.
 */

void state_cases(void)
{
	/* ld_imm64 of a map reached on behalf of one root only decides map owner checks */
	{
		struct func s = SUB("s", MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 3),
				    BPF_ST_MEM(BPF_DW, R10, -8, 0), BPF_LDX_MEM(BPF_W, R0, R10, -8),
				    BPF_JMP_A(0), EXIT);
		struct func f[] = { ROOT("xa", XDP, CALL_EXIT(2)), ROOT("tb", TC, CALL_EXIT(2)), s };
		ACCEPT_CLOSE("T70 ctx compared with NULL in shared code", f);
	}
	{ /* ctx spilled and filled in shared code, used by nobody */
		struct func f[] = { ROOT("xa", XDP, CALL_EXIT(2)), ROOT("kb", KPROBE, CALL_EXIT(2)),
				    SUB("s", BPF_STX_MEM(BPF_DW, R10, R1, -8),
					BPF_LDX_MEM(BPF_DW, R2, R10, -8), MOV_IMM(R0, 0), EXIT) };
		ACCEPT_CLOSE("T71 ctx spill", f);
		struct func g[] = { f[0], f[1],
				    SUB("s", BPF_STX_MEM(BPF_DW, R10, R1, -8),
					BPF_LDX_MEM(BPF_DW, R2, R10, -8), BPF_LDX_MEM(BPF_W, R0, R2, 0),
					EXIT) };
		REFUSE("T71b deref after spill", g, EINVAL, DIFFERENT_CONTEXTS);
	}
	{ /* same state at a pruning point: only ctx type differs, hidden behind a join */
		struct func s = SUB("s", MOV_REG(R6, R1), HELPER(ktime_get_ns),
				    BPF_JMP_IMM(BPF_JEQ, R0, 0, 1), MOV_IMM(R0, 1), MOV_IMM(R0, 2),
				    BPF_LDX_MEM(BPF_W, R7, R6, 4), MOV_IMM(R0, 0), EXIT);
		struct func f[] = { ROOT("xa", XDP, CALL_EXIT(2)), ROOT("kb", KPROBE, CALL_EXIT(2)), s };
		REFUSE("T72 join before ctx load X,K", f, EINVAL, DIFFERENT_CONTEXTS);
		struct func g[] = { f[1], f[0], s };
		REFUSE("T72b K,X", g, EINVAL, DIFFERENT_CONTEXTS);
	}
	{ /* callback gets ctx through its context pointer */
		struct func f[] = { ROOT("xa", XDP, CALL_EXIT(2)), ROOT("kb", KPROBE, CALL_EXIT(2)),
				    SUB("s", MOV_REG(R3, R1), MOV_IMM(R1, 3), LD_FUNC(R2, 3), MOV_IMM(R4, 0),
					HELPER(loop), MOV_IMM(R0, 0), EXIT),
				    SUB("cb", MOV_IMM(R0, 0), EXIT) };
		REFUSE("T73 ctx through bpf_loop", f, EACCES, NULL);
		struct func g[] = { f[0], f[1],
				    SUB("s", BPF_STX_MEM(BPF_DW, R10, R1, -8), MOV_REG(R3, R10),
					BPF_ALU64_IMM(BPF_ADD, R3, -8), MOV_IMM(R1, 3), LD_FUNC(R2, 3),
					MOV_IMM(R4, 0), HELPER(loop), MOV_IMM(R0, 0), EXIT),
				    SUB("cb", BPF_LDX_MEM(BPF_DW, R1, R2, 0), BPF_LDX_MEM(BPF_W, R0, R1, 0),
					MOV_IMM(R0, 0), EXIT) };
		REFUSE("T73b ctx deref in callback", g, EINVAL, DIFFERENT_CONTEXTS);
	}
	{ /* complexity budget is shared; uninitialised args are seen per root */
		struct func f[] = { ROOT("xa", XDP, MOV_IMM(R3, 1), CALL_EXIT(2)),
				    ROOT("tb", TC, CALL_EXIT(2)), SUB("s", MOV_REG(R0, R3), EXIT) };
		REFUSE("T74 arg not set by root1", f, EACCES, "R3 !read_ok");
		struct func g[] = { f[1], f[0], f[2] };
		REFUSE("T74b by root0", g, EACCES, "R3 !read_ok");
	}
	{ /* no root reaches F */
		struct func f[] = { ROOT("xa", XDP, MOV_IMM(R0, 0), EXIT),
				    ROOT("tb", TC, MOV_IMM(R0, 0), EXIT), SUB("s", MOV_IMM(R0, 0), EXIT) };
		REFUSE("T75 function of no root", f, EINVAL, NULL);
	}
	{ /* infinite loop in shared code via root1 only */
		struct func f[] = { ROOT("xa", XDP, MOV_IMM(R1, 0), CALL_EXIT(2)),
				    ROOT("tb", TC, MOV_IMM(R1, 1), CALL_EXIT(2)),
				    SUB("s", BPF_JMP_IMM(BPF_JNE, R1, 0, -1), MOV_IMM(R0, 0), EXIT) };
		REFUSE("T76 endless for root1", f, EINVAL, "infinite loop detected");
	}
	{ /* packet pointers: X changes data in S, keeps using them */
		struct func f[] = { ROOT("xa", XDP, MOV_REG(R6, R1), BPF_LDX_MEM(BPF_W, R7, R1, 0),
					 BPF_LDX_MEM(BPF_W, R8, R1, 4), MOV_IMM(R2, 1), CALL_FUNC(2),
					 MOV_REG(R0, R7), BPF_ALU64_IMM(BPF_ADD, R0, 4),
					 BPF_JMP_REG(BPF_JGT, R0, R8, 1), BPF_LDX_MEM(BPF_B, R0, R7, 0),
					 MOV_IMM(R0, 2), EXIT),
				    ROOT("kb", KPROBE, MOV_IMM(R2, 0), CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R2, 0, 2), MOV_IMM(R2, -4),
					HELPER(xdp_adjust_head), MOV_IMM(R0, 0), EXIT) };
		check("T77 stale packet pointer", f, 3, EACCES, "invalid mem access 'scalar'");
		close_all(&loaded);
		if (!loaded.err)
			close_all(&loaded);
	}
	{ /* two roots with the same helper but different kinds of maps at one insn */
		int pa = map_create(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 64, 4, 0);
		struct func f[] = { ROOT("xa", XDP, LD_MAP(R1, pa), CALL_FUNC(2), EXIT),
				    ROOT("tb", TC, LD_MAP(R1, array_map), CALL_FUNC(2), EXIT),
				    SUB("s", BPF_ST_MEM(BPF_W, R10, -4, 1), MOV_REG(R2, R10),
					BPF_ALU64_IMM(BPF_ADD, R2, -4), HELPER(map_lookup_elem),
					BPF_JMP_IMM(BPF_JEQ, R0, 0, 4), BPF_LDX_MEM(BPF_DW, R1, R0, 0),
					BPF_ALU64_IMM(BPF_ADD, R1, 1), BPF_STX_MEM(BPF_DW, R0, R1, 0),
					MOV_IMM(R0, 8), EXIT) };
		int a = -1, b = -1;
		uint64_t v[8] = { 0 };
		map_set(array_map, 1, v);
		if (ACCEPT("T78 percpu/plain array at one lookup", f)) {
			for (int i = 0; i < 3; i++) {
				test_run(loaded.fds[0], &a);
				test_run(loaded.fds[1], &b);
			}
			map_get(array_map, 1, v);
			result("T78/run", a == 8 && b == 8 && v[0] == 3, "%d %d count %llu", a, b,
			       (long long)v[0]);
		}
		close_all(&loaded);
		close(pa);
	}
}
