// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * The attributes of the system call: offsets, sizes, reserved bytes, fields given per root, types.
 * Every malformed load is refused before it has done anything, and leaves neither program nor FD.
 */

static int tweak_value, tweak_attach_type;
static void tweak_off(struct load *l)
{
	l->roots[1].insn_off = tweak_value;
}
static void tweak_off0(struct load *l)
{
	l->roots[0].insn_off = 1;
}
static void tweak_recsz(struct load *l)
{
	l->attr.root_rec_size = tweak_value;
}
static void tweak_cnt(struct load *l)
{
	l->attr.root_cnt = tweak_value;
}
static void tweak_rsvd(struct load *l)
{
	l->roots[1].rsvd[1] = 1;
}
static void tweak_byte148(struct load *l)
{
	l->attr.prog_load_rsvd[tweak_value] = 1;
}
static void tweak_type(struct load *l)
{
	l->attr.prog_type = XDP;
}
static void tweak_ea(struct load *l)
{
	l->attr.expected_attach_type = 2;
}
static void tweak_name(struct load *l)
{
	strcpy(l->attr.prog_name, "x");
}
static void tweak_ifi(struct load *l)
{
	l->attr.prog_ifindex = 1;
}
static void tweak_flags(struct load *l)
{
	l->attr.prog_flags = tweak_value;
}
static void tweak_rflags(struct load *l)
{
	l->roots[1].prog_flags = tweak_value;
}
static void tweak_btfid(struct load *l)
{
	l->roots[1].attach_btf_id = 5;
}
static void tweak_ptype(struct load *l)
{
	l->roots[1].prog_type = tweak_value;
	l->roots[1].expected_attach_type = tweak_attach_type;
}
static void tweak_nofi(struct load *l)
{
	l->attr.func_info_cnt = 0;
	l->attr.func_info = 0;
	l->attr.func_info_rec_size = 0;
}
static void tweak_null(struct load *l)
{
	l->attr.roots = 0;
}
static void tweak_license(struct load *l)
{
	l->attr.license = 1;
}
static void tweak_insns(struct load *l)
{
	l->attr.insns = 4096;
}
static void tweak_namebad(struct load *l)
{
	strcpy(l->roots[1].prog_name, "a b");
}
static void tweak_big(struct load *l)
{
	static char b[3 * 64];
	memset(b, 0, sizeof(b));
	for (int i = 0; i < l->nroots; i++)
		memcpy(b + 64 * i, &l->roots[i], 56);
	l->attr.roots = (long)b;
	l->attr.root_rec_size = 64;
	b[60 + 64] = tweak_value;
}
#define TWEAKED(name, fn_, a_, err, msg)   \
	do {                               \
		tweak_value = a_;          \
		tweak = fn_;               \
		REFUSE(name, f, err, msg); \
	} while (0)
void attributes_cases(void)
{
	struct func f[] = { ROOT("ka", KPROBE, CALL_EXIT(2)), ROOT("xb", XDP, CALL_EXIT(2)),
			    SUB("s", LD_VALUE(R1, counter_map, 0), MOV_IMM(R0, 0), EXIT) };
	int progs_before = count_progs(), fds_before = count_fds();
	TWEAKED("T48 insn_off mid function", tweak_off, 1, EINVAL, NULL);
	TWEAKED("T48b insn_off mid ldimm64", tweak_off, 7, EINVAL, NULL);
	TWEAKED("T48c duplicate", tweak_off, 0, EINVAL, "root#1: insn_off 0 is not behind the one before");
	TWEAKED("T48d beyond", tweak_off, 99, EINVAL, "root#1: insn_off 99 is out of range");
	TWEAKED("T48e roots[0] not 0", tweak_off0, 0, EINVAL, "root#0: insn_off 1 is not 0");
	TWEAKED("T48f root is the called subprog", tweak_off, 6, EINVAL, "is a root and cannot be called");
	TWEAKED("T49 17 roots", tweak_cnt, 17, E2BIG, "too many roots: 17, the limit is 16");
	TWEAKED("T49a huge root_cnt", tweak_cnt, -1, E2BIG, "too many roots");
	TWEAKED("T49b rec_size 4", tweak_recsz, 4, EINVAL, "invalid root_rec_size 4");
	TWEAKED("T49c rec_size 253", tweak_recsz, 253, EINVAL, "invalid root_rec_size 253");
	TWEAKED("T49d rec_size 0", tweak_recsz, 0, EINVAL, "invalid root_rec_size 0");
	TWEAKED("T49e rec tail nonzero", tweak_big, 1, E2BIG, NULL);
	tweak_value = 0;
	tweak = tweak_big;
	{
		load_prepare(&loaded, f, 3);
		tweak_big(&loaded);
		struct bpf_prog_root *q = (void *)(long)loaded.attr.roots;
		tweak = NULL;
		load_do(&loaded);
		int a = q->fd, b = ((struct bpf_prog_root *)((char *)q + 64))->fd;
		result("T49f rec_size 64 zero tail", !loaded.err && a > 0 && b > a, "err %d fds %d %d",
		       loaded.err, a, b);
		if (!loaded.err) {
			close(a);
			close(b);
		}
	}
	TWEAKED("T49g rsvd", tweak_rsvd, 0, EINVAL, "root#1: reserved fields are used");
	TWEAKED("T49h byte 148", tweak_byte148, 0, EINVAL, NULL);
	TWEAKED("T49i byte 164", tweak_byte148, 4, EINVAL, NULL);
	TWEAKED("T49j attr.prog_type", tweak_type, 0, EINVAL, "are given per root");
	TWEAKED("T49k attr.eatype", tweak_ea, 0, EINVAL, "are given per root");
	TWEAKED("T49l attr.name", tweak_name, 0, EINVAL, "are given per root");
	TWEAKED("T49m ifindex", tweak_ifi, 0, EINVAL,
		"device bound program is not supported in a multi-root load");
	TWEAKED("T49n dev bound flag", tweak_flags, BPF_F_XDP_DEV_BOUND_ONLY, EINVAL,
		"device bound program is not supported");
	TWEAKED("T49o SLEEPABLE in attr", tweak_flags, BPF_F_SLEEPABLE, EINVAL, "invalid prog_flags");
	TWEAKED("T49p root flags", tweak_rflags, BPF_F_STRICT_ALIGNMENT, EINVAL,
		"root#1: invalid prog_flags");
	TWEAKED("T49q attach_btf_id", tweak_btfid, 0, EINVAL, "reserved fields");
	TWEAKED("T49r no func_info", tweak_nofi, 0, EINVAL, "multi-root load requires BTF func_info");
	TWEAKED("T49s roots NULL", tweak_null, 0, EFAULT, NULL);
	TWEAKED("T49t license EFAULT", tweak_license, 0, EFAULT, NULL);
	TWEAKED("T49u insns EFAULT", tweak_insns, 0, EFAULT, NULL);
	TWEAKED("T49v bad name", tweak_namebad, 0, EINVAL, NULL);
	TWEAKED("T49w XDP sleepable", tweak_rflags, BPF_F_SLEEPABLE, EINVAL, "programs can be sleepable");
	{
		union bpf_attr a;
		struct bpf_insn i[] = { MOV_IMM(R0, 0), EXIT };
		memset(&a, 0, sizeof(a));
		a.prog_type = XDP;
		a.insns = (long)i;
		a.insn_cnt = 2;
		a.license = (long)"GPL";
		a.root_rec_size = 56;
		int r = bpf(BPF_PROG_LOAD, &a, sizeof(a));
		result("T49x rec_size without roots", r < 0 && errno == EINVAL, "%d", r);
		a.root_rec_size = 0;
		r = bpf(BPF_PROG_LOAD, &a, sizeof(a));
		view_get(r, &view0);
		result("T49y ordinary load", r > 0 && view0.i.group_id == 0, "fd %d group_id %u", r,
		       view0.i.group_id);
		close(r);
		a.prog_load_rsvd[0] = 1;
		r = bpf(BPF_PROG_LOAD, &a, sizeof(a));
		result("T49z rsvd in ordinary load", r < 0 && errno == EINVAL, "%d", r);
	}
	{
		int t[][2] = { { BPF_PROG_TYPE_EXT, 0 },
			       { BPF_PROG_TYPE_STRUCT_OPS, 0 },
			       { BPF_PROG_TYPE_SYSCALL, 0 },
			       { BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY },
			       { BPF_PROG_TYPE_LSM, BPF_LSM_MAC },
			       { BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0 },
			       { BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP },
			       { BPF_PROG_TYPE_LWT_IN, 0 },
			       { BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_GETSOCKOPT } };
		for (unsigned i = 0; i < 9; i++) {
			char nm[64];
			sprintf(nm, "T50 type %d", t[i][0]);
			tweak_value = t[i][0];
			tweak_attach_type = t[i][1];
			tweak = tweak_ptype;
			load_prepare(&loaded, f, 3);
			tweak = NULL;
			tweak_ptype(&loaded);
			load_do(&loaded);
			char m[100];
			sprintf(m, "root#1: program type %d is not supported in a multi-root load", t[i][0]);
			if (loaded.err == EINVAL && !log_text[0])
				skip(nm, "no such program type in this kernel");
			else
				result(nm, loaded.err == EOPNOTSUPP && strstr(log_text, m),
				       "errno %d, \"%s\"", loaded.err, tail_of(log_text));
			close_all(&loaded);
		}
	}
	tweak_attach_type = 0;
	TWEAKED("T50z unknown type", tweak_ptype, 77, EINVAL, NULL);
	TWEAKED("T50y type 0", tweak_ptype, 0, EINVAL, NULL);
	rcu_settle();
	int progs_after = count_progs(), fds_after = count_fds();

	result("T52 baseline", progs_before == progs_after && fds_before == fds_after,
	       "progs %d->%d fds %d->%d", progs_before, progs_after, fds_before, fds_after);
}
