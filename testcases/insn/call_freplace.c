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
	result("extension_writes_packet_with_ctx", /* P194b */
	       ext == -EINVAL && strstr(log_text, "Extension program writes to packets"),
	       "%d; log: %s", ext, log_tail());
	if (ext >= 0)
		close(ext);
	close(lib);
}

/* What an extension is for is looked at before its functions are. */
static void extend_nothing(void)
{
	static const struct func funcs[] = { EXTENSION("f", PROTO_VOID, RETURN(0)) };

	REFUSE_PROG("extension_without_target", funcs, EINVAL,
		    "Tracing programs must provide btf_id");
}

/* Loads that fail, early and late, let go of the callee: it can be replaced. */
static void failures_release(void)
{
	static const struct func not_exported[] = {
		ROOT("c", XDP, CALL_PROG(0, 0), EXIT),
	};
	static const struct func wrong_type[] = {
		ROOT("c", TC, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
	};
	static const struct func bad_later[] = {
		ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), MOV_REG(R0, R9), EXIT),
	};
	static const struct func returns_77 = EXTENSION("f", PROTO_INT, RETURN(77));
	const char *name = "freplace_behind_failed_callers";
	int lib = LOAD_PROG(library), ext, link, fd, i;

	fd_array[0] = lib;
	REFUSE_PROG("caller_of_entry_fails", not_exported, EINVAL, "it is the entry");
	REFUSE_PROG("caller_of_other_type_fails", wrong_type, EINVAL, "it was not verified");
	REFUSE_PROG("caller_fails_behind_call", bad_later, EACCES, "R9 !read_ok");
	for (i = 0; i < 3; i++) {
		prepare_prog(caller, 1);
		loaded.attr.log_size = 128;
		fd = load_prepared();
		if (fd >= 0)
			close(fd);
	}
	rcu_settle();
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &returns_77);
	link = attach_link(ext, 0);
	result(name, fd == -ENOSPC && link > 0, "last load %d, extension %d, link %d", fd, ext,
	       link);
	close(link);
	close(ext);
	close(lib);
}

/* Programs that trace or replace another one do not export. */
static void exporting_extension(void)
{
	static const struct func exports[] = {
		EXTENSION("f", PROTO_INT, CALL_FUNC(1), EXIT),
		EXPORT("g", PROTO_INT, IDENTITY),
	};
	static const struct func tracer[] = {
		TRACER(MOV_IMM(R1, 1), CALL_FUNC(1), RETURN(0)),
		EXPORT("g", PROTO_INT, IDENTITY),
	};
	static const char why[] = "g() cannot be exported";
	int lib = LOAD_PROG(library), fd;

	prepare_prog(exports, ARRAY_SIZE(exports));
	loaded.attr.attach_prog_fd = lib;
	loaded.attr.attach_btf_id = BTF_FUNC0 + 1;
	fd = load_prepared();
	expect_load("export_of_extension", fd < 0 ? -fd : 0, EINVAL, why);
	if (fd >= 0)
		close(fd);
	prepare_prog(tracer, ARRAY_SIZE(tracer));
	loaded.attr.expected_attach_type = BPF_TRACE_FENTRY;
	loaded.attr.attach_prog_fd = lib;
	loaded.attr.attach_btf_id = BTF_FUNC0 + 1;
	fd = load_prepared();
	expect_load("export_of_tracer_of_a_program", fd < 0 ? -fd : 0, EINVAL, why);
	if (fd >= 0)
		close(fd);
	close(lib);
}

/*
 * A function of the caller is replaced that passes packets on to a callee which only reads: the
 * replacement must not write to them, in a program that may not.
 */
static void replace_passing_function(void)
{
	static const struct func reads[] = {
		ROOT_AS("lib", CGROUP_SKB, INGRESS, 0, RETURN(1)),
		EXPORT("f", PROTO_SOCK, READS_IF_NOT_NULL),
	};
	static const struct func passes[] = {
		ROOT_AS("c", CGROUP_SKB, INGRESS, 0,
			BPF_LDX_MEM(BPF_W, R7, R1, offsetof(struct __sk_buff, data)),
			BPF_LDX_MEM(BPF_W, R8, R1, offsetof(struct __sk_buff, data_end)),
			MOV_REG(R2, R7),
			BPF_ALU64_IMM(BPF_ADD, R2, 8),
			BPF_JMP_REG(BPF_JLE, R2, R8, 2),
			RETURN(1),
			MOV_REG(R1, R7),
			CALL_FUNC(1),
			RETURN(1)),
		GLOBAL("g", PROTO_SOCK, CALL_PROG(0, 1), EXIT),
	};
	static const struct func writes =
		EXTENSION("g", PROTO_SOCK,
			  MOV_IMM(R0, 0),
			  BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			  BPF_ST_MEM(BPF_W, R1, 0, 1),
			  EXIT);
	static const struct func also_reads =
		EXTENSION("g", PROTO_SOCK,
			  MOV_IMM(R0, 0),
			  BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			  BPF_LDX_MEM(BPF_W, R1, R1, 0),
			  EXIT);
	const char *name = "extension_writes_packet_passed_to_callee";
	int fd, ext;

	fd_array[0] = LOAD_PROG(reads);
	fd = LOAD_PROG(passes);
	ext = load_on(BPF_PROG_TYPE_EXT, fd, 1, &writes);
	result(name, fd >= 0 && ext == -EACCES &&
	       strstr(log_text, "writes to memory, while original does not"),
	       "caller %d, extension %d: %s", fd, ext, log_tail());
	if (ext >= 0)
		close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, fd, 1, &also_reads);
	result("extension_reads_packet_passed_to_callee", ext >= 0, "%d: %s", ext, log_tail());
	if (ext >= 0)
		close(ext);
	close(fd);
	close(fd_array[0]);
}

/* An extension may write where the function does, and no packet is. */
static void replace_by_argument(void)
{
	static const struct func funcs[] = {
		ROOT_AS("c", CGROUP_SKB, INGRESS, 0,
			BPF_LDX_MEM(BPF_W, R7, R1, offsetof(struct __sk_buff, data)),
			BPF_LDX_MEM(BPF_W, R8, R1, offsetof(struct __sk_buff, data_end)),
			MOV_REG(R2, R7),
			BPF_ALU64_IMM(BPF_ADD, R2, 8),
			BPF_JMP_REG(BPF_JLE, R2, R8, 2),
			RETURN(1),
			BPF_ST_MEM(BPF_W, R10, -4, 0),
			MOV_REG(R1, R7),
			STACK(R2, -4),
			CALL_FUNC(1),
			RETURN(1)),
		GLOBAL("g", PROTO_TWO_SOCKS, RETURN(0)),
	};
	static const struct func of_packet =
		EXTENSION("g", PROTO_TWO_SOCKS,
			  BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
			  BPF_ST_MEM(BPF_W, R1, 0, 1),
			  RETURN(0));
	static const struct func of_stack =
		EXTENSION("g", PROTO_TWO_SOCKS,
			  BPF_JMP_IMM(BPF_JEQ, R2, 0, 1),
			  BPF_ST_MEM(BPF_W, R2, 0, 1),
			  RETURN(0));
	int fd = LOAD_PROG(funcs), ext;

	ext = load_on(BPF_PROG_TYPE_EXT, fd, 1, &of_packet);
	result("extension_writes_argument_with_packet", fd >= 0 && ext == -EACCES &&
	       strstr(log_text, "writes to memory, while original does not"),
	       "program %d, extension %d: %s", fd, ext, log_tail());
	if (ext >= 0)
		close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, fd, 1, &of_stack);
	result("extension_writes_argument_without_packet", ext >= 0, "%d: %s", ext, log_tail());
	if (ext >= 0)
		close(ext);
	close(fd);
}

#define RINGBUF_DYNPTR \
	LD_MAP(R1, MAP_RINGBUF), \
	MOV_IMM(R2, 8), \
	MOV_IMM(R3, 0), \
	STACK(R4, -40), \
	HELPER(ringbuf_reserve_dynptr)
#define SUBMIT \
	STACK(R1, -40), \
	MOV_IMM(R2, 0), \
	HELPER(ringbuf_submit_dynptr)
#define LOGS RINGBUF_DYNPTR, STACK(R1, -40), WRITE_DYNPTR(4), SUBMIT, RETURN(9)
#define WRITES_DYNPTR_OF_SKB SKB_DYNPTR, STACK(R1, -16), WRITE_DYNPTR(4), RETURN(9)

/* Attach to what it was loaded for, and run that. Returns what the run returns, or -1. */
static int attach_and_run(int ext, int target)
{
	int link = attach_link(ext, 0), ret = -1;

	if (link < 0)
		return -1;
	test_run(target, &ret);
	close(link);
	return ret;
}

/* A dynptr that the extension made itself is written to, in a program that has one of a packet. */
static void write_own_dynptr(void)
{
	static const struct func xdp[] = {
		ROOT("lib", XDP,
		     MOV_REG(R6, R1),
		     MOV_IMM(R2, 0),
		     STACK(R3, -16),
		     KFUNC(bpf_dynptr_from_xdp),
		     MOV_REG(R1, R6),
		     CALL_FUNC(1),
		     EXIT),
		GLOBAL("stub", PROTO_XDP, RETURN(0)),
	};
	static const struct func tc[] = {
		ROOT("lib", TC,
		     MOV_REG(R6, R1),
		     SKB_DYNPTR,
		     STACK(R1, -16),
		     CALL_FUNC(2),
		     MOV_REG(R1, R6),
		     CALL_FUNC(1),
		     EXIT),
		GLOBAL("stub", PROTO_SKB, RETURN(0)),
		GLOBAL("f", PROTO_DYNPTR, RETURN(0)),
	};
	static const struct func logs_xdp = EXTENSION("stub", PROTO_XDP, LOGS);
	static const struct func logs_skb = EXTENSION("stub", PROTO_SKB, LOGS);
	static const struct func writes_skb =
		EXTENSION("stub", PROTO_SKB, WRITES_DYNPTR_OF_SKB);
	static const struct func writes_dynptr =
		EXTENSION("f", PROTO_DYNPTR, WRITE_DYNPTR(4), RETURN(9));
	static const struct {
		const char *name;
		bool xdp;
		int k;
		const struct func *ext;
		const char *msg;
	} tests[] = {
		{ "extension_logs_beside_dynptr_of_xdp", true, 1, &logs_xdp },
		{ "extension_logs_beside_dynptr_of_skb", false, 1, &logs_skb },
		{ "extension_writes_dynptr_of_skb", false, 1, &writes_skb,
		  "Extension program changes packet data, while original does not" },
		{ "extension_writes_dynptr_argument", false, 2, &writes_dynptr,
		  "Extension program writes to dynptrs, while original does not" },
	};
	int ext, target, ret;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		target = tests[i].xdp ? LOAD_PROG(xdp) : LOAD_PROG(tc);
		ext = load_on(BPF_PROG_TYPE_EXT, target, tests[i].k, tests[i].ext);
		result(tests[i].name, target >= 0 && (tests[i].msg ?
		       ext == -EINVAL && strstr(log_text, tests[i].msg) : ext >= 0),
		       "program %d, extension %d: %s", target, ext, log_tail());
		if (!tests[i].msg) {
			ret = attach_and_run(ext, target);
			sub_result(tests[i].name, "run", ret == 9, "%d", ret);
		}
		if (ext >= 0)
			close(ext);
		close(target);
		rcu_settle();
	}
}

/* A new entry may move packets, as nobody calls it; what is called may not. */
static void move_in_entry(void)
{
	static const struct func mover = EXTENSION("e", PROTO_SKB, WRITES_DYNPTR_OF_SKB);
	static const struct func keeps[] = {
		ROOT("lib", TC,
		     MOV_REG(R6, R1),
		     SKB_BYTES(1, 0),
		     MOV_REG(R1, R6),
		     CALL_FUNC(1),
		     BPF_LDX_MEM(BPF_B, R0, R7, 0),
		     RETURN(0)),
		GLOBAL("stub", PROTO_SKB, RETURN(0)),
	};
	struct func entry = ROOT("e", TC, RETURN(0));
	int lib = LOAD_PROG(keeps), target, ext, link, ret;

	entry.proto = PROTO_SKB;
	target = load_prog(&entry, 1);
	ext = load_on(BPF_PROG_TYPE_EXT, lib, 1, &mover);
	result("mover_for_stub", lib >= 0 && ext == -EINVAL &&
	       strstr(log_text, "Extension program changes packet data, while original does not"),
	       "%d: %s", ext, log_tail());
	if (ext >= 0)
		close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, target, 0, &mover);
	result("mover_for_entry", ext >= 0, "%d: %s", ext, log_tail());
	link = attach_ext(ext, lib, 1);
	result("mover_for_entry_attached_to_stub", link == -EINVAL, "%d", link);
	if (link >= 0)
		close(link);
	ret = attach_and_run(ext, target);
	result("mover_attached_to_entry", ret == 9, "%d", ret);
	close(ext);
	close(target);
	close(lib);
	rcu_settle();
}

#define FILLS_ARGUMENT \
	MOV_IMM(R2, 0), \
	MOV_IMM(R3, 8), \
	MOV_IMM(R4, 'B'), \
	KFUNC(bpf_dynptr_memset), \
	RETURN(9)

/* A kfunc writes in place: the packet was not made private for an extension that knew of none. */
static void fill_in_place(void)
{
	static const struct func memory[] = {
		ROOT("lib", TC, MEM_DYNPTR, STACK(R1, -16), CALL_FUNC(1), EXIT),
		GLOBAL("f", PROTO_DYNPTR, FILLS_ARGUMENT),
	};
	static const struct func packets[] = {
		ROOT("lib", TC, SKB_DYNPTR, STACK(R1, -16), CALL_FUNC(1), EXIT),
		GLOBAL("f", PROTO_DYNPTR, FILLS_ARGUMENT),
	};
	static const struct func fills = EXTENSION("f", PROTO_DYNPTR, FILLS_ARGUMENT);
	static const struct func reads =
		EXTENSION("f", PROTO_DYNPTR,
			  MOV_IMM(R2, 0),
			  BPF_ST_MEM(BPF_DW, R10, -24, 0),
			  STACK(R3, -24),
			  MOV_IMM(R4, 8),
			  KFUNC(bpf_dynptr_slice),
			  BPF_JMP_IMM(BPF_JEQ, R0, 0, 1),
			  BPF_LDX_MEM(BPF_B, R0, R0, 0),
			  RETURN(9));
	int mem = LOAD_PROG(memory), pkt = LOAD_PROG(packets), ext, link, ret = -1;

	ext = load_on(BPF_PROG_TYPE_EXT, mem, 1, &fills);
	result("filler_for_memory", ext >= 0, "%d: %s", ext, log_tail());
	link = attach_ext(ext, pkt, 1);
	result("filler_for_memory_attached_to_packets", pkt >= 0 && link == -EINVAL, "%d", link);
	if (link >= 0)
		close(link);
	ret = attach_and_run(ext, mem);
	result("filler_for_memory_attached_to_memory", ret == 9, "%d", ret);
	if (ext >= 0)
		close(ext);
	ext = load_on(BPF_PROG_TYPE_EXT, mem, 1, &reads);
	link = attach_ext(ext, pkt, 1);
	ret = -1;
	test_run(pkt, &ret);
	result("reader_for_memory_attached_to_packets", ext >= 0 && link >= 0 && ret == 9,
	       "%d, %d, returns %d: %s", ext, link, ret, log_tail());
	if (link >= 0)
		close(link);
	if (ext >= 0)
		close(ext);
	close(mem);
	close(pkt);
	rcu_settle();
}

static void scenarios(void)
{
	failures_release();
	write_own_dynptr();
	move_in_entry();
	fill_in_place();
	replace_by_argument();
	exporting_extension();
	replace_passing_function();
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
