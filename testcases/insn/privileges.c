// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * A load needs the privileges of all of its roots.
 */

void privileges_cases(void)
{
	struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
			    SUB("s", LD_VALUE(R1, counter_map, 0), MOV_IMM(R0, 0), EXIT) };
	/* privileges */
	{
		uint64_t keep[] = { 0, 1ull << 39, 1ull << 39 | 1ull << 38, 1ull << 39 | 1ull << 12,
				    1ull << 39 | 1ull << 38 | 1ull << 12 };
		const char *n[] = { "T51 no caps", "T51b CAP_BPF", "T51c BPF+PERFMON", "T51d BPF+NET_ADMIN",
				    "T51e all three" };
		for (int i = 0; i < 5; i++) {
			int st;
			fflush(stdout);
			pid_t p = fork();
			if (!p) {
				load_prepare(&loaded, f, 3);
				drop_caps(keep[i]);
				load_do(&loaded);
				_exit(loaded.err);
			}
			waitpid(p, &st, 0);
			int want = i == 4 ? 0 : EPERM;
			result(n[i], WIFEXITED(st) && WEXITSTATUS(st) == want, "errno %d", WEXITSTATUS(st));
		}
	}
	{
		int st;
		struct func g[] = { ROOTE("cg", CGROUP_SKB, 0, 0, CALL_FUNC(2), MOV_IMM(R0, 1), EXIT),
				    ROOT("fi", SOCKET_FILTER, CALL_EXIT(2)),
				    SUB("s", LD_VALUE(R1, counter_map, 0), BPF_LDX_MEM(BPF_DW, R0, R1, 0),
					EXIT) };
		fflush(stdout);
		pid_t p = fork();
		if (!p) {
			load_prepare(&loaded, g, 3);
			drop_caps(1ull << 39);
			load_do(&loaded);
			_exit(loaded.err);
		}
		waitpid(p, &st, 0);
		result("T51f G,F with CAP_BPF only (spec masks on)", WEXITSTATUS(st) == 0, "errno %d",
		       WEXITSTATUS(st));
	}
}
