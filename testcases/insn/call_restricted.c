// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What a callee may not do: a tail call takes the counter from its caller's frame, storage is found
 * by the program that is attached, and LD_ABS ends the program.
 */

#define FIVE MOV_IMM(R1, 5)
#define TAIL_CALL \
	LD_MAP(R2, MAP_PROG_ARRAY), \
	MOV_IMM(R3, 0), \
	HELPER(tail_call)
#define CGROUP_ROOT(nm, ...) ROOT_AS(nm, CGROUP_SKB, INGRESS, 0, __VA_ARGS__)
#define KEEPS_STORAGE \
	CGROUP_ROOT("lib", RETURN(1)), \
	EXPORT("keeps", PROTO_VOID, \
	       LD_MAP(R1, MAP_CGROUP_STORAGE), \
	       MOV_IMM(R2, 0), \
	       HELPER(get_local_storage), \
	       BPF_LDX_MEM(BPF_W, R0, R0, 0), \
	       EXIT), \
	EXPORT("asks", PROTO_VOID, CALL_FUNC(1), EXIT)
#define TAIL_CALLS \
	MAIN(XDP), \
	EXPORT("leaves", PROTO_XDP, TAIL_CALL, RETURN(0)), \
	EXPORT("asks", PROTO_XDP, CALL_FUNC(3), EXIT), \
	SUB_PROTO("hidden", PROTO_XDP, TAIL_CALL, RETURN(0)), \
	EXPORT("stays", PROTO_INT, IDENTITY)
#define LOADS_ABSOLUTE \
	MAIN(SOCKET_FILTER), \
	EXPORT("loads", PROTO_SKB, \
	       MOV_REG(R6, R1), \
	       BPF_LD_ABS(BPF_B, 0), \
	       EXIT)

static const struct insn_test tests[] = {
	{
		.name = "callee_does_tail_call", /* P88b */
		.funcs = { ROOT("c", XDP, CALL_PROG(0, 1), EXIT) },
		.library = { TAIL_CALLS },
		.err = EINVAL,
		.msg = "cannot be called: it may do tail calls",
	},
	{
		.name = "tail_call_below_callee", /* P88c */
		.funcs = { ROOT("c", XDP, CALL_PROG(0, 2), EXIT) },
		.library = { TAIL_CALLS },
		.err = EINVAL,
		.msg = "cannot be called: it may do tail calls",
	},
	{
		.name = "caller_does_tail_call", /* P89 */
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     FIVE,
			     CALL_PROG(0, 4),
			     MOV_REG(R7, R0),
			     MOV_REG(R1, R6),
			     TAIL_CALL,
			     MOV_REG(R0, R7),
			     EXIT),
		},
		.library = { TAIL_CALLS },
		.runs = { RETURNS(5) },
	},
	{
		.name = "call_where_tail_call_is_reachable", /* P89b */
		.funcs = {
			ROOT("c", XDP,
			     MOV_REG(R6, R1),
			     FIVE,
			     CALL_PROG(0, 4),
			     MOV_REG(R7, R0),
			     MOV_REG(R1, R6),
			     CALL_FUNC(1),
			     MOV_REG(R0, R7),
			     EXIT),
			SUB("s",
			    MOV_REG(R6, R1),
			    MOV_IMM(R1, 6),
			    CALL_PROG(0, 4),
			    MOV_REG(R1, R6),
			    TAIL_CALL,
			    RETURN(0)),
		},
		.library = { TAIL_CALLS },
		.runs = { RETURNS(5) },
	},
	{
		.name = "callee_uses_cgroup_storage", /* P90 */
		.funcs = { CGROUP_ROOT("c", CALL_PROG(0, 1), RETURN(1)) },
		.library = { KEEPS_STORAGE },
		.err = EINVAL,
		.msg = "cannot be called: it uses cgroup storage",
	},
	{
		.name = "cgroup_storage_below_callee", /* P90b */
		.funcs = { CGROUP_ROOT("c", CALL_PROG(0, 2), RETURN(1)) },
		.library = { KEEPS_STORAGE },
		.err = EINVAL,
		.msg = "cannot be called: it uses cgroup storage",
	},
	{
		.name = "callee_with_ld_abs", /* P94 */
		.funcs = { ROOT("c", SOCKET_FILTER, CALL_PROG(0, 1), EXIT) },
		.library = { LOADS_ABSOLUTE },
	},
	{
		.name = "callee_with_ld_abs_below_callback", /* P94b */
		.funcs = {
			ROOT("c", SOCKET_FILTER,
			     BPF_STX_MEM(BPF_DW, R10, R1, -8),
			     MOV_IMM(R1, 2),
			     LD_FUNC(R2, 1),
			     STACK(R3, -8),
			     MOV_IMM(R4, 0),
			     HELPER(loop),
			     RETURN(0)),
			SUB("cb",
			    BPF_LDX_MEM(BPF_DW, R1, R2, 0),
			    CALL_PROG(0, 1),
			    RETURN(0)),
		},
		.library = { LOADS_ABSOLUTE },
		.err = EINVAL,
		.msg = "cannot use BPF_LD_[ABS|IND] within callback",
	},
};

static void library_with_tail_calls(void)
{
	static const struct func library[] = { TAIL_CALLS };
	int fd = LOAD_PROG(library);

	result("library_with_tail_calls", fd > 0, "%s", log_tail()); /* P88 */
	close(fd);
}

/* A trampoline of the callee must leave the counter of tail calls alone. */
static void traced_callee(void)
{
	static const struct func library[] = { MAIN(XDP), EXPORT("f", PROTO_INT, IDENTITY) };
	static const struct func caller[] = {
		ROOT("c", XDP,
		     MOV_REG(R6, R1),
		     FIVE,
		     CALL_PROG(0, 1),
		     MOV_REG(R7, R0),
		     MOV_REG(R1, R6),
		     CALL_FUNC(1),
		     MOV_REG(R0, R7),
		     EXIT),
		SUB("s",
		    MOV_REG(R6, R1),
		    FIVE,
		    CALL_PROG(0, 1),
		    MOV_REG(R1, R6),
		    TAIL_CALL,
		    RETURN(0)),
	};
	static const struct func tracer =
		ROOT("t", BPF_PROG_TYPE_TRACING, INC(0), RETURN(0));
	const char *name = "traced_callee_where_tail_call_is_reachable"; /* P168 */
	int library_fd = LOAD_PROG(library), fd, tracer_fd, link, ret = -1;
	__u64 v[16];

	fd_array[0] = library_fd;
	tracer_fd = load_on(BPF_PROG_TYPE_TRACING, library_fd, 1, &tracer);
	link = tracer_fd < 0 ? tracer_fd : attach_link(tracer_fd, BPF_TRACE_FENTRY);
	fd = ACCEPT_PROG(name, caller);
	counters_zero();
	test_run(fd, &ret);
	counters_read(v);
	sub_result(name, "run", link > 0 && ret == 5 && v[0] == 2,
		   "link %d, %d, traced %llu times", link, ret, v[0]);
	close(fd);
	close(link);
	close(tracer_fd);
	close(library_fd);
}

/* A program that calls itself by a tail call, below a function that calls another program. */
static void count_tail_calls(void)
{
	static const struct func library[] = { MAIN(XDP), EXPORT("f", PROTO_INT, IDENTITY) };
	static const struct func caller[] = {
		ROOT("c", XDP,
		     MOV_REG(R6, R1),
		     INC(0),
		     FIVE,
		     CALL_PROG(0, 1),
		     MOV_REG(R1, R6),
		     CALL_FUNC(1),
		     RETURN(3)),
		SUB("s",
		    MOV_REG(R6, R1),
		    FIVE,
		    CALL_PROG(0, 1),
		    MOV_REG(R1, R6),
		    TAIL_CALL,
		    FIVE,
		    CALL_PROG(0, 1),
		    RETURN(0)),
	};
	const char *name = "tail_calls_between_calls_are_counted";
	int array = map_fd(MAP_PROG_ARRAY), fd, ret = -1;
	__u64 v[16];

	fd_array[0] = LOAD_PROG(library);
	fd = ACCEPT_PROG(name, caller);
	map_set(array, 0, &fd);
	counters_zero();
	test_run(fd, &ret);
	counters_read(v);
	sub_result(name, "run", ret == 3 && v[0] == 34, "%d, %llu times", ret, v[0]);
	map_del(array, 0);
	close(fd);
	close(fd_array[0]);
}

/* The trampoline of a program with tail calls saves what its caller has not set. */
static void traced_by_fexit(void)
{
	static const struct func library[] = {
		ROOT("lib", XDP, TAIL_CALL, RETURN(2)),
		EXPORT("f", PROTO_INT, IDENTITY),
	};
	static const struct func caller[] = {
		ROOT("c", XDP, FIVE, CALL_PROG(0, 1), EXIT),
	};
	static const struct func tracer =
		ROOT("t", BPF_PROG_TYPE_TRACING, INC(0), RETURN(0));
	const char *name = "fexit_of_callee_in_program_with_tail_calls";
	int lib = LOAD_PROG(library), fd, tracer_fd, link, ret = -1;
	__u64 v[16];

	fd_array[0] = lib;
	prepare_on(BPF_PROG_TYPE_TRACING, lib, 1, &tracer);
	loaded.attr.expected_attach_type = BPF_TRACE_FEXIT;
	tracer_fd = load_prepared();
	link = tracer_fd < 0 ? tracer_fd : attach_link(tracer_fd, BPF_TRACE_FEXIT);
	fd = ACCEPT_PROG(name, caller);
	counters_zero();
	test_run(fd, &ret);
	counters_read(v);
	sub_result(name, "run", link > 0 && ret == 5 && v[0] == 1, "link %d, %d, %llu times", link,
		   ret, v[0]);
	close(fd);
	close(link);
	close(tracer_fd);
	close(lib);
}

/* The hash of @size bytes, as the kernel tells it of an array. Returns whether it did. */
static bool hash_of(const void *bytes, int size, unsigned char *hash)
{
	int fd = map_create(BPF_MAP_TYPE_ARRAY, 4, size, 1, 0);
	struct bpf_map_info info;
	union bpf_attr attr;
	bool ok;

	ok = !map_set(fd, 0, bytes);
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	ok = ok && !bpf(BPF_MAP_FREEZE, &attr, sizeof(attr));
	memset(&info, 0, sizeof(info));
	info.hash = (long)hash;
	info.hash_size = 32;
	ok = ok && !obj_info(fd, &info, sizeof(info));
	close(fd);
	return ok;
}

/*
 * A load where LD_MAP(R1, 0) gets a new map, which is for this program only if it is exclusive.
 * The hash of a program is that of its instructions with zeroes for maps. Returns the FD or -errno.
 */
static int load_with_map(const struct func *funcs, int n, bool exclusive)
{
	unsigned char hash[32];
	int map, fd, i = 0;

	prepare_prog(funcs, n);
	if (exclusive) {
		if (!hash_of(loaded.insns, loaded.nr_insns * sizeof(loaded.insns[0]), hash))
			printf("# no hash\n");
		map = map_create_exclusive(hash);
	} else {
		map = map_create(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	}
	while (loaded.insns[i].code != (BPF_LD | BPF_DW | BPF_IMM))
		i++;
	loaded.insns[i].imm = map;
	fd = load_prepared();
	close(map);
	return fd;
}

/* The hash covers the program, but not what it calls of others. */
static void exclusive_map_of_caller(void)
{
	static const struct func library[] = { MAIN(XDP), EXPORT("f", PROTO_INT, IDENTITY) };
	static const struct func before[] = {
		ROOT("c", XDP, LD_MAP(R1, 0), FIVE, CALL_PROG(0, 1), EXIT),
	};
	static const struct func behind[] = {
		ROOT("c", XDP, FIVE, CALL_PROG(0, 1), LD_MAP(R1, 0), EXIT),
	};
	static const struct func own[] = {
		ROOT("c", XDP, LD_MAP(R1, 0), FIVE, CALL_FUNC(1), EXIT),
		GLOBAL("f", PROTO_INT, IDENTITY),
	};
	static const struct {
		const char *name;
		const struct func *funcs;
		int n;
		bool exclusive, refused;
	} cases[] = {
		{ "exclusive_map_of_caller", before, 1, true, true },
		{ "exclusive_map_behind_call", behind, 1, true, true },
		{ "ordinary_map_of_caller", before, 1, false, false },
		{ "ordinary_map_behind_call", behind, 1, false, false },
		{ "exclusive_map_of_caller_of_own_function", own, 2, true, false },
	};
	int fd, err, ret;
	size_t i;

	fd_array[0] = LOAD_PROG(library);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fd = load_with_map(cases[i].funcs, cases[i].n, cases[i].exclusive);
		err = fd < 0 ? -fd : 0;
		ret = -1;
		if (cases[i].refused) {
			expect_load(cases[i].name, err, EINVAL,
				    "programs with exclusive maps cannot call other programs");
		} else if (expect_load(cases[i].name, err, 0, NULL)) {
			test_run(fd, &ret);
			sub_result(cases[i].name, "run", ret == 5, "%d", ret);
		}
		if (fd >= 0)
			close(fd);
	}
	close(fd_array[0]);
}

static void scenarios(void)
{
	exclusive_map_of_caller();
	count_tail_calls();
	traced_by_fexit();
	library_with_tail_calls();
	traced_callee();
}

const struct insn_group call_restricted_group = {
	.name = "call_restricted",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
