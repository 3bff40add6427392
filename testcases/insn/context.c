// SPDX-License-Identifier: GPL-2.0
#include "example.h"

/*
 * A context access is rewritten for the type of the root: an instruction that two roots reach with
 * contexts that differ must be refused, also behind calls, and accepted where it is not touched.
 */

#define SKB(member) offsetof(struct __sk_buff, member)
#define XDP_PACKET BPF_LDX_MEM(BPF_W, R2, R1, 4), BPF_LDX_MEM(BPF_W, R1, R1, 0)
#define TC_PACKET BPF_LDX_MEM(BPF_W, R2, R1, 80), BPF_LDX_MEM(BPF_W, R1, R1, 76)
#define READS_CONTEXT \
	SUB("s", BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT)
#define CONTEXT_AS_MAP_VALUE \
	SUB("s", \
	    MOV_REG(R3, R1), \
	    BPF_ST_MEM(BPF_W, R10, -4, 0), \
	    STACK(R2, -4), \
	    LD_MAP(R1, MAP_ARRAY), \
	    MOV_IMM(R4, 0), \
	    HELPER(map_update_elem), \
	    RETURN(0))
#define READS_TSTAMP_TYPE \
	ROOT("ca", TC, \
	     MOV_REG(R6, R1), \
	     BPF_LDX_MEM(BPF_B, R2, R1, SKB(tstamp_type)), \
	     MOV_REG(R1, R6), \
	     CALL_EXIT(2))
#define READS_TSTAMP \
	SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, SKB(tstamp)), EXIT)
/* with a packet in R1 and its end in R2 */
#define READS_PACKET \
	SUB("s", \
	    MOV_REG(R3, R1), \
	    BPF_ALU64_IMM(BPF_ADD, R3, 8), \
	    MOV_IMM(R0, 0), \
	    BPF_JMP_REG(BPF_JGT, R3, R2, 1), \
	    BPF_LDX_MEM(BPF_B, R0, R1, 2), \
	    EXIT)
#define WRITES_PACKET \
	SUB("s", \
	    MOV_REG(R3, R1), \
	    BPF_ALU64_IMM(BPF_ADD, R3, 8), \
	    MOV_IMM(R0, 0), \
	    BPF_JMP_REG(BPF_JGT, R3, R2, 2), \
	    MOV_IMM(R0, 9), \
	    BPF_STX_MEM(BPF_B, R1, R0, 2), \
	    EXIT)

/* The second root alone is attached to a socket: what the first left in cb[] is not seen. */
static void check_cb(const char *name)
{
	int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0), err, n;
	struct sockaddr_in addr = { .sin_family = AF_INET };
	char text[8];
	__u64 v[16];

	addr.sin_port = htons(5556);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	counters_zero();
	close(loaded.fds[0]);
	loaded.fds[0] = -1;
	if (bind(r, (void *)&addr, sizeof(addr)))
		perror("bind");
	err = setsockopt(r, SOL_SOCKET, SO_ATTACH_BPF, &loaded.fds[1], sizeof(loaded.fds[1]));
	sendto(s, "hi", 2, 0, (void *)&addr, sizeof(addr));
	n = recv(r, text, sizeof(text), MSG_DONTWAIT);
	counters_read(v);
	sub_result(name, "run", !err && n == 2 && v[13] == 1 && (__u32)v[12] == 0,
		   "attach %d recv %d runs %llu cb[4] %x", err, n, v[13], (__u32)v[12]);
	close(r);
	close(s);
}

/* The root that writes to packets has a prologue, and the other has none. */
static void check_prologue(const char *name, int writer)
{
	int ret = -1;

	view_get(loaded.fds[writer], &view0);
	view_get(loaded.fds[!writer], &view1);
	test_run(loaded.fds[writer], &ret);
	sub_result(name, "prologue",
		   view0.funcs[1].off > 6 && view1.funcs[1].off == 2 && ret == 5,
		   "entry insns: writer %u (6 + prologue), other %u, returns %d",
		   view0.funcs[1].off, view1.funcs[1].off, ret);
}

static void check_first_prologue(const char *name)
{
	check_prologue(name, 0);
}

static void check_second_prologue(const char *name)
{
	check_prologue(name, 1);
}

/* reads and writes tstamp */
static const struct bpf_insn uses_tstamp[] = {
	BPF_LDX_MEM(BPF_DW, R2, R1, SKB(tstamp)),
	BPF_STX_MEM(BPF_DW, R1, R2, SKB(tstamp)),
	RETURN(0),
};

#define USES_TSTAMP \
	{ .name = "cb", .type = TC, .global = true, .long_insns = uses_tstamp, \
	  .long_len = ARRAY_SIZE(uses_tstamp) }
#define USES_TSTAMP_TYPE \
	ROOT("ca", TC, BPF_LDX_MEM(BPF_B, R0, R1, SKB(tstamp_type)), EXIT)

static void tstamp_alone(void)
{
	int fd = load_plain(TC, uses_tstamp, ARRAY_SIZE(uses_tstamp), 0);

	result("tstamp_alone", fd >= 0 && !view_get(fd, &view0), /* A4 cb alone */
	       "%d %s", fd, log_tail());
	close(fd);
}

/* Nothing is shared: the root must become what it becomes when it is loaded alone. */
static void check_tstamp(const char *name, int root)
{
	int fd = load_plain(TC, uses_tstamp, ARRAY_SIZE(uses_tstamp), 0);

	view_get(fd, &view0);
	close(fd);
	view_get(loaded.fds[root], &view1);
	sub_result(name, "xlated",
		   view0.nr_xlated > 4 && view1.nr_xlated == view0.nr_xlated &&
		   !memcmp(view1.xlated, view0.xlated, view0.nr_xlated * sizeof(view0.xlated[0])),
		   "%d insns in the group, %d alone", view1.nr_xlated, view0.nr_xlated);
}

static void check_tstamp_of_first(const char *name)
{
	check_tstamp(name, 0);
}

static void check_tstamp_of_second(const char *name)
{
	check_tstamp(name, 1);
}

static const struct insn_test tests[] = {
	{
		.name = "ctx_of_unknown_kind", /* T02 */
		.funcs = {
			ROOT("kp", KPROBE,
			     MOV_REG(R2, R1),
			     LD_VALUE(R4, MAP_COUNTERS, 64),
			     BPF_LDX_MEM(BPF_DW, R1, R4, 0),
			     MOV_IMM(R3, 0),
			     CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT,
			     MOV_REG(R3, R1),
			     MOV_IMM(R1, 2),
			     MOV_IMM(R2, 0),
			     CALL_EXIT(2)),
			EXAMPLE_SUB,
		},
		.err = EACCES,
		.msg = "invalid mem access 'scalar'",
	},
	{
		.name = "ctx_ambiguous", /* T03 K,T ambiguous ctx */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT),
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_ambiguous_names_both_roots", /* T03 names both */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT),
		},
		.err = EINVAL,
		.msg = "root#0 kp() vs root#1 tp()",
	},
	{
		.name = "ctx_packet_pointer_or_r15", /* T04 */
		.funcs = {
			ROOT("xd", XDP, CALL_EXIT(2)),
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			READS_CONTEXT,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_ambiguous_twice", /* T05 */
		.funcs = {
			ROOT("kp", KPROBE,
			     MOV_REG(R6, R1),
			     CALL_FUNC(2),
			     MOV_REG(R1, R6),
			     CALL_EXIT(2)),
			ROOT("xd", XDP,
			     MOV_REG(R6, R1),
			     CALL_FUNC(2),
			     MOV_REG(R1, R6),
			     CALL_EXIT(2)),
			READS_CONTEXT,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_ambiguous_below_three_calls", /* T07 */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			SUB("s", CALL_FUNC(3), EXIT),
			SUB("s2", CALL_FUNC(4), EXIT),
			SUB("s3", BPF_LDX_MEM(BPF_DW, R0, R1, 16), EXIT),
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_not_touched_below_three_calls", /* T08 */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			SUB("s", CALL_FUNC(3), EXIT),
			SUB("s2", CALL_FUNC(4), EXIT),
			SUB("s3", RETURN(0)),
		},
	},
	{
		.name = "ctx_of_same_kind", /* T09 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, 112), EXIT),
		},
	},
	{
		.name = "ctx_of_kprobe_session", /* T10 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT_AS("kb", KPROBE, BPF_TRACE_KPROBE_SESSION, 0,
				CALL_EXIT(2)),
			SUB("s", BPF_LDX_MEM(BPF_DW, R0, R1, 112), EXIT),
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_or_stack", /* T10b ctx vs stack */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("xd", XDP,
			     STACK(R1, -8),
			     BPF_ST_MEM(BPF_DW, R10, -8, 0),
			     CALL_EXIT(2)),
			READS_CONTEXT,
		},
		.err = EINVAL,
		.msg = "same insn cannot be used with different pointers",
	},
	{
		.name = "ctx_or_stack_names_both_roots", /* T10b names both */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("xd", XDP,
			     STACK(R1, -8),
			     BPF_ST_MEM(BPF_DW, R10, -8, 0),
			     CALL_EXIT(2)),
			READS_CONTEXT,
		},
		.err = EINVAL,
		.msg = "different pointers for root#0 kp() vs root#1 xd()",
	},
	{
		.name = "stack_or_ctx", /* T10c */
		.funcs = {
			ROOT("xd", XDP,
			     STACK(R1, -8),
			     BPF_ST_MEM(BPF_DW, R10, -8, 0),
			     CALL_EXIT(2)),
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			READS_CONTEXT,
		},
		.err = EINVAL,
		.msg = "same insn cannot be used with different pointers",
	},
	/* types without a converter: the context is plain memory to a helper */
	{
		.name = "ctx_as_map_value", /* T10d */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("tp", TRACEPOINT, CALL_EXIT(2)),
			CONTEXT_AS_MAP_VALUE,
		},
		.err = EACCES,
		.msg = "R3 type=ctx expected",
	},
	{
		.name = "ctx_as_map_value_of_xdp", /* T10e */
		.funcs = {
			ROOT("kp", KPROBE, CALL_EXIT(2)),
			ROOT("xd", XDP, CALL_EXIT(2)),
			CONTEXT_AS_MAP_VALUE,
		},
		.err = EACCES,
	},
	{
		.name = "ctx_store", /* T10f */
		.funcs = {
			ROOT("c", TC, CALL_EXIT(2)),
			ROOT_AS("g", CGROUP_SKB, INGRESS, 0, CALL_EXIT(2)),
			SUB("s",
			    MOV_IMM(R2, 5),
			    BPF_STX_MEM(BPF_W, R1, R2, 8),
			    RETURN(0)),
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "skb_len_of_socket_filter", /* T10g */
		.funcs = {
			ROOT("c", TC, CALL_EXIT(2)),
			ROOT("fi", SOCKET_FILTER, CALL_EXIT(2)),
			READS_CONTEXT,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "skb_len_of_ingress_and_egress", /* T10h */
		.funcs = {
			ROOT_AS("gi", CGROUP_SKB, INGRESS, 0, CALL_EXIT(2)),
			ROOT_AS("ge", CGROUP_SKB, EGRESS, 0, CALL_EXIT(2)),
			READS_CONTEXT,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	{
		.name = "ctx_of_xdp_frags", /* T10i */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT_AS("xb", XDP, 0, BPF_F_XDP_HAS_FRAGS,
				CALL_EXIT(2)),
			SUB("s", BPF_LDX_MEM(BPF_W, R0, R1, 12), EXIT),
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS,
	},
	/* a root that reads tstamp_type changes what an access to tstamp becomes */
	{
		.name = "tstamp_read_in_two_ways", /* T11 */
		.funcs = {
			READS_TSTAMP_TYPE,
			ROOT("cb", TC, CALL_EXIT(2)),
			READS_TSTAMP,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS ": tstamp",
	},
	{
		.name = "tstamp_read_in_two_ways_reversed", /* T11b */
		.funcs = {
			ROOT("cb", TC, CALL_EXIT(2)),
			READS_TSTAMP_TYPE,
			READS_TSTAMP,
		},
		.err = EINVAL,
		.msg = DIFFERENT_CONTEXTS ": tstamp",
	},
	{
		.name = "tstamp_read_in_one_way", /* T11c */
		.funcs = {
			READS_TSTAMP_TYPE,
			ROOT("ca2", TC,
			     MOV_REG(R6, R1),
			     BPF_LDX_MEM(BPF_B, R2, R1, SKB(tstamp_type)),
			     MOV_REG(R1, R6),
			     CALL_EXIT(2)),
			READS_TSTAMP,
		},
	},
	{
		.name = "tstamp_not_shared", /* A4 ca,cb */
		.funcs = { USES_TSTAMP_TYPE, USES_TSTAMP },
		.check = check_tstamp_of_second,
	},
	{
		.name = "tstamp_not_shared_reversed", /* A4 cb,ca */
		.funcs = { USES_TSTAMP, USES_TSTAMP_TYPE },
		.check = check_tstamp_of_first,
	},
	{
		.name = "cb_of_two_sockets", /* T12 */
		.funcs = {
			ROOT("fa", SOCKET_FILTER, CALL_FUNC(2), EXIT),
			ROOT("fb", SOCKET_FILTER, CALL_FUNC(2), EXIT),
			SUB("s",
			    BPF_LDX_MEM(BPF_W, R2, R1, SKB(cb[4])),
			    BPF_ST_MEM(BPF_W, R1, SKB(cb[1]), 77),
			    LD_VALUE(R3, MAP_COUNTERS, 96),
			    BPF_STX_MEM(BPF_W, R3, R2, 0),
			    MOV_IMM(R4, 1),
			    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R3, R4, 8),
			    RETURN(-1)),
		},
		.check = check_cb,
	},
	{
		.name = "packet_by_value", /* T13 */
		.funcs = {
			ROOT("xd", XDP, XDP_PACKET, CALL_FUNC(2), EXIT),
			ROOT("tc", TC, TC_PACKET, CALL_FUNC(2), EXIT),
			READS_PACKET,
		},
		.runs = { RETURNS(3), RETURNS(3) },
	},
	{
		.name = "packet_write_by_second_root", /* T14 */
		.funcs = {
			ROOT("tc", TC, TC_PACKET, CALL_EXIT(2)),
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0,
				TC_PACKET,
				CALL_EXIT(2)),
			WRITES_PACKET,
		},
		.err = EACCES,
		.msg = "cannot write into packet",
	},
	{
		.name = "packet_write_by_first_root", /* T14b */
		.funcs = {
			ROOT_AS("cg", CGROUP_SKB, INGRESS, 0,
				TC_PACKET,
				CALL_EXIT(2)),
			ROOT("tc", TC, TC_PACKET, CALL_EXIT(2)),
			WRITES_PACKET,
		},
		.err = EACCES,
		.msg = "cannot write into packet",
	},
	{
		.name = "prologue_of_first_root", /* T15 */
		.funcs = {
			ROOT("tc", TC,
			     MOV_REG(R6, R1),
			     TC_PACKET,
			     CALL_FUNC(2),
			     CALL_FUNC(3),
			     EXIT),
			ROOT("kp", KPROBE, CALL_FUNC(3), EXIT),
			WRITES_PACKET,
			SUB("s2", RETURN(5)),
		},
		.check = check_first_prologue,
	},
	{
		.name = "prologue_of_second_root", /* T15b */
		.funcs = {
			ROOT("kp", KPROBE, CALL_FUNC(3), EXIT),
			ROOT("tc", TC,
			     MOV_REG(R6, R1),
			     TC_PACKET,
			     CALL_FUNC(2),
			     CALL_FUNC(3),
			     EXIT),
			WRITES_PACKET,
			SUB("s2", RETURN(5)),
		},
		.check = check_second_prologue,
	},
};

const struct insn_group context_group = {
	.name = "context",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = tstamp_alone,
};
