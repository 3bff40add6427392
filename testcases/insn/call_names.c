// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What a call may name: a function of a program by its BTF id, and the program by its place in
 * fd_array.
 */

#define CALLER(i, k) ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(i, k), EXIT)
#define CALLER_OF_ID(id) ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG_ID(0, id), EXIT)
#define LIBRARY \
	ROOT("lib", XDP, \
	     MOV_IMM(R1, 1), \
	     CALL_FUNC(2), \
	     MOV_IMM(R1, 1), \
	     CALL_FUNC(3), \
	     EXIT), \
	EXPORT("f", PROTO_INT, IDENTITY), \
	SUB_PROTO("hidden", PROTO_INT, IDENTITY), \
	GLOBAL("global", PROTO_INT, IDENTITY)
#define SMALL_LIBRARY XDP_MAIN, EXPORT("f", PROTO_INT, IDENTITY)

static void drop_fd_array(struct load *l, int value)
{
	l->attr.fd_array = 0;
}

static void move_fd_array(struct load *l, int value)
{
	l->attr.fd_array = value;
}

static void set_dst_reg(struct func *funcs)
{
	funcs[0].insns[1].dst_reg = R1;
}

static void pass_prog_without_btf(void)
{
	static const struct bpf_insn insns[] = { RETURN(0) };

	fd_array[0] = load_plain(XDP, insns, ARRAY_SIZE(insns), 0);
}

static void pass_map(void)
{
	fd_array[0] = map_fd(MAP_ARRAY);
}

static void pass_btf(void)
{
	static const struct func funcs[] = { SMALL_LIBRARY };

	fd_array[0] = btf_create(funcs, ARRAY_SIZE(funcs));
}

static void pass_closed(void)
{
	fd_array[0] = 900;
}

static void pass_minus_one(void)
{
	fd_array[0] = -1;
}

static void close_passed(void)
{
	close(fd_array[0]);
}

static const struct insn_test tests[] = {
	{
		.name = "call_of_entry", /* P30 */
		.funcs = { CALLER(0, 0) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "function lib() of prog lib, id ",
	},
	{
		.name = "call_of_entry_names_reason", /* P30b */
		.funcs = { CALLER(0, 0) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "cannot be called: it is the entry of the program",
	},
	{
		.name = "call_of_static", /* P31 */
		.funcs = { CALLER(0, 2) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "function hidden() of prog lib, id ",
	},
	{
		.name = "call_of_static_names_reason", /* P31b */
		.funcs = { CALLER(0, 2) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "cannot be called: it is static",
	},
	{
		.name = "call_of_global_not_exported", /* P32 */
		.funcs = { CALLER(0, 3) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "cannot be called: it is not exported",
	},
	{
		.name = "call_of_function_not_in_program", /* P33 */
		.funcs = { CALLER(0, 4) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "cannot be called: it is not part of the program",
	},
	{
		.name = "call_of_id_of_a_type", /* P34 */
		.funcs = { CALLER_OF_ID(1) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "function ?() of prog lib, id ",
	},
	{
		.name = "call_of_id_0", /* P34b */
		.funcs = { CALLER_OF_ID(0) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "it is not part of the program",
	},
	{
		.name = "call_of_id_minus_1", /* P34c */
		.funcs = { CALLER_OF_ID(-1) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "it is not part of the program",
	},
	{
		.name = "call_of_id_of_the_tag", /* P34d */
		.funcs = { CALLER_OF_ID(BTF_FUNC0 + 4) },
		.library = { LIBRARY },
		.err = EINVAL,
		.msg = "it is not part of the program",
	},
	{
		.name = "program_without_btf", /* P35 */
		.funcs = { CALLER(0, 4) },
		.err = EINVAL,
		.msg = "cannot be called: the program has no BTF",
		.setup = pass_prog_without_btf,
		.cleanup = close_passed,
	},
	{
		.name = "fd_of_map", /* P36 */
		.funcs = { CALLER(0, 1) },
		.err = EINVAL,
		.msg = "fd_array[0] is no program: fd ",
		.setup = pass_map,
	},
	{
		.name = "fd_of_btf", /* P36b */
		.funcs = { CALLER(0, 1) },
		.err = EINVAL,
		.msg = "fd_array[0] is no program: fd ",
		.setup = pass_btf,
		.cleanup = close_passed,
	},
	{
		.name = "fd_closed", /* P37 */
		.funcs = { CALLER(0, 1) },
		.err = EBADF,
		.msg = "fd_array[0] is no program: fd ",
		.setup = pass_closed,
	},
	{
		.name = "fd_minus_1", /* P37b */
		.funcs = { CALLER(0, 1) },
		.err = EBADF,
		.msg = "fd_array[0] is no program: fd -1",
		.setup = pass_minus_one,
	},
	{
		.name = "fd_index_minus_1", /* P38 */
		.funcs = { CALLER(-1, 1) },
		.library = { SMALL_LIBRARY },
		.err = EINVAL,
		.msg = "fd_array[-1] cannot be read",
	},
	{
		.name = "no_fd_array", /* P39 */
		.funcs = { CALLER(0, 1) },
		.library = { SMALL_LIBRARY },
		.err = EINVAL,
		.msg = "requires a sparse fd_array",
		.tweak = drop_fd_array,
	},
	{
		.name = "fd_array_fault", /* P39b */
		.funcs = { CALLER(0, 1) },
		.library = { SMALL_LIBRARY },
		.err = EFAULT,
		.msg = "fd_array[0] cannot be read",
		.tweak = move_fd_array,
		.value = 4096,
	},
	{
		.name = "call_with_dst_reg", /* P39c */
		.funcs = { CALLER(0, 1) },
		.library = { SMALL_LIBRARY },
		.err = EINVAL,
		.msg = "BPF_CALL uses reserved fields",
		.fill = set_dst_reg,
	},
	{
		.name = "second_in_fd_array", /* P40 */
		.funcs = { CALLER(1, 1) },
		.library = { SMALL_LIBRARY },
		.library2 = { SMALL_LIBRARY },
	},
};

const struct insn_group call_names_group = {
	.name = "call_names",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
