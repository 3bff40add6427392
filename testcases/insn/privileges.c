// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * A load needs the privileges of all of its roots.
 */

#define CAPS(cap) (1ULL << CAP_##cap)

static const struct func kprobe_xdp[] = {
	ROOT("ka", KPROBE, CALL_EXIT(2)),
	ROOT("xb", XDP, CALL_EXIT(2)),
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0)),
};

/* types that need CAP_BPF alone; speculation is masked in what they share */
static const struct func cgroup_filter[] = {
	ROOT_AS("cg", CGROUP_SKB, 0, 0, CALL_FUNC(2), RETURN(1)),
	ROOT("fi", SOCKET_FILTER, CALL_EXIT(2)),
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), BPF_LDX_MEM(BPF_DW, R0, R1, 0), EXIT),
};

static const struct {
	const char *name;
	const struct func *funcs;
	__u64 caps;
	int err;
} tests[] = {
	/* T51 to T51f */
	{ "group_without_caps", kprobe_xdp, 0, EPERM },
	{ "group_with_bpf", kprobe_xdp, CAPS(BPF), EPERM },
	{ "group_with_bpf_perfmon", kprobe_xdp, CAPS(BPF) | CAPS(PERFMON), EPERM },
	{ "group_with_bpf_net_admin", kprobe_xdp, CAPS(BPF) | CAPS(NET_ADMIN), EPERM },
	{ "group_with_bpf_perfmon_net_admin", kprobe_xdp,
	  CAPS(BPF) | CAPS(PERFMON) | CAPS(NET_ADMIN), 0 },
	{ "group_that_needs_bpf_alone", cgroup_filter, CAPS(BPF), 0 },
};

static void loads_with_caps(void)
{
	char said[400];
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		err = load_as(tests[i].caps, tests[i].funcs, 3, said, sizeof(said));
		result(tests[i].name, err == tests[i].err, "errno %d: %s", err, said);
	}
}

const struct insn_group privileges_group = {
	.name = "privileges",
	.scenarios = loads_with_caps,
};
