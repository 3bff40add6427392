// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Tail calls: the owner of the program array, shared code that tail calls, roots as targets.
 */

#define TAIL_CALLS \
	SUB("s", \
	    LD_MAP(R2, MAP_PROG_ARRAY), \
	    MOV_IMM(R3, 0), \
	    HELPER(tail_call), \
	    RETURN(2))

static int load_target(void)
{
	static const struct bpf_insn target[] = { RETURN(3) };

	return load_plain(XDP, target, ARRAY_SIZE(target), 0);
}

static void close_root(int root)
{
	close(loaded.fds[root]);
	loaded.fds[root] = -1;
	rcu_settle();
}

static void check_shared(const char *name)
{
	int array = map_fd(MAP_PROG_ARRAY), target = load_target(), err;
	int empty = -1, set = -1, closed = -1, deleted = -1;

	test_run(loaded.fds[0], &empty);
	err = map_set(array, 0, &target);
	test_run(loaded.fds[0], &set);
	close_root(0);
	test_run(loaded.fds[1], &closed);
	map_del(array, 0);
	close(target);
	rcu_settle();
	test_run(loaded.fds[1], &deleted);
	sub_result(name, "run", empty == 2 && set == 3 && closed == 3 && deleted == 2 && !err,
		   "empty %d, set %d, root#0 closed %d, deleted %d", empty, set, closed, deleted);
}

static void check_second_root(const char *name)
{
	int array = map_fd(MAP_PROG_ARRAY), target = load_target(), set = -1, deleted = -1;

	map_set(array, 0, &target);
	close_root(0);
	test_run(loaded.fds[1], &set);
	map_del(array, 0);
	close(target);
	rcu_settle();
	test_run(loaded.fds[1], &deleted);
	sub_result(name, "run", set == 3 && deleted == 2, "%d %d", set, deleted);
}

static void check_target(const char *name)
{
	static const struct bpf_insn caller[] = {
		LD_MAP(R2, MAP_PROG_ARRAY),
		MOV_IMM(R3, 0),
		HELPER(tail_call),
		RETURN(2),
	};
	int fd = load_plain(XDP, caller, ARRAY_SIZE(caller), 0), ret = -1;
	int err = map_set(map_fd(MAP_PROG_ARRAY), 0, &loaded.fds[0]);

	close(loaded.fds[0]);
	loaded.fds[0] = -1;
	test_run(fd, &ret);
	sub_result(name, "run", ret == 4 && !err, "%d", ret);
	map_del(map_fd(MAP_PROG_ARRAY), 0);
	close(fd);
}

/* The first program that uses a program array owns it. */
static void make_xdp_own_array(void)
{
	static const struct bpf_insn owner[] = {
		LD_MAP(R2, MAP_PROG_ARRAY),
		MOV_IMM(R3, 0),
		HELPER(tail_call),
		RETURN(2),
	};

	close(load_plain(XDP, owner, ARRAY_SIZE(owner), 0));
}

#define LOOPS(kind) \
	BPF_STX_MEM(BPF_DW, R10, R1, -8), \
	STACK(R3, -8), \
	MOV_IMM(R1, kind), \
	CALL_FUNC(2), \
	RETURN(1)
#define TAIL_CALLS_IN_CALLBACK \
	LD_MAP(R2, MAP_PROG_ARRAY), \
	MOV_IMM(R3, 0), \
	HELPER(tail_call), \
	RETURN(0)
#define IN_CALLBACK "cannot tail call within callback"

static const struct insn_test tests[] = {
	{
		.name = "tail_call_in_shared_function", /* T40 */
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT("xb", XDP, CALL_FUNC(2), EXIT),
			TAIL_CALLS,
		},
		.check = check_shared,
	},
	{
		.name = "tail_call_in_shared_function_of_two_types", /* T41 */
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT("kb", KPROBE, CALL_FUNC(2), EXIT),
			TAIL_CALLS,
		},
		.err = EINVAL,
		.msg = "same insn cannot be used with different contexts: tail call",
	},
	{
		.name = "tail_call_in_second_root", /* T42 */
		.funcs = {
			ROOT("xa", XDP, RETURN(1)),
			ROOT("xb", XDP,
			     LD_MAP(R2, MAP_PROG_ARRAY),
			     MOV_IMM(R3, 0),
			     HELPER(tail_call),
			     RETURN(2)),
		},
		.check = check_second_root,
	},
	{
		.name = "tail_call_in_dead_arm_of_other_type", /* T42b */
		.funcs = {
			ROOT("tp", TRACEPOINT,
			     MOV_REG(R4, R1),
			     MOV_IMM(R1, 1),
			     CALL_EXIT(2)),
			ROOT("xb", XDP,
			     MOV_REG(R4, R1),
			     MOV_IMM(R1, 2),
			     CALL_FUNC(2),
			     EXIT),
			SUB("s",
			    BPF_JMP_IMM(BPF_JNE, R1, 2, 5),
			    MOV_REG(R1, R4),
			    LD_MAP(R2, MAP_PROG_ARRAY),
			    MOV_IMM(R3, 0),
			    HELPER(tail_call),
			    RETURN(2)),
		},
		.setup = make_xdp_own_array,
	},
	/* called by a helper, not by what the second root is made of */
	{
		.name = "tail_call_in_callback_of_second_root",
		.funcs = {
			ROOT("xa", XDP, LD_FUNC(R2, 3), CALL_FUNC(2), EXIT),
			ROOT("xb", XDP, LD_FUNC(R2, 4), CALL_FUNC(2), EXIT),
			SUB("s",
			    BPF_STX_MEM(BPF_DW, R10, R1, -8),
			    STACK(R3, -8),
			    MOV_IMM(R1, 10),
			    MOV_IMM(R4, 0),
			    HELPER(loop),
			    EXIT),
			SUB("one", RETURN(0)),
			SUB("two",
			    BPF_LDX_MEM(BPF_DW, R1, R2, 0),
			    LD_MAP(R2, MAP_PROG_ARRAY),
			    MOV_IMM(R3, 0),
			    HELPER(tail_call),
			    RETURN(0)),
		},
		.err = EINVAL,
		.msg = "cannot tail call within callback",
	},
	{
		.name = "prog_array_of_other_type", /* T42c */
		.funcs = {
			ROOT("kp", KPROBE,
			     MOV_IMM(R0, 0),
			     LD_MAP(R2, MAP_PROG_ARRAY),
			     MOV_IMM(R3, 0),
			     HELPER(tail_call),
			     RETURN(0)),
			ROOT("xb", XDP, RETURN(1)),
		},
		.err = EINVAL,
		.setup = make_xdp_own_array,
	},
	{
		.name = "root_as_tail_call_target", /* T42d */
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT("xb", XDP, RETURN(1)),
			SUB("s", RETURN(4)),
		},
		.check = check_target,
	},
	/* a callback has no tail call counter */
	{
		.name = "tail_call_in_callback",
		.funcs = {
			ROOT("xa", XDP,
			     BPF_STX_MEM(BPF_DW, R10, R1, -8),
			     STACK(R3, -8),
			     LD_MAP(R1, MAP_ARRAY),
			     LD_FUNC(R2, 2),
			     MOV_IMM(R4, 0),
			     HELPER(for_each_map_elem),
			     RETURN(1)),
			ROOT("xb", XDP, RETURN(1)),
			SUB("cb", BPF_LDX_MEM(BPF_DW, R1, R4, 0), TAIL_CALLS_IN_CALLBACK),
		},
		.err = EINVAL,
		.msg = IN_CALLBACK,
	},
	/* bpf_loop() is inlined for each of the roots alone, and not for both */
	{
		.name = "tail_call_in_callback_of_shared_loop",
		.funcs = {
			ROOT("xa", XDP, LOOPS(1)),
			ROOT("xb", XDP, LOOPS(2)),
			SUB("s",
			    BPF_JMP_IMM(BPF_JNE, R1, 1, 3),
			    LD_FUNC(R2, 3),
			    BPF_JMP_A(2),
			    LD_FUNC(R2, 4),
			    MOV_IMM(R1, 4),
			    MOV_IMM(R4, 0),
			    HELPER(loop),
			    EXIT),
			SUB("cb1", BPF_LDX_MEM(BPF_DW, R1, R2, 0), TAIL_CALLS_IN_CALLBACK),
			SUB("cb2", RETURN(0)),
		},
		.err = EINVAL,
		.msg = IN_CALLBACK,
	},
};

#define READS_CONTEXT BPF_LDX_MEM(BPF_DW, R2, R1, 0)
#define WRITES_CONTEXT BPF_ST_MEM(BPF_DW, R1, 0, 0)
#define AND_TAIL_CALLS \
	LD_MAP(R2, MAP_PROG_ARRAY), \
	MOV_IMM(R3, 0), \
	HELPER(tail_call), \
	RETURN(0)

/* Whether a program writes to its context is looked at where it is attached, not at a tail call. */
static void tail_call_to_writer_of_context(void)
{
	static const struct bpf_insn owners[2][7] = {
		{ READS_CONTEXT, AND_TAIL_CALLS },
		{ WRITES_CONTEXT, AND_TAIL_CALLS },
	};
	static const struct bpf_insn ends[2][3] = {
		{ READS_CONTEXT, RETURN(0) },
		{ WRITES_CONTEXT, RETURN(0) },
	};
	static const char *const names[2][2] = {
		{ "target_reads_context_as_caller", "target_writes_context_of_caller_that_reads" },
		{ "target_reads_context_of_caller_that_writes", "target_writes_context_as_caller" },
	};
	int targets[2], owner, err, i, j;

	for (i = 0; i < 2; i++)
		targets[i] = load_plain(KPROBE, ends[i], ARRAY_SIZE(ends[i]), 0);
	for (i = 0; i < 2; i++) {
		owner = load_plain(KPROBE, owners[i], ARRAY_SIZE(owners[i]), 0);
		for (j = 0; j < 2; j++) {
			err = map_set(map_fd(MAP_PROG_ARRAY), 0, &targets[j]);
			result(names[i][j],
			       owner >= 0 && targets[j] >= 0 && err == (i == j ? 0 : -EINVAL),
			       "owner %d, target %d: %d", owner, targets[j], err);
		}
		map_del(map_fd(MAP_PROG_ARRAY), 0);
		close(owner);
		maps_close();
	}
	close(targets[0]);
	close(targets[1]);
}

static void scenarios(void)
{
	tail_call_to_writer_of_context();
}

const struct insn_group tail_calls_group = {
	.name = "tail_calls",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
