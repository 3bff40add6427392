// SPDX-License-Identifier: GPL-2.0
#include "example.h"

/*
 * Roots are no callees and no callbacks; recursion, callbacks in shared code, LD_ABS, and as many
 * roots as there can be.
 */

#define LOADS_ABSOLUTE \
	SUB("s", MOV_REG(R6, R1), BPF_LD_ABS(BPF_B, 2), EXIT)

static void check_loop(const char *name)
{
	int a = -1, b = -1;

	test_run(loaded.fds[0], &a);
	test_run(loaded.fds[1], &b);
	view_get(loaded.fds[1], &view1);
	sub_result(name, "run", a == 10 && b == 10 && view1.info.nr_jited_ksyms == 3, "%d %d", a,
		   b);
}

/* The callback and the map belong to the second root alone. */
static void check_for_each(const char *name)
{
	int ret = -1;

	test_run(loaded.fds[1], &ret);
	view_get(loaded.fds[0], &view0);
	view_get(loaded.fds[1], &view1);
	sub_result(name, "run",
		   ret == 4 && view0.info.nr_jited_ksyms == 1 && view1.info.nr_jited_ksyms == 3 &&
		   view0.info.nr_map_ids == 0 && view1.info.nr_map_ids == 1,
		   "%d, images %u %u maps %u %u", ret, view0.info.nr_jited_ksyms,
		   view1.info.nr_jited_ksyms, view0.info.nr_map_ids, view1.info.nr_map_ids);
}

static void check_spill(const char *name)
{
	int ret = -1, spills = 0, i;

	test_run(loaded.fds[0], &ret);
	view_get(loaded.fds[0], &view0);
	for (i = view0.funcs[1].off; i < view0.nr_xlated; i++)
		spills += view0.xlated[i].code == (BPF_STX | BPF_MEM | BPF_DW);
	sub_result(name, "run", ret == 7 && !spills,
		   "%d, spills kept %d", ret, spills);
}

static void check_ld_abs(const char *name)
{
	char packet[64] = { [16] = 42 };
	int ret = -1;

	test_run_packet(loaded.fds[1], packet, sizeof(packet), &ret);
	sub_result(name, "run", ret == 42, "%d", ret);
}

#define ROOT_OF_16(nm, type, i) ROOT(nm, type, MOV_IMM(R1, i), CALL_FUNC(16), EXIT)

static void check_16_roots(const char *name)
{
	int ok = 1, images, ret, i;

	for (i = 0; i < 16; i++) {
		ret = -1;
		test_run(loaded.fds[i], &ret);
		ok &= ret == 100 + i;
	}
	images = kallsyms_count("_shared16");
	for (i = 0; i < 15; i++) {
		close(loaded.fds[i]);
		loaded.fds[i] = -1;
	}
	rcu_settle();
	ret = -1;
	test_run(loaded.fds[15], &ret);
	sub_result(name, "run", ok && images == 1 && ret == 115,
		   "all ran %d, %d image, last one alone %d", ok, images, ret);
}

static void check_log(const char *name)
{
	sub_result(name, "log", strstr(log_text, "Validating root#1 tp_root()"),
		   "second root in the log");
}

static const struct insn_test tests[] = {
	{
		.name = "root_calls_root", /* T45 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(1)),
			ROOT("kb", KPROBE, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "func#1 is a root and cannot be called",
	},
	{
		.name = "shared_function_calls_first_root", /* T45b */
		.funcs = {
			ROOT("ka", KPROBE, RETURN(0)),
			ROOT("kb", KPROBE, CALL_EXIT(2)),
			SUB("s", CALL_EXIT(0)),
		},
		.err = EINVAL,
		.msg = "func#0 is a root and cannot be called",
	},
	{
		.name = "root_as_callback", /* T46 */
		.funcs = {
			ROOT("ka", KPROBE,
			     MOV_IMM(R1, 1),
			     LD_FUNC(R2, 1),
			     MOV_IMM(R3, 0),
			     MOV_IMM(R4, 0),
			     HELPER(loop),
			     RETURN(0)),
			ROOT("kb", KPROBE, RETURN(0)),
		},
		.err = EINVAL,
		.msg = "func#1 is a root and cannot be called",
	},
	{
		.name = "recursion_in_shared_function", /* T47 */
		.funcs = {
			ROOT("ka", KPROBE, CALL_EXIT(2)),
			ROOT("xb", XDP, CALL_EXIT(2)),
			SUB("s", CALL_FUNC(2), EXIT),
		},
		.err = EINVAL,
		.msg = "recursive call from s() to s()",
	},
	{
		.name = "loop_in_shared_function", /* T47b */
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT("tb", TC, CALL_FUNC(2), EXIT),
			SUB("s",
			    BPF_ST_MEM(BPF_DW, R10, -8, 0),
			    MOV_IMM(R1, 5),
			    LD_FUNC(R2, 3),
			    STACK(R3, -8),
			    MOV_IMM(R4, 0),
			    HELPER(loop),
			    BPF_LDX_MEM(BPF_DW, R0, R10, -8),
			    EXIT),
			SUB("cb",
			    BPF_LDX_MEM(BPF_DW, R3, R2, 0),
			    BPF_ALU64_IMM(BPF_ADD, R3, 2),
			    BPF_STX_MEM(BPF_DW, R2, R3, 0),
			    RETURN(0)),
		},
		.check = check_loop,
	},
	{
		.name = "for_each_callback_of_second_root", /* T47c */
		.funcs = {
			ROOT("xa", XDP, RETURN(9)),
			ROOT("tb", TC, CALL_FUNC(2), EXIT),
			SUB("s",
			    LD_MAP(R1, MAP_ARRAY),
			    LD_FUNC(R2, 3),
			    MOV_IMM(R3, 0),
			    MOV_IMM(R4, 0),
			    HELPER(for_each_map_elem),
			    EXIT),
			SUB("cb", RETURN(0)),
		},
		.check = check_for_each,
	},
	{
		.name = "fastcall_spill_in_shared_function", /* T61 */
		.funcs = {
			ROOT("xa", XDP, CALL_FUNC(2), EXIT),
			ROOT("xb", XDP, CALL_FUNC(2), EXIT),
			SUB("s", FASTCALL_SPILL),
		},
		.check = check_spill,
	},
	{
		.name = "ld_abs_of_two_types", /* T62 */
		.funcs = {
			ROOT("fi", SOCKET_FILTER, CALL_FUNC(2), EXIT),
			ROOT("tc", TC, CALL_FUNC(2), EXIT),
			LOADS_ABSOLUTE,
		},
		.err = EINVAL,
		.msg = "same insn cannot be used with different contexts: LD_ABS",
	},
	{
		.name = "ld_abs_of_one_type", /* T62b */
		.funcs = {
			ROOT("fa", SOCKET_FILTER, CALL_FUNC(2), EXIT),
			ROOT("fb", SOCKET_FILTER, CALL_FUNC(2), EXIT),
			LOADS_ABSOLUTE,
		},
		.check = check_ld_abs,
	},
	{
		.name = "sixteen_roots", /* T63 */
		.funcs = {
			ROOT_OF_16("r0", XDP, 0),
			ROOT_OF_16("r1", TC, 1),
			ROOT_OF_16("r2", XDP, 2),
			ROOT_OF_16("r3", TC, 3),
			ROOT_OF_16("r4", XDP, 4),
			ROOT_OF_16("r5", TC, 5),
			ROOT_OF_16("r6", XDP, 6),
			ROOT_OF_16("r7", TC, 7),
			ROOT_OF_16("r8", XDP, 8),
			ROOT_OF_16("r9", TC, 9),
			ROOT_OF_16("r10", XDP, 10),
			ROOT_OF_16("r11", TC, 11),
			ROOT_OF_16("r12", XDP, 12),
			ROOT_OF_16("r13", TC, 13),
			ROOT_OF_16("r14", XDP, 14),
			ROOT_OF_16("r15", TC, 15),
			SUB("shared16", MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 100), EXIT),
		},
		.check = check_16_roots,
	},
	{
		.name = "all_states_kept", /* T59 */
		.funcs = {
			EXAMPLE_KPROBE(2),
			EXAMPLE_TRACEPOINT(2),
			EXAMPLE_SUB,
		},
		.prog_flags = BPF_F_TEST_STATE_FREQ,
		.msg = "Validating root#0 kp_root()",
		.check = check_log,
	},
};

const struct insn_group limits_group = {
	.name = "limits",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
