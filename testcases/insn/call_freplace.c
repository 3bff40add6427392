// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Extensions and tracing programs: a replacement is not what was verified for the callers, may call
 * back, and has as its first argument whatever the function had.
 */

#define REPLACED "cannot be called: it was replaced in part"
#define CALL_OTHERS "cannot call other programs"
#define WRITES_SLICE \
	MOV_IMM(R2, 0), \
	BPF_ST_MEM(BPF_DW, R10, -24, 0), \
	STACK(R3, -24), \
	MOV_IMM(R4, 8), \
	KFUNC(bpf_dynptr_slice_rdwr), \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
	RETURN(0), \
	BPF_ST_MEM(BPF_W, R0, 0, 1), \
	RETURN(3)
#define DYNPTR_OF_SKB \
	MOV_IMM(R2, 0), \
	STACK(R3, -16), \
	KFUNC(bpf_dynptr_from_skb), \
	STACK(R1, -16)
#define TRACER(...) ROOT("t", BPF_PROG_TYPE_TRACING, __VA_ARGS__)

static const struct func library[] = {
	XDP_MAIN,
	EXPORT("f", PROTO_INT, IDENTITY),
	EXPORT("other", PROTO_INT, IDENTITY),
};

static const struct func caller[] = {
	ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
};

/* The callee is to be replaced, and then replaced when its caller is gone. */
static void replace_callee(void)
{
	static const struct func returns_77 = EXTENSION("f", PROTO_INT, RETURN(77));
	static const struct func calls = EXTENSION("f", PROTO_INT, CALL_PROG(0, 2), EXIT);
	const char *name = "callee_then_freplace"; /* P105 */
	int lib = LOAD_PROG(library), fd, ext, early, link, ret = -1;

	fd_array[0] = lib;
	fd = ACCEPT_PROG(name, caller);
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &returns_77);
	sub_result(name, "extension_loads", ext > 0, "%d: %s", ext, log_tail());
	early = attach_link(ext, 0);
	sub_result(name, "attach", early == -EBUSY, "%d", early);
	test_run(fd, &ret);
	sub_result(name, "run", ret == 5, "%d", ret);
	close(fd);
	rcu_settle();
	link = attach_link(ext, 0);
	result("freplace_when_caller_is_gone", link > 0, "%d", link); /* P106 */
	REFUSE_PROG("call_of_replaced", caller, EBUSY, REPLACED); /* P107 */
	if (early > 0)
		close(early);
	if (link > 0)
		close(link);
	close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &calls);
	result("extension_as_caller", ext == -EINVAL && strstr(log_text, CALL_OTHERS), /* P108 */
	       "%d: %s", ext, log_tail());
	if (ext >= 0)
		close(ext);
	close(lib);
}

static void trace_callee(void)
{
	static const struct func counts = TRACER(INC(0), RETURN(0));
	static const struct func calls = TRACER(MOV_IMM(R1, 1), CALL_PROG(0, 2), RETURN(0));
	const char *name = "callee_then_fentry"; /* P109 */
	int lib = LOAD_PROG(library), fd, tracer, link, ret = -1;
	__u64 v[16];

	fd_array[0] = lib;
	fd = ACCEPT_PROG(name, caller);
	tracer = load_on(BPF_PROG_TYPE_TRACING, lib, 1, &counts);
	link = tracer < 0 ? tracer : attach_link(tracer, BPF_TRACE_FENTRY);
	counters_zero();
	test_run(fd, &ret);
	counters_read(v);
	sub_result(name, "traced", link > 0 && ret == 5 && v[0] == 1,
		   "link %d, returns %d, count %llu: %s", link, ret, v[0], log_tail());
	if (link > 0)
		close(link);
	close(tracer);
	close(fd);
	tracer = load_on(BPF_PROG_TYPE_TRACING, lib, 1, &calls);
	result("fentry_of_callee_as_caller", /* P110 */
	       tracer == -EINVAL && strstr(log_text, CALL_OTHERS), "%d: %s", tracer, log_tail());
	if (tracer >= 0)
		close(tracer);
	close(lib);
}

/* The caller may be replaced in part, but then it is no callee. */
static void replace_caller(void)
{
	static const struct func middle[] = {
		ROOT("c", XDP, CALL_FUNC(1), EXIT),
		EXPORT("g", PROTO_VOID, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
	};
	static const struct func last[] = { ROOT("d", XDP, CALL_PROG(1, 1), EXIT) };
	static const struct func callee[] = { MAIN(XDP), EXPORT("f", PROTO_INT, IDENTITY) };
	static const struct func returns_77 = EXTENSION("g", PROTO_VOID, RETURN(77));
	const char *name = "callee_that_is_a_caller_replaced"; /* P169 */
	int ext, link, ret = -1, again = -1;

	fd_array[0] = LOAD_PROG(callee);
	fd_array[1] = LOAD_PROG(middle);
	ext = load_on(BPF_PROG_TYPE_EXT, fd_array[1], 1, &returns_77);
	link = attach_link(ext, 0);
	test_run(fd_array[1], &ret);
	REFUSE_PROG(name, last, EBUSY, REPLACED);
	if (link > 0)
		close(link);
	test_run(fd_array[1], &again);
	sub_result(name, "run", link > 0 && ret == 77 && again == 5, "link %d, %d, then %d", link,
		   ret, again);
	close(ext);
	close(fd_array[0]);
	close(fd_array[1]);
}

/* Two functions are replaced, and one of the links goes. */
static void replace_two(void)
{
	static const struct func funcs[] = {
		MAIN(XDP),
		EXPORT("f", PROTO_VOID, RETURN(1)),
		EXPORT("g", PROTO_VOID, RETURN(2)),
	};
	static const struct func of_f = EXTENSION("f", PROTO_VOID, RETURN(71));
	static const struct func of_g = EXTENSION("g", PROTO_VOID, RETURN(72));
	static const struct func calls_g[] = { ROOT("c", XDP, CALL_PROG(0, 2), EXIT) };
	const char *name = "callee_not_replaced_any_more"; /* P190c */
	int array = map_fd(MAP_PROG_ARRAY), lib = LOAD_PROG(funcs), links[2], exts[2], fd, err;
	int ret = -1;

	fd_array[0] = lib;
	exts[0] = load_on(BPF_PROG_TYPE_EXT, lib, 1, &of_f);
	exts[1] = load_on(BPF_PROG_TYPE_EXT, lib, 2, &of_g);
	links[0] = attach_link(exts[0], 0);
	links[1] = attach_link(exts[1], 0);
	close(links[0]);
	err = map_set(array, 0, &lib);
	result("prog_array_of_still_replaced", /* P190 */
	       links[0] > 0 && links[1] > 0 && err == -EBUSY, "links %d, %d, member %d", links[0],
	       links[1], err);
	REFUSE_PROG("callee_still_replaced", calls_g, EBUSY, REPLACED); /* P190b */
	close(links[1]);
	fd = ACCEPT_PROG(name, calls_g);
	test_run(fd, &ret);
	sub_result(name, "run", ret == 2, "%d", ret);
	close(fd);
	err = map_set(array, 0, &lib);
	result("prog_array_of_not_replaced_any_more", !err, "%d", err); /* P190d */
	close(exts[0]);
	close(exts[1]);
	close(lib);
}

/* A prologue takes R1 for a socket buffer. */
static void prologues(void)
{
	static const struct func funcs[] = {
		ROOT("lib", TC,
		     MOV_REG(R6, R1),
		     DYNPTR_OF_SKB,
		     CALL_FUNC(1),
		     MOV_REG(R1, R6),
		     CALL_FUNC(2),
		     RETURN(0)),
		GLOBAL("f", PROTO_DYNPTR, RETURN(0)),
		GLOBAL("g", PROTO_SKB, RETURN(0)),
	};
	static const struct func of_dynptr = EXTENSION("f", PROTO_DYNPTR, WRITES_SLICE);
	static const struct func of_skb = EXTENSION("g", PROTO_SKB, DYNPTR_OF_SKB, WRITES_SLICE);
	int lib = LOAD_PROG(funcs), ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &of_dynptr);

	result("extension_writes_packet_without_ctx", /* P194 */
	       ext == -EINVAL &&
	       strstr(log_text, "writing to packets requires a context as first argument"),
	       "%d; log: %s", ext, log_tail());
	if (ext >= 0)
		close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 2, &of_skb);
	/* the prologue moves packets under pointers of who calls g() */
	if (kernel_version() >= KERNEL(7, 3)) {
		result("extension_writes_packet_with_ctx",
		       ext == -EINVAL && strstr(log_text, "Extension program writes to packets"),
		       "%d; log: %s", ext, log_tail());
	} else {
		view_get(ext, &view0);
		result("extension_writes_packet_with_ctx", has_prologue(&view0), /* P194b */
		       "%d, first %#x; log: %s", ext, view0.xlated[0].code, log_tail());
	}
	if (ext >= 0)
		close(ext);
	close(lib);
}

/* What an extension is for is looked at before its functions are. */
static void extend_nothing(void)
{
	static const struct func funcs[] = { EXTENSION("f", PROTO_VOID, RETURN(0)) };
	const char *name = "extension_without_target";

	if (kernel_version() < KERNEL(7, 3))
		skipped(name, "needs a later version of Linux");
	else
		REFUSE_PROG(name, funcs, EINVAL, "Tracing programs must provide btf_id");
}

static void scenarios(void)
{
	extend_nothing();
	replace_callee();
	trace_callee();
	replace_caller();
	replace_two();
	prologues();
}

const struct insn_group call_freplace_group = {
	.name = "call_freplace",
	.scenarios = scenarios,
};
