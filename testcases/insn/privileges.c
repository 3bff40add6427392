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

/*
 * Without CAP_PERFMON a program is refused if it gets to one instruction in ways that need other
 * masks, or none. So are roots that get there in such ways, although each alone does not.
 */
#define VALUE_AND_INDEX(mask) \
	BPF_LDX_MEM(BPF_W, R2, R1, offsetof(struct __sk_buff, len)), \
	BPF_ALU64_IMM(BPF_AND, R2, mask), \
	LD_VALUE(R1, MAP_COUNTERS, 0), \
	CALL_FUNC(2), \
	EXIT

static const struct func pointer_or_number[] = {
	ROOT("fa", SOCKET_FILTER, VALUE_AND_INDEX(7)),
	ROOT("fb", SOCKET_FILTER, MOV_IMM(R1, 3), MOV_IMM(R2, 4), CALL_FUNC(2), EXIT),
	SUB("s", BPF_ALU64_REG(BPF_ADD, R1, R2), RETURN(0)),
};

/* a root gets to the arm of the other one by speculation */
static const struct func own_arms[] = {
	ROOT("fa", SOCKET_FILTER, MOV_IMM(R2, 1), CALL_FUNC(2), RETURN(0)),
	ROOT_AS("gb", CGROUP_SKB, INGRESS, 0, MOV_IMM(R2, 2), CALL_FUNC(2), RETURN(1)),
	SUB("s",
	    BPF_JMP_IMM(BPF_JNE, R2, 2, 2),
	    BPF_LDX_MEM(BPF_W, R0, R1, 0),
	    EXIT,
	    BPF_LDX_MEM(BPF_W, R0, R1, 4),
	    EXIT),
};

static const struct {
	const char *name;
	const struct func *funcs;
	__u64 caps;
	int err;
	const char *msg;
} tests[] = {
	/* T51 to T51f */
	{ "group_without_caps", kprobe_xdp, 0, EPERM },
	{ "group_with_bpf", kprobe_xdp, CAPS(BPF), EPERM },
	{ "group_with_bpf_perfmon", kprobe_xdp, CAPS(BPF) | CAPS(PERFMON), EPERM },
	{ "group_with_bpf_net_admin", kprobe_xdp, CAPS(BPF) | CAPS(NET_ADMIN), EPERM },
	{ "group_with_bpf_perfmon_net_admin", kprobe_xdp,
	  CAPS(BPF) | CAPS(PERFMON) | CAPS(NET_ADMIN), 0 },
	{ "group_that_needs_bpf_alone", cgroup_filter, CAPS(BPF), 0 },
	{ "pointer_or_number_of_perfmon", pointer_or_number, CAPS(BPF) | CAPS(PERFMON), 0 },
	{ "pointer_or_number_without_perfmon", pointer_or_number, CAPS(BPF), EACCES,
	  "from different maps, paths or scalars" },
	{ "own_arms_of_perfmon", own_arms, CAPS(BPF) | CAPS(PERFMON), 0 },
	{ "own_arms_without_perfmon", own_arms, CAPS(BPF), EINVAL, DIFFERENT_CONTEXTS },
};

static void loads_with_caps(void)
{
	char said[400];
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		err = load_as(tests[i].caps, tests[i].funcs, 3, said, sizeof(said));
		result(tests[i].name,
		       err == tests[i].err && (!tests[i].msg || strstr(said, tests[i].msg)),
		       "errno %d: %s", err, said);
	}
}

const struct insn_group privileges_group = {
	.name = "privileges",
	.scenarios = loads_with_caps,
};
