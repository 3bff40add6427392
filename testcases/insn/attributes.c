// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * The attributes of the system call: offsets, sizes, reserved bytes, fields given per root, types.
 * Every malformed load is refused before it has done anything, and leaves neither program nor FD.
 */

#define GROUP \
	ROOT("ka", KPROBE, CALL_EXIT(2)), \
	ROOT("xb", XDP, CALL_EXIT(2)), \
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0))

static void set_insn_off(struct load *l, int value)
{
	l->roots[1].insn_off = value;
}

static void set_first_insn_off(struct load *l, int value)
{
	l->roots[0].insn_off = value;
}

static void set_rec_size(struct load *l, int value)
{
	l->attr.root_rec_size = value;
}

static void set_cnt(struct load *l, int value)
{
	l->attr.root_cnt = value;
}

static void set_root_rsvd(struct load *l, int value)
{
	l->roots[1].rsvd[1] = value;
}

/* fd_array_cnt, and what a signature needs. */
static void set_word(union bpf_attr *attr, int off)
{
	memcpy((char *)attr + off, &(__u32){ 1 }, sizeof(__u32));
}

/* @value: which of the words from byte 148 on */
static void set_rsvd(struct load *l, int value)
{
	set_word(&l->attr, 148 + value * sizeof(__u32));
}

static void set_type(struct load *l, int value)
{
	l->attr.prog_type = value;
}

static void set_attach_type(struct load *l, int value)
{
	l->attr.expected_attach_type = value;
}

static void set_name(struct load *l, int value)
{
	l->attr.prog_name[0] = value;
}

static void set_ifindex(struct load *l, int value)
{
	l->attr.prog_ifindex = value;
}

static void set_flags(struct load *l, int value)
{
	l->attr.prog_flags = value;
}

static void set_root_flags(struct load *l, int value)
{
	l->roots[1].prog_flags = value;
}

static void set_root_btf_id(struct load *l, int value)
{
	l->roots[1].attach_btf_id = value;
}

static void set_root_type(struct load *l, int value)
{
	l->roots[1].prog_type = value;
	l->roots[1].expected_attach_type = 0;
}

static void drop_func_info(struct load *l, int value)
{
	l->attr.func_info_cnt = 0;
	l->attr.func_info = 0;
	l->attr.func_info_rec_size = 0;
}

static void set_roots(struct load *l, int value)
{
	l->attr.roots = value;
}

static void set_license(struct load *l, int value)
{
	l->attr.license = value;
}

static void set_insns(struct load *l, int value)
{
	l->attr.insns = value;
}

static void set_bad_root_name(struct load *l, int value)
{
	memcpy(l->roots[1].prog_name, "a b", 4);
}

/* Records of 64 bytes: 8 more than there are today. @value is one of them. */
static void set_big_records(struct load *l, int value)
{
	static char records[3 * 64];
	int i;

	memset(records, 0, sizeof(records));
	for (i = 0; i < l->nr_roots; i++)
		memcpy(records + 64 * i, &l->roots[i], ROOT_SIZE);
	records[64 + 60] = value;
	l->attr.roots = (long)records;
	l->attr.root_rec_size = 64;
}

static int progs_before, fds_before;

static void count_before(void)
{
	progs_before = count_progs();
	fds_before = count_fds();
}

static const struct insn_test tests[] = {
	{
		.name = "insn_off_in_a_function", /* T48 */
		.funcs = { GROUP },
		.err = EINVAL,
		.tweak = set_insn_off,
		.value = 1,
		.setup = count_before,
	},
	{
		.name = "insn_off_in_a_load_of_64_bits", /* T48b */
		.funcs = { GROUP },
		.err = EINVAL,
		.tweak = set_insn_off,
		.value = 7,
	},
	{
		.name = "insn_off_twice", /* T48c */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "root#1: insn_off 0 is not behind the one before",
		.tweak = set_insn_off,
	},
	{
		.name = "insn_off_behind_the_end", /* T48d */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "root#1: insn_off 99 is out of range",
		.tweak = set_insn_off,
		.value = 99,
	},
	{
		.name = "insn_off_of_first_root", /* T48e */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "root#0: insn_off 1 is not 0",
		.tweak = set_first_insn_off,
		.value = 1,
	},
	{
		.name = "insn_off_of_shared_function", /* T48f */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "is a root and cannot be called",
		.tweak = set_insn_off,
		.value = 6,
	},
	{
		.name = "root_cnt_17", /* T49 */
		.funcs = { GROUP },
		.err = E2BIG,
		.msg = "too many roots: 17, the limit is 16",
		.tweak = set_cnt,
		.value = 17,
	},
	{
		.name = "root_cnt_huge", /* T49a */
		.funcs = { GROUP },
		.err = E2BIG,
		.msg = "too many roots",
		.tweak = set_cnt,
		.value = -1,
	},
	{
		.name = "root_rec_size_4", /* T49b */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "invalid root_rec_size 4",
		.tweak = set_rec_size,
		.value = 4,
	},
	{
		.name = "root_rec_size_253", /* T49c */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "invalid root_rec_size 253",
		.tweak = set_rec_size,
		.value = 253,
	},
	{
		.name = "root_rec_size_0", /* T49d */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "invalid root_rec_size 0",
		.tweak = set_rec_size,
	},
	{
		.name = "root_rec_size_64", /* T49e */
		.funcs = { GROUP },
		.err = E2BIG,
		.tweak = set_big_records,
		.value = 1,
	},
	{
		.name = "reserved_field_of_root", /* T49g */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "root#1: reserved fields are used",
		.tweak = set_root_rsvd,
		.value = 1,
	},
	{
		.name = "reserved_byte_148", /* T49h */
		.funcs = { GROUP },
		.err = EINVAL,
		.tweak = set_rsvd,
	},
	{
		.name = "signature_of_load",
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "signature is not supported in a multi-root load",
		.tweak = set_rsvd,
		.value = 1,
	},
	{
		.name = "signature_size_of_load",
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "signature is not supported in a multi-root load",
		.tweak = set_rsvd,
		.value = 3,
	},
	{
		.name = "keyring_of_load", /* T49i */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "signature is not supported in a multi-root load",
		.tweak = set_rsvd,
		.value = 4,
	},
	{
		.name = "prog_type_of_load", /* T49j */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "are given per root",
		.tweak = set_type,
		.value = XDP,
	},
	{
		.name = "attach_type_of_load", /* T49k */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "are given per root",
		.tweak = set_attach_type,
		.value = 2,
	},
	{
		.name = "name_of_load", /* T49l */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "are given per root",
		.tweak = set_name,
		.value = 'x',
	},
	{
		.name = "ifindex_of_load", /* T49m */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "device bound program is not supported in a multi-root load",
		.tweak = set_ifindex,
		.value = 1,
	},
	{
		.name = "dev_bound_only", /* T49n */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "device bound program is not supported",
		.tweak = set_flags,
		.value = BPF_F_XDP_DEV_BOUND_ONLY,
	},
	{
		.name = "sleepable_load", /* T49o */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "invalid prog_flags",
		.tweak = set_flags,
		.value = BPF_F_SLEEPABLE,
	},
	{
		.name = "strict_alignment_of_root", /* T49p */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "root#1: invalid prog_flags",
		.tweak = set_root_flags,
		.value = BPF_F_STRICT_ALIGNMENT,
	},
	{
		.name = "attach_btf_id_of_root", /* T49q */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "reserved fields",
		.tweak = set_root_btf_id,
		.value = 5,
	},
	{
		.name = "no_func_info", /* T49r */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "multi-root load requires BTF func_info",
		.tweak = drop_func_info,
	},
	{
		.name = "roots_null", /* T49s */
		.funcs = { GROUP },
		.err = EFAULT,
		.tweak = set_roots,
	},
	{
		.name = "license_fault", /* T49t */
		.funcs = { GROUP },
		.err = EFAULT,
		.tweak = set_license,
		.value = 1,
	},
	{
		.name = "insns_fault", /* T49u */
		.funcs = { GROUP },
		.err = EFAULT,
		.tweak = set_insns,
		.value = 4096,
	},
	{
		.name = "name_of_root_with_a_space", /* T49v */
		.funcs = { GROUP },
		.err = EINVAL,
		.tweak = set_bad_root_name,
	},
	{
		.name = "sleepable_xdp", /* T49w */
		.funcs = { GROUP },
		.err = EINVAL,
		.msg = "Program of this type cannot be sleepable",
		.tweak = set_root_flags,
		.value = BPF_F_SLEEPABLE,
	},
	{
		.name = "root_type_unknown", /* T50z */
		.funcs = { GROUP },
		.err = EINVAL,
		.tweak = set_root_type,
		.value = 77,
	},
	{
		.name = "root_type_0", /* T50y */
		.funcs = { GROUP },
		.err = EINVAL,
		.tweak = set_root_type,
	},
};

/* Records of 64 bytes, of which the last are 0: as new programs have them on old kernels. */
static void big_records(void)
{
	const struct bpf_prog_root *first, *second;

	load_prepare(&loaded, tests[0].funcs, 3);
	set_big_records(&loaded, 0);
	first = (void *)(long)loaded.attr.roots;
	second = (void *)first + 64;
	load_do(&loaded);
	result("root_rec_size_64_zeroes", /* T49f */
	       !loaded.err && first->fd > 0 && second->fd > first->fd, "errno %d FDs %d %d",
	       loaded.err, first->fd, second->fd);
	if (!loaded.err) {
		close(first->fd);
		close(second->fd);
	}
}

/* New fields in a load without roots. */
static void ordinary_load(void)
{
	struct bpf_insn insns[] = { RETURN(0) };
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = XDP;
	attr.insns = (long)insns;
	attr.insn_cnt = ARRAY_SIZE(insns);
	attr.license = (long)"GPL";
	attr.root_rec_size = ROOT_SIZE;
	fd = bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	result("root_rec_size_without_roots", fd < 0 && errno == EINVAL, "%d", fd); /* T49x */
	attr.root_rec_size = 0;
	fd = bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	view_get(fd, &view0);
	result("ordinary_load", fd > 0 && view0.info.group_id == 0, /* T49y */
	       "FD %d group_id %u", fd, view0.info.group_id);
	close(fd);
	set_word(&attr, 148);
	fd = bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	result("ordinary_load_with_reserved_field", fd < 0 && errno == EINVAL, "%d", fd); /* T49z */
}

/* Types that cannot take part. */
static void other_types(void)
{
	static const struct {
		const char *name;
		int type;
		int attach_type;
	} types[] = {
		/* T50 */
		{ "root_type_ext", BPF_PROG_TYPE_EXT },
		{ "root_type_struct_ops", BPF_PROG_TYPE_STRUCT_OPS },
		{ "root_type_syscall", BPF_PROG_TYPE_SYSCALL },
		{ "root_type_tracing", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY },
		{ "root_type_lsm", BPF_PROG_TYPE_LSM, BPF_LSM_MAC },
		{ "root_type_raw_tracepoint_writable", BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE },
		{ "root_type_sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP },
		{ "root_type_lwt_in", BPF_PROG_TYPE_LWT_IN },
		{ "root_type_cgroup_sockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT,
		  BPF_CGROUP_GETSOCKOPT },
	};
	char msg[100];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		load_prepare(&loaded, tests[0].funcs, 3);
		loaded.roots[1].prog_type = types[i].type;
		loaded.roots[1].expected_attach_type = types[i].attach_type;
		load_do(&loaded);
		snprintf(msg, sizeof(msg),
			 "root#1: program type %d is not supported in a multi-root load",
			 types[i].type);
		if (loaded.err == EINVAL && !log_text[0])
			skipped(types[i].name, "no such program type in this kernel");
		else
			expect_load(types[i].name, loaded.err, EOPNOTSUPP, msg);
		close_all(&loaded);
	}
}

static void count_after(void)
{
	int progs, fds;

	rcu_settle();
	progs = count_progs();
	fds = count_fds();
	result("malformed_loads_leave_nothing", /* T52 baseline */
	       progs == progs_before && fds == fds_before, "programs %d->%d FDs %d->%d",
	       progs_before, progs, fds_before, fds);
}

/*
 * A SYSCALL program passes the value of a frozen, read-only map as roots: FDs written there would
 * change what the verifier took for a constant.
 */
static void roots_in_a_frozen_map(void)
{
	enum { AT_LICENSE = 512, AT_FUNC_INFO = 640, AT_INSNS = 1024 };
	struct bpf_prog_root record = { .prog_type = SOCKET_FILTER, .prog_name = "r" }, after;
	const struct func funcs[] = { ROOT("r", SOCKET_FILTER, RETURN(0)) };
	struct func_info_record info = { 0, BTF_FUNC0 };
	static unsigned char data[4096];
	union bpf_attr *inner = (void *)data, attr;
	int values = map_create(BPF_MAP_TYPE_ARRAY, 4, sizeof(data), 1, 0);
	int frozen = map_create(BPF_MAP_TYPE_ARRAY, 4, sizeof(record), 1, BPF_F_RDONLY_PROG);
	int btf = btf_create(funcs, 1), prog, err;
	const struct bpf_insn insns[] = {
		LD_VALUE(R6, values, 0),
		LD_VALUE(R7, frozen, 0),
		MOV_REG(R1, R6),
		BPF_ALU64_IMM(BPF_ADD, R1, AT_INSNS),
		BPF_STX_MEM(BPF_DW, R6, R1, offsetof(union bpf_attr, insns)),
		MOV_REG(R1, R6),
		BPF_ALU64_IMM(BPF_ADD, R1, AT_LICENSE),
		BPF_STX_MEM(BPF_DW, R6, R1, offsetof(union bpf_attr, license)),
		MOV_REG(R1, R6),
		BPF_ALU64_IMM(BPF_ADD, R1, AT_FUNC_INFO),
		BPF_STX_MEM(BPF_DW, R6, R1, offsetof(union bpf_attr, func_info)),
		BPF_STX_MEM(BPF_DW, R6, R7, offsetof(union bpf_attr, roots)),
		MOV_IMM(R1, BPF_PROG_LOAD),
		MOV_REG(R2, R6),
		MOV_IMM(R3, sizeof(union bpf_attr)),
		HELPER(sys_bpf),
		EXIT,
	};

	map_set(frozen, 0, &record);
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = frozen;
	err = bpf(BPF_MAP_FREEZE, &attr, sizeof(attr));
	memcpy(data + AT_INSNS, funcs[0].insns, 2 * sizeof(funcs[0].insns[0]));
	memcpy(data + AT_LICENSE, "GPL", 4);
	memcpy(data + AT_FUNC_INFO, &info, sizeof(info));
	inner->insn_cnt = 2;
	inner->prog_btf_fd = btf;
	inner->func_info_cnt = 1;
	inner->func_info_rec_size = sizeof(info);
	inner->root_cnt = 1;
	inner->root_rec_size = sizeof(record);
	map_set(values, 0, data);
	prog = load_plain(BPF_PROG_TYPE_SYSCALL, insns, ARRAY_SIZE(insns), BPF_F_SLEEPABLE);
	result("sys_bpf_prepared", !err && prog >= 0, /* A2 prepared */
	       "freeze %d, load %d %s", err, prog, log_tail());
	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = prog;
	err = bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	map_get(frozen, 0, &after);
	result("sys_bpf_with_roots", /* A2 sys_bpf with roots */
	       !err && (int)attr.test.retval == -EOPNOTSUPP && !after.fd,
	       "run %d, sys_bpf returned %d, FD in the frozen map %d", err,
	       (int)attr.test.retval, after.fd);
	close(prog);
	close(btf);
	close(frozen);
	close(values);
}

static void scenarios(void)
{
	big_records();
	ordinary_load();
	other_types();
	count_after();
	roots_in_a_frozen_map();
}

const struct insn_group attributes_group = {
	.name = "attributes",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
