// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * The range of return values, and the highest context offset, belong to one root and its attach type.
 */

void returns_cases(void)
{
	{
		struct func f[] = { ROOT("kp", KPROBE, MOV_IMM(R0, 7), EXIT),
				    ROOTE("cg", CGROUP_SKB, 0, 0, MOV_IMM(R0, 7), EXIT) };
		REFUSE("T31 return range of root1", f, EINVAL, "At program exit the register R0 has");
	}
	{
		struct func s = SUB("s", MOV_IMM(R0, 2), EXIT);
		struct func f[] = { ROOTE("gi", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, CALL_FUNC(2), EXIT),
				    ROOTE("ge", CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, CALL_FUNC(2), EXIT),
				    s };
		REFUSE("T32 ingress returns 2", f, EINVAL, "should have been in [0, 1]");
		struct func g[] = { f[1], f[0], s };
		REFUSE("T32b other order", g, EINVAL, "should have been in [0, 1]");
		struct func h[] = { f[1],
				    ROOTE("ge2", CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, CALL_FUNC(2), EXIT),
				    s };
		ACCEPT_CLOSE("T32c egress only", h);
		struct func i[] = { ROOTE("ge", CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, CALL_FUNC(2), EXIT),
				    ROOTE("gi", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, MOV_IMM(R0, 1), EXIT),
				    s };
		if (ACCEPT("T32d egress 2, ingress 1", i)) {
			int e = cgroup_attach(loaded.fds[0], BPF_CGROUP_INET_EGRESS, 0),
			    e2 = cgroup_attach(loaded.fds[0], BPF_CGROUP_INET_INGRESS, 0),
			    e3 = cgroup_attach(loaded.fds[1], BPF_CGROUP_INET_INGRESS, 0);
			result("T32d/attach", !e && e2 && !e3,
			       "egress->egress %d, egress->ingress %d, ingress %d", e, e2, e3);
			if (!e)
				cgroup_attach(loaded.fds[0], BPF_CGROUP_INET_EGRESS, 1);
			if (!e3)
				cgroup_attach(loaded.fds[1], BPF_CGROUP_INET_INGRESS, 1);
		}
		close_all(&loaded);
	}
	{
		struct func f[] = { ROOT("tp", TRACEPOINT, BPF_LDX_MEM(BPF_DW, R2, R1, 56), CALL_EXIT(2)),
				    ROOT("kp", KPROBE, BPF_LDX_MEM(BPF_DW, R2, R1, 160), CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R0, 0), EXIT) };
		if (ACCEPT("T33 max_ctx_offset", f)) {
			int tf = attach_tp(loaded.fds[0], "sched/sched_switch");
			result("T33/attach", tf >= 0, "tp attach %d", tf);
			if (tf >= 0)
				close(tf);
		}
		close_all(&loaded);
		struct func g[] = { ROOT("kp", KPROBE, BPF_LDX_MEM(BPF_DW, R2, R1, 16), CALL_EXIT(2)),
				    ROOT("tp", TRACEPOINT, BPF_LDX_MEM(BPF_DW, R2, R1, 160), CALL_EXIT(2)),
				    SUB("s", MOV_IMM(R0, 0), EXIT) };
		if (ACCEPT("T33b tp reads beyond its record", g)) {
			int tf = attach_tp(loaded.fds[1], "sched/sched_switch");
			result("T33b/attach", tf == -EACCES, "tp attach %d", tf);
			if (tf >= 0)
				close(tf);
		}
		close_all(&loaded);
	}
}
