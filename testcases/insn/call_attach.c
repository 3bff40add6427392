// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Where a program may be attached depends on what its functions do, in whatever program they are:
 * what was found out about the callee's program holds for the caller.
 */

#define CALLER(type) ROOT("c", type, MOV_IMM(R1, 5), CALL_PROG(0, 1), RETURN(0))
#define FUNCTION EXPORT("f", PROTO_INT, IDENTITY)

static void check_tracepoint(const char *name, bool attaches)
{
	int event = attach_tracepoint(loaded.fds[0], "sched/sched_switch");

	sub_result(name, "attach", attaches ? event >= 0 : event == -EACCES, "%d", event);
	if (event >= 0)
		close(event);
}

static void check_attaches(const char *name)
{
	check_tracepoint(name, true);
}

static void check_does_not_attach(const char *name)
{
	check_tracepoint(name, false);
}

static const struct insn_test tests[] = {
	{
		.name = "caller_of_tracepoint", /* P91 */
		.funcs = { CALLER(TRACEPOINT) },
		.library = { MAIN(TRACEPOINT), FUNCTION },
		.check = check_attaches,
	},
	{
		.name = "library_reads_far_into_its_record", /* P91b */
		.funcs = { CALLER(TRACEPOINT) },
		.library = {
			ROOT("lib", TRACEPOINT, BPF_LDX_MEM(BPF_DW, R2, R1, 160), RETURN(0)),
			FUNCTION,
		},
		.check = check_does_not_attach,
	},
};

/* What overrides the return value is for functions that allow it. */
static void test_override_return(void)
{
	static const struct func library[] = {
		ROOT("lib", KPROBE, MOV_IMM(R2, 0), HELPER(override_return), RETURN(0)),
		FUNCTION,
	};
	static const struct func caller[] = { CALLER(KPROBE) };
	const char *name = "library_overrides_return"; /* P93 */
	int fd, event;

	fd_array[0] = LOAD_PROG(library);
	if (fd_array[0] < 0) {
		skipped(name, "no override_return in this kernel");
		return;
	}
	fd = ACCEPT_PROG(name, caller);
	event = attach_kprobe(fd, "__set_task_comm");
	sub_result(name, "attach", event == -EINVAL, "%d", event);
	if (event >= 0)
		close(event);
	close(fd);
	close(fd_array[0]);
}

const struct insn_group call_attach_group = {
	.name = "call_attach",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = test_override_return,
};
