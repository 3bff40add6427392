// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What a program type may do with a map is checked for each root that reaches it, and for no other
 * root.
 */

#define LOCK_IN_ARM \
	SUB("s", \
	    BPF_JMP_IMM(BPF_JNE, R1, 2, 6), \
	    BPF_ST_MEM(BPF_W, R10, -4, 0), \
	    STACK(R2, -4), \
	    LD_MAP(R1, MAP_SPIN_LOCK), \
	    HELPER(map_lookup_elem), \
	    RETURN(0))
#define PERF_EVENT_ARRAY_IN_ARM \
	SUB("s", \
	    BPF_JMP_IMM(BPF_JNE, R1, 2, 2), \
	    LD_MAP(R1, MAP_PERF_EVENT_ARRAY), \
	    RETURN(0))
#define COUNT_IN_STORAGE \
	MOV_IMM(R2, 0), \
	HELPER(get_local_storage), \
	MOV_IMM(R1, 1), \
	BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0), \
	BPF_LDX_MEM(BPF_DW, R1, R0, 0), \
	LD_VALUE(R2, MAP_COUNTERS, 0), \
	BPF_STX_MEM(BPF_DW, R2, R1, 0), \
	RETURN(0)
#define COUNTS_IN_STORAGE SUB("s", COUNT_IN_STORAGE)
/* looks key 0 up, and writes to the value */
#define LOOKUP(off) \
	SUB("s", \
	    BPF_ST_MEM(BPF_W, R10, -4, 0), \
	    STACK(R2, -4), \
	    HELPER(map_lookup_elem), \
	    BPF_JMP_IMM(BPF_JEQ, R0, 0, 2), \
	    BPF_ST_MEM(BPF_DW, R0, off, 5), \
	    MOV_IMM(R0, 4), \
	    EXIT)

static void zero_values(void)
{
	char zeroes[64] = "";

	map_set(map_fd(MAP_HASH), 0, zeroes);
	map_set(map_fd(MAP_ARRAY), 0, zeroes);
}

static void check_lookups(const char *name)
{
	__u64 hash = 0, array[8] = { 0 };
	int a = -1, b = -1;

	test_run(loaded.fds[0], &a);
	test_run(loaded.fds[1], &b);
	map_get(map_fd(MAP_HASH), 0, &hash);
	map_get(map_fd(MAP_ARRAY), 0, array);
	sub_result(name, "run", a == 4 && b == 4 && hash == 5 && array[0] == 5,
		   "%d %d hash %llu array %llu", a, b, hash, array[0]);
}

static void check_storage(const char *name)
{
	__u64 v[16];
	int err;

	counters_zero();
	err = cgroup_attach(loaded.fds[1], 0);
	udp_ping(4);
	counters_read(v);
	sub_result(name, "run", !err && v[0] == 4, "attach %d counter %llu", err, v[0]);
	cgroup_detach(loaded.fds[1], 0);
}

static const struct insn_test tests[] = {
	{
		.name = "spin_lock_map_in_arm_of_xdp", /* T26 */
		.funcs = {
			ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
			ROOT("xd", XDP, MOV_IMM(R1, 2), CALL_EXIT(2)),
			LOCK_IN_ARM,
		},
	},
	{
		.name = "spin_lock_map_reached_by_kprobe", /* T26b */
		.funcs = {
			ROOT("kp", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)),
			ROOT("xd", XDP, MOV_IMM(R1, 2), CALL_EXIT(2)),
			LOCK_IN_ARM,
		},
		.err = EINVAL,
		.msg = "progs cannot use bpf_spin_lock yet",
	},
	{
		.name = "perf_array_reached_by_sleepable", /* T27 */
		.funcs = {
			SLEEPABLE("ka", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)),
			ROOT("kb", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)),
			PERF_EVENT_ARRAY_IN_ARM,
		},
		.err = EINVAL,
		.msg = "Sleepable programs can only use array",
	},
	{
		.name = "perf_array_not_reached_by_sleepable", /* T27b */
		.funcs = {
			SLEEPABLE("ka", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
			ROOT("kb", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)),
			PERF_EVENT_ARRAY_IN_ARM,
		},
	},
	{
		.name = "perf_array_not_reached_by_sleepable_reversed", /* T27c */
		.funcs = {
			ROOT("kb", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)),
			SLEEPABLE("ka", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
			PERF_EVENT_ARRAY_IN_ARM,
		},
	},
	{
		.name = "value_too_small_for_first_root", /* T28 */
		.funcs = {
			ROOT("xa", XDP, LD_MAP(R1, MAP_HASH), CALL_EXIT(2)),
			ROOT("xb", XDP, LD_MAP(R1, MAP_ARRAY), CALL_EXIT(2)),
			LOOKUP(56),
		},
		.err = EACCES,
		.msg = "invalid access to map value, value_size=8 off=56",
	},
	{
		.name = "value_too_small_for_second_root", /* T28b */
		.funcs = {
			ROOT("xb", XDP, LD_MAP(R1, MAP_ARRAY), CALL_EXIT(2)),
			ROOT("xa", XDP, LD_MAP(R1, MAP_HASH), CALL_EXIT(2)),
			LOOKUP(56),
		},
		.err = EACCES,
		.msg = "invalid access to map value, value_size=8 off=56",
	},
	{
		.name = "lookup_not_inlined", /* T28c */
		.funcs = {
			ROOT("xa", XDP,
			     LD_MAP(R1, MAP_HASH),
			     CALL_FUNC(2),
			     EXIT),
			ROOT("kb", XDP,
			     LD_MAP(R1, MAP_ARRAY),
			     CALL_FUNC(2),
			     EXIT),
			LOOKUP(0),
		},
		.setup = zero_values,
		.check = check_lookups,
	},
	{
		.name = "cgroup_storage_per_root", /* T30 */
		.funcs = {
			ROOT_AS("ga", CGROUP_SKB, 0, 0,
				LD_MAP(R1, MAP_CGROUP_STORAGE),
				CALL_FUNC(2),
				RETURN(1)),
			ROOT_AS("gb", CGROUP_SKB, 0, 0,
				LD_MAP(R1, MAP_CGROUP_STORAGE_2),
				CALL_FUNC(2),
				RETURN(1)),
			COUNTS_IN_STORAGE,
		},
		.check = check_storage,
	},
	/* if only the first root had a storage, the second would count in none */
	{
		.name = "cgroup_storage_of_function_of_equal_roots",
		.funcs = {
			ROOT_AS("ga", CGROUP_SKB, 0, 0, CALL_FUNC(2), RETURN(1)),
			ROOT_AS("gb", CGROUP_SKB, 0, 0, CALL_FUNC(2), RETURN(1)),
			GLOBAL("g", PROTO_VOID, LD_MAP(R1, MAP_CGROUP_STORAGE), COUNT_IN_STORAGE),
		},
		.check = check_storage,
	},
	{
		.name = "two_cgroup_storages_in_one_root", /* T30b */
		.funcs = {
			ROOT_AS("ga", CGROUP_SKB, 0, 0,
				LD_MAP(R1, MAP_CGROUP_STORAGE),
				CALL_FUNC(2),
				LD_MAP(R1, MAP_CGROUP_STORAGE_2),
				CALL_FUNC(2),
				RETURN(1)),
			ROOT_AS("gb", CGROUP_SKB, 0, 0, RETURN(1)),
			COUNTS_IN_STORAGE,
		},
		.err = EBUSY,
		.msg = "only one cgroup storage of each type is allowed",
	},
};

/* A map for a program with another hash: refused where it is named, and where it is bound. */
static void exclusive_map(void)
{
	struct func naming[] = {
		ROOT("xa", XDP, LD_MAP(R1, 0), CALL_EXIT(2)),
		ROOT("xb", XDP, CALL_EXIT(2)),
		SUB("s", RETURN(0)),
	};
	static const struct func binding[] = {
		ROOT("xa", XDP, CALL_EXIT(2)),
		ROOT("xb", XDP, CALL_EXIT(2)),
		SUB("s", RETURN(0)),
	};
	static const unsigned char hash[32] = { 1 };
	int fd, named, bound;

	fd = map_create_exclusive(hash);
	naming[0].insns[0].imm = fd;
	named = load_group(naming, ARRAY_SIZE(naming));
	close_all(&loaded);
	fd_array[0] = fd;
	load_prepare(&loaded, binding, ARRAY_SIZE(binding));
	loaded.attr.fd_array = (long)fd_array;
	loaded.attr.fd_array_cnt = 1;
	bound = load_do(&loaded);
	close_all(&loaded);
	result("exclusive_map_named_by_root", fd >= 0 && named == EACCES, "map %d: %d", fd, named);
	result("exclusive_map_bound_to_group", fd >= 0 && bound == EACCES, "map %d: %d", fd, bound);
	close(fd);
}

/* One map more, for one root only. */
static void bind_map(void)
{
	static const struct func funcs[] = {
		ROOT("xa", XDP, CALL_EXIT(2)),
		ROOT("xb", XDP, CALL_EXIT(2)),
		SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0)),
	};
	union bpf_attr attr;
	int err;

	load_group(funcs, ARRAY_SIZE(funcs));
	memset(&attr, 0, sizeof(attr));
	attr.prog_bind_map.prog_fd = loaded.fds[1];
	attr.prog_bind_map.map_fd = map_fd(MAP_ARRAY);
	err = bpf(BPF_PROG_BIND_MAP, &attr, sizeof(attr));
	view_get(loaded.fds[0], &view0);
	view_get(loaded.fds[1], &view1);
	result("map_bound_to_one_root",
	       !err && view0.info.nr_map_ids == 1 && view1.info.nr_map_ids == 2, "%d maps %u %u",
	       err, view0.info.nr_map_ids, view1.info.nr_map_ids);
	close_all(&loaded);
}

static void scenarios(void)
{
	exclusive_map();
	bind_map();
}

const struct insn_group maps_group = {
	.name = "maps",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
