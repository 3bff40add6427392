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

/* masks are those of the index that is smaller */
static const struct func two_bounds[] = {
	ROOT("fa", SOCKET_FILTER, VALUE_AND_INDEX(7)),
	ROOT("fb", SOCKET_FILTER, VALUE_AND_INDEX(31)),
	SUB("s", BPF_ALU64_REG(BPF_ADD, R1, R2), BPF_LDX_MEM(BPF_B, R0, R1, 0), EXIT),
};

static const struct func tail_calls[] = {
	ROOT("fa", SOCKET_FILTER, LD_MAP(R2, MAP_PROG_ARRAY), CALL_FUNC(2), EXIT),
	ROOT("fb", SOCKET_FILTER, LD_MAP(R2, MAP_PROG_ARRAY), CALL_FUNC(2), EXIT),
	SUB("s", MOV_IMM(R3, 0), HELPER(tail_call), RETURN(1)),
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
	{ "two_bounds_of_perfmon", two_bounds, CAPS(BPF) | CAPS(PERFMON), 0 },
	{ "two_bounds_without_perfmon", two_bounds, CAPS(BPF), EACCES,
	  "from different maps, paths or scalars" },
	{ "own_arms_of_perfmon", own_arms, CAPS(BPF) | CAPS(PERFMON), 0 },
	{ "own_arms_without_perfmon", own_arms, CAPS(BPF), EINVAL, DIFFERENT_CONTEXTS },
};

/* Tail calls of roots in one function, with program arrays of a loader with these privileges. */
static void tail_calls_with_caps(const char *name, __u64 caps, int arrays, int err)
{
	struct func funcs[ARRAY_SIZE(tail_calls)];
	int i, status = -1;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		memcpy(funcs, tail_calls, sizeof(funcs));
		drop_caps(caps);
		for (i = 0; i < 2; i++) {
			if (i < arrays)
				status = map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0);
			funcs[i].insns[0].imm = status;
		}
		_exit(load_group(funcs, ARRAY_SIZE(funcs)));
	}
	waitpid(child, &status, 0);
	result(name, WIFEXITED(status) && WEXITSTATUS(status) == err, "status %#x", status);
}

#define CALLS_G_BY_SPECULATION \
	BPF_LDX_MEM(BPF_W, R2, R1, 0), \
	BPF_ALU64_IMM(BPF_AND, R2, 7), \
	BPF_JMP_IMM(BPF_JGT, R2, 100, 4), \
	MOV_IMM(R1, 1), \
	CALL_FUNC(2), \
	RETURN(1), \
	CALL_FUNC(3), \
	RETURN(1)

/* A global function that is called by speculation only is part of no root. */
static void function_of_speculation(void)
{
	static const struct func funcs[] = {
		ROOT_AS("cg", CGROUP_SKB, INGRESS, 0, CALLS_G_BY_SPECULATION),
		ROOT("fi", SOCKET_FILTER, CALLS_G_BY_SPECULATION),
		SUB("s", IDENTITY),
		GLOBAL("g", PROTO_VOID,
		       LD_VALUE(R1, MAP_COUNTERS, 0),
		       BPF_LDX_MEM(BPF_DW, R0, R1, 0),
		       HELPER(ktime_get_ns),
		       RETURN(0)),
	};
	char said[400];
	int err = load_as(CAPS(BPF), funcs, ARRAY_SIZE(funcs), said, sizeof(said));

	rcu_settle();
	result("function_called_by_speculation_only", !err && !kallsyms_count("_g"), "%d: %s", err,
	       said);
}

#define POLICY(type, at) \
	ROOT_AS("p", type, at, 0, \
		BPF_LDX_MEM(BPF_DW, R2, R1, 0), \
		BPF_JMP32_IMM(BPF_JNE, R2, BPF_PROG_LOAD, 3), \
		BPF_LDX_MEM(BPF_DW, R2, R1, 8), \
		BPF_LDX_MEM(BPF_W, R2, R2, offsetof(union bpf_attr, prog_type)), \
		BPF_JMP32_IMM(BPF_JEQ, R2, KPROBE, 2), \
		RETURN(0), \
		RETURN(-EPERM))

/* without a kprobe */
static const struct func tc_xdp[] = {
	ROOT("ta", TC, CALL_EXIT(2)),
	ROOT("xb", XDP, CALL_EXIT(2)),
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0)),
};

static const struct func xdp_kprobe[] = {
	ROOT("xa", XDP, CALL_EXIT(2)),
	ROOT("kb", KPROBE, CALL_EXIT(2)),
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0)),
};

/* Is a load of two roots answered by @err, and nothing of it left if it is refused? */
static void group_under_policy(const char *name, const char *what, const struct func *funcs,
			       int err)
{
	int before = count_progs(), after, more = err ? 0 : 2;

	load_group(funcs, 3);
	after = count_progs();
	sub_result(name, what, loaded.err == err && after - before == more,
		   "errno %d, programs %d->%d: %s", loaded.err, before, after, log_tail());
	close_all(&loaded);
	rcu_settle();
}

/* Who looks at attributes of loads on the hook `bpf` sees each root, as if it were alone. */
static void load_under_policy(const char *name, const struct func *policy, const char *hook)
{
	static const struct func kprobe = ROOT("ka", KPROBE, RETURN(0));
	int fd, link, alone;

	prepare_prog(policy, 1);
	loaded.attr.attach_btf_id = kernel_btf_find(hook, BTF_KIND_FUNC, NULL);
	fd = load_prepared();
	expect_load(name, fd < 0 ? -fd : 0, 0, NULL);
	link = attach_link(fd, policy->attach_type);
	sub_result(name, "attach", link >= 0, "%d", link);
	alone = load_prog(&kprobe, 1);
	sub_result(name, "kprobe_alone", alone == -EPERM, "%d", alone);
	if (alone >= 0)
		close(alone);
	group_under_policy(name, "first_is_kprobe", kprobe_xdp, EPERM);
	group_under_policy(name, "last_is_kprobe", xdp_kprobe, EPERM);
	group_under_policy(name, "no_kprobe", tc_xdp, 0);
	if (link >= 0)
		close(link);
	if (fd >= 0)
		close(fd);
	rcu_settle();
	group_under_policy(name, "policy_is_gone", kprobe_xdp, 0);
}

static void loads_under_policy(void)
{
	static const struct func modifies = POLICY(BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN);
	static const struct func lsm = POLICY(BPF_PROG_TYPE_LSM, BPF_LSM_MAC);

	load_under_policy("policy_of_fmod_ret", &modifies, "security_bpf");
	load_under_policy("policy_of_lsm", &lsm, "bpf_lsm_bpf");
}

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
	tail_calls_with_caps("one_array_without_perfmon", CAPS(BPF), 1, 0);
	tail_calls_with_caps("two_arrays_without_perfmon", CAPS(BPF), 2, EINVAL);
	tail_calls_with_caps("two_arrays_of_perfmon", CAPS(BPF) | CAPS(PERFMON), 2, 0);
	function_of_speculation();
	/* programs of children that have exited are not counted by others */
	rcu_settle();
	loads_under_policy();
}

const struct insn_group privileges_group = {
	.name = "privileges",
	.scenarios = loads_with_caps,
};
