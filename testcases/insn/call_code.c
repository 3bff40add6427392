// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What a call becomes: a direct call of the image of the callee, whatever the JIT does to the
 * caller, and whichever functions of the callee's program vanish.
 */

#define FUNCTION_AND_MAIN(...) XDP_MAIN, EXPORT("f", PROTO_INT, __VA_ARGS__)
#define ADD_11111 MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 0x11111), EXIT
#define LIBRARY_WITH_DEAD_FUNCTION \
	ROOT("lib", XDP, \
	     MOV_IMM(R0, 2), \
	     BPF_JMP_IMM(BPF_JEQ, R0, 2, 1), \
	     CALL_FUNC(1), \
	     EXIT), \
	SUB("dead", RETURN(1)), \
	EXPORT("f", PROTO_INT, \
	       MOV_REG(R0, R1), \
	       BPF_ALU64_IMM(BPF_ADD, R0, 2), \
	       EXIT), \
	EXPORT("g", PROTO_INT, \
	       MOV_REG(R0, R1), \
	       BPF_ALU64_IMM(BPF_ADD, R0, 3), \
	       EXIT)

static int fdinfo_callee_id(int fd)
{
	char text[1024] = "", path[64], *word;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY);
	if (read(info, text, sizeof(text) - 1) < 0)
		perror(path);
	close(info);
	word = strstr(text, "callee_id:");
	return word ? atoi(word + strlen("callee_id:")) : -1;
}

static void check_link(const char *name)
{
	int seen = 0, id, i;

	view_get(loaded.fds[0], &view0);
	view_get(fd_array[0], &view1);
	sub_result(name, "direct_call", calls_of(&view0, view1.ksyms[1]), "no call of %llx",
		   view1.ksyms[1]);
	sub_result(name, "callee_ids",
		   view0.info.nr_callee_ids == 1 && view0.callees[0] == view1.info.id, "%d: %u",
		   view0.info.nr_callee_ids, view0.callees[0]);
	for (i = 0; i < view0.nr_xlated; i++)
		seen += view0.xlated[i].src_reg == BPF_PSEUDO_PROG_CALL && !view0.xlated[i].off;
	sub_result(name, "xlated", seen == 1, "%d calls", seen);
	sub_result(name, "not_a_function_of_the_caller", view0.info.nr_jited_ksyms == 1, "%d",
		   view0.info.nr_jited_ksyms);
	id = fdinfo_callee_id(loaded.fds[0]);
	sub_result(name, "fdinfo", id == (int)view1.info.id, "%d", id);
}

/* Loads that may fault are found by the image that they are in. */
static void check_fault(const char *name)
{
	__u64 v[16] = { 0 };
	int ret = test_run_context(loaded.fds[0], 0);

	counters_read(v);
	sub_result(name, "run", ret == 0 && v[0] == 3, "%d, counter %llu", ret, v[0]);
}

static void harden(void)
{
	write_string("/proc/sys/net/core/bpf_jit_harden", "2");
}

static void unharden(void)
{
	write_string("/proc/sys/net/core/bpf_jit_harden", "0");
}

static const struct insn_test tests[] = {
	{
		.name = "xdp_calls_function_of_int", /* P01 */
		.funcs = { ROOT("caller", XDP, MOV_IMM(R1, 41), CALL_PROG(0, 1), EXIT) },
		.library = {
			FUNCTION_AND_MAIN(MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT),
		},
		.runs = { RETURNS(42) },
		.check = check_link,
	},
	{
		.name = "call_with_blinded_constants", /* P113 */
		.funcs = { ROOT("c", XDP, MOV_IMM(R1, 0x12345), CALL_PROG(0, 1), EXIT) },
		.library = { FUNCTION_AND_MAIN(ADD_11111) },
		.setup = harden,
		.cleanup = unharden,
		.runs = { RETURNS(0x23456) },
	},
	{
		.name = "call_of_function_behind_dead_one", /* P115 */
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R1, 10),
			     CALL_PROG(0, 2),
			     MOV_REG(R1, R0),
			     CALL_PROG(0, 3),
			     EXIT),
		},
		.library = { LIBRARY_WITH_DEAD_FUNCTION },
		.runs = { RETURNS(15) },
	},
	{
		.name = "call_that_is_dead", /* P116 */
		.funcs = {
			ROOT("c", XDP,
			     MOV_IMM(R0, 4),
			     MOV_IMM(R1, 1),
			     BPF_JMP_IMM(BPF_JEQ, R1, 1, 1),
			     CALL_PROG(0, 2),
			     EXIT),
		},
		.library = { LIBRARY_WITH_DEAD_FUNCTION },
		.runs = { RETURNS(4) },
	},
	{
		.name = "callee_follows_null", /* P172 */
		.funcs = {
			ROOT("c", BPF_PROG_TYPE_RAW_TRACEPOINT,
			     CALL_PROG(0, 1),
			     LD_VALUE(R1, MAP_COUNTERS, 0),
			     BPF_ALU64_IMM(BPF_ADD, R0, 3),
			     BPF_STX_MEM(BPF_DW, R1, R0, 0),
			     RETURN(0)),
		},
		.library = {
			MAIN(BPF_PROG_TYPE_RAW_TRACEPOINT),
			EXPORT("f", PROTO_VOID,
			       HELPER(get_current_task_btf),
			       LDX_TASK(BPF_DW, R1, R0, TASK_PI_TOP_TASK),
			       MOV_IMM(R0, 7),
			       LDX_TASK(BPF_W, R0, R1, TASK_PID),
			       EXIT),
		},
		.check = check_fault,
	},
};

static void jit_off(void)
{
	static const struct func library[] = { FUNCTION_AND_MAIN(ADD_11111) };
	static const struct func caller[] = {
		ROOT("c", XDP, MOV_IMM(R1, 0x12345), CALL_PROG(0, 1), EXIT),
	};
	const char *name = "call_without_jit"; /* P111 */

	write_string("/proc/sys/net/core/bpf_jit_enable", "0");
	if (read_int("/proc/sys/net/core/bpf_jit_enable") == 0) {
		fd_array[0] = LOAD_PROG(library);
		REFUSE_PROG(name, caller, EOPNOTSUPP,
			    "calling functions of other programs requires JIT");
		write_string("/proc/sys/net/core/bpf_jit_enable", "1");
		REFUSE_PROG("callee_not_jited", caller, EINVAL, /* P112 */
			    "cannot be called: the program is not JITed");
		close(fd_array[0]);
	} else {
		skipped(name, "the JIT is always on in this kernel");
	}
}

const struct insn_group call_code_group = {
	.name = "call_code",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = jit_off,
};
