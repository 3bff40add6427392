// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * A function was verified for one kind of program: the caller must be of the type, attach type,
 * target and flags of the callee's root. Programs of one group are a library for all their types.
 */

#define PLUS_ONE MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT
#define FENTRY(nm, at, ...) ROOT_AS(nm, BPF_PROG_TYPE_TRACING, at, 0, __VA_ARGS__)
#define NOT_THIS_TYPE "it was not verified for this type of program"
#define XDP_LIBRARY \
	XDP_MAIN, \
	EXPORT("f", PROTO_INT, PLUS_ONE)

static void check_two_callers(const char *name)
{
	int a = -1, b = -1;

	test_run(loaded.fds[0], &a);
	test_run(loaded.fds[1], &b);
	view_get(loaded.fds[1], &view0);
	sub_result(name, "run", a == 6 && b == 7 && view0.info.nr_callee_ids == 1,
		   "%d %d, %d callees", a, b, view0.info.nr_callee_ids);
}

static const struct insn_test tests[] = {
	{
		.name = "egress_calls_ingress", /* P24 */
		.funcs = {
			ROOT_AS("c", CGROUP_SKB, EGRESS, 0,
				MOV_IMM(R1, 0),
				CALL_PROG(0, 1),
				RETURN(1)),
		},
		.library = {
			ROOT_AS("lib", CGROUP_SKB, INGRESS, 0, RETURN(1)),
			EXPORT("f", PROTO_INT, PLUS_ONE),
		},
		.err = EINVAL,
		.msg = "attach type 1: function f()",
	},
	{
		.name = "frags_calls_xdp", /* P25 */
		.funcs = {
			ROOT_AS("c", XDP, 0, BPF_F_XDP_HAS_FRAGS,
				MOV_IMM(R1, 5),
				CALL_PROG(0, 1),
				EXIT),
		},
		.library = { XDP_LIBRARY },
		.err = EINVAL,
		.msg = NOT_THIS_TYPE,
	},
	{
		.name = "sleepable_calls_kprobe", /* P26 */
		.funcs = {
			SLEEPABLE("c", KPROBE,
				  MOV_IMM(R1, 5),
				  CALL_PROG(0, 1),
				  RETURN(0)),
		},
		.library = {
			ROOT("lib", KPROBE, RETURN(0)),
			EXPORT("f", PROTO_INT, PLUS_ONE),
		},
		.err = EINVAL,
		.msg = ", sleepable: function f()",
	},
	/* a group as the caller: every root needs a callee of its own class */
	{
		.name = "call_in_code_of_xdp_and_tc", /* P27 */
		.funcs = {
			ROOT("xa", XDP, MOV_IMM(R1, 5), CALL_FUNC(2), EXIT),
			ROOT("tc", TC, MOV_IMM(R1, 6), CALL_FUNC(2), EXIT),
			SUB("s", CALL_PROG(0, 1), EXIT),
		},
		.library = { XDP_LIBRARY },
		.err = EINVAL,
		.msg = NOT_THIS_TYPE,
	},
	{
		.name = "call_in_code_of_two_xdp_roots", /* P28 */
		.funcs = {
			ROOT("xa", XDP, MOV_IMM(R1, 5), CALL_FUNC(2), EXIT),
			ROOT("xb", XDP, MOV_IMM(R1, 6), CALL_FUNC(2), EXIT),
			SUB("s", CALL_PROG(0, 1), EXIT),
		},
		.library = { XDP_LIBRARY },
		.check = check_two_callers,
	},
	{
		.name = "xdp_calls_xdp", /* P29 */
		.funcs = {
			ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
		},
		.library = { XDP_LIBRARY },
	},
};

static int load_for(int id, const struct func *funcs, int n)
{
	prepare_prog(funcs, n);
	attach_id = id;
	attach_to(&loaded, 0);
	return load_prepared();
}

/* The attach target is part of what a function was verified for. */
static void tracing_targets(void)
{
	static const struct func library[] = {
		FENTRY("lib", BPF_TRACE_FENTRY, RETURN(0)),
		EXPORT("f", PROTO_INT, PLUS_ONE),
	};
	static const struct func fentry[] = {
		FENTRY("c", BPF_TRACE_FENTRY, MOV_IMM(R1, 5), CALL_PROG(0, 1), RETURN(0)),
	};
	static const struct func fexit[] = {
		FENTRY("c", BPF_TRACE_FEXIT, MOV_IMM(R1, 5), CALL_PROG(0, 1), RETURN(0)),
	};
	int target = kernel_btf_find("__set_task_comm", BTF_KIND_FUNC, NULL);
	int other = kernel_btf_find("__x64_sys_getpgid", BTF_KIND_FUNC, NULL), fd;

	fd_array[0] = load_for(target, library, ARRAY_SIZE(library));
	result("fentry_library", fd_array[0] > 0, "%d: %s", fd_array[0], log_tail()); /* P18 */
	fd = load_for(target, fentry, 1);
	expect_load("fentry_of_the_same_function", fd < 0 ? -fd : 0, 0, NULL); /* P18b */
	if (fd >= 0)
		close(fd);
	fd = load_for(target, fexit, 1);
	expect_load("fexit_calls_fentry", fd < 0 ? -fd : 0, EINVAL, NOT_THIS_TYPE); /* P19b */
	if (fd >= 0)
		close(fd);
	fd = load_for(other, fentry, 1);
	/* P19 */
	expect_load("fentry_of_another_function", fd < 0 ? -fd : 0, EINVAL, NOT_THIS_TYPE);
	if (fd >= 0)
		close(fd);
	close(fd_array[0]);
}

/* The caller is of this type, and calls by way of a root of the group. */
static struct func caller_of(int type)
{
	return (struct func)ROOT("c", type, MOV_IMM(R1, 5), CALL_PROG(0, 4), RETURN(0));
}

static void group_as_library(void)
{
	static const struct func library[] = {
		ROOT("kp", KPROBE, RETURN(0)),
		ROOT("xd", XDP, RETURN(0)),
		ROOT("tc", TC, RETURN(0)),
		ROOT("tp", TRACEPOINT, RETURN(0)),
		EXPORT("f", PROTO_INT, PLUS_ONE),
	};
	static const struct {
		const char *name;
		int type;
	} callers[] = {
		{ "kprobe_calls_its_root", KPROBE },		/* P21 type 2 */
		{ "xdp_calls_its_root", XDP },			/* P21 type 6 */
		{ "tc_calls_its_root", TC },			/* P21 type 3 */
		{ "tracepoint_calls_its_root", TRACEPOINT },	/* P21 type 5 */
	}, others[] = {
		{ "socket_filter_calls_tracepoint", SOCKET_FILTER },	/* P22 type 1 */
		{ "perf_event_calls_tracepoint", PERF_EVENT },		/* P22 type 7 */
	};
	static const struct func wrong_root[] = {
		ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 4), EXIT),
	};
	static struct load roots;
	struct func caller;
	__u64 image = 0;
	size_t i;
	int fd;

	load_group(library, ARRAY_SIZE(library));
	roots = loaded;
	expect_load("library_of_four_types", roots.err, 0, NULL); /* P20 */
	for (i = 0; i < ARRAY_SIZE(callers); i++) {
		fd_array[0] = roots.fds[i];
		caller = caller_of(callers[i].type);
		fd = accept_prog(callers[i].name, &caller, 1);
		view_get(fd, &view0);
		view_get(roots.fds[i], &view1);
		if (!image)
			image = view1.ksyms[1];
		sub_result(callers[i].name, "same_image",
			   image && view1.ksyms[1] == image && calls_of(&view0, image), "%llx",
			   view1.ksyms[1]);
		close(fd);
	}
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		caller = caller_of(others[i].type);
		refuse_prog(others[i].name, &caller, 1, EINVAL, NOT_THIS_TYPE);
	}
	fd_array[0] = roots.fds[0];
	/* P23 */
	REFUSE_PROG("xdp_calls_kprobe_of_its_group", wrong_root, EINVAL,
		    "function f() of prog kp, id ");
	close_all(&roots);
}

static void scenarios(void)
{
	tracing_targets();
	group_as_library();
}

const struct insn_group call_types_group = {
	.name = "call_types",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
