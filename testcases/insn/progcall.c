// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

/*
 * Functions of programs that are already loaded: what is called, with which arguments, by whom.
 */

#define PLUS_ONE MOV_REG(R0, R1), BPF_ALU64_IMM(BPF_ADD, R0, 1), EXIT
#define XDP_MAIN ROOT("lib", XDP, MOV_IMM(R0, 2), EXIT)

/* does the image of a program have a direct call of this address? */
static bool calls_address(struct prog_view *p, uint64_t target)
{
	unsigned at = 0;

	for (unsigned f = 0; f < p->i.nr_jited_func_lens; at += p->lens[f++])
		for (unsigned i = 0; i + 5 <= p->lens[f]; i++) {
			int32_t rel;

			memcpy(&rel, p->jit + at + i + 1, sizeof(rel));
			if (p->jit[at + i] == 0xe8 && p->ksyms[f] + i + 5 + rel == target)
				return true;
		}
	return false;
}

static void linked(int lib)
{
	struct func f[] = { ROOT("caller", XDP, MOV_IMM(R1, 41), CALL_PROG(0, 1), EXIT) };
	int fd = CALL_ACCEPT("P01 XDP calls int f(int)", f), ret = -1, id = -1, seen = 0;
	char text[1024] = "", path[64], *word;

	test_run(fd, &ret);
	result("P01/run", ret == 42, "%d", ret);
	view_get(fd, &view0);
	view_get(lib, &view1);
	result("P01/direct call", calls_address(&view0, view1.ksyms[1]), "no call of %llx",
	       (long long)view1.ksyms[1]);
	result("P01/callee_ids", view0.i.nr_callee_ids == 1 && view0.callees[0] == view1.i.id, "%d: %u",
	       view0.i.nr_callee_ids, view0.callees[0]);
	for (int i = 0; i < view0.nx; i++)
		seen += view0.xl[i].src_reg == BPF_PSEUDO_PROG_CALL && view0.xl[i].off == 0;
	result("P01/xlated", seen == 1, "%d calls", seen);
	result("P01/not a function of the caller", view0.i.nr_jited_ksyms == 1, "%d", view0.i.nr_jited_ksyms);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	int info = open(path, O_RDONLY);
	if (read(info, text, sizeof(text) - 1) < 0) {
	}
	close(info);
	word = strstr(text, "callee_id:");
	if (word)
		id = atoi(word + 10);
	result("P01/fdinfo", id == (int)view1.i.id, "%d", id);
	close(fd);
}

static void arguments(void)
{
	struct func l[] = { XDP_MAIN, EXPORT("mem", PROTO_MEM, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
					     BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT),
			    EXPORT("ctx", PROTO_XDP, BPF_LDX_MEM(BPF_W, R2, R1, 0), BPF_LDX_MEM(BPF_W, R0, R1, 4),
				   BPF_ALU64_REG(BPF_SUB, R0, R2), EXIT),
			    EXPORT("num", PROTO_INT, PLUS_ONE), EXPORT("none", PROTO_VOID, MOV_IMM(R0, 9), EXIT) };

	fd_array[0] = LIBRARY(l);
	{
		struct func f[] = { ROOT("c", XDP, BPF_ST_MEM(BPF_W, R10, -4, 77), MOV_REG(R1, R10),
					 BPF_ALU64_IMM(BPF_ADD, R1, -4), CALL_PROG(0, 1), EXIT) };
		CALL_RUNS("P02 memory", f, 77);
	}
	{
		struct func f[] = { ROOT("c", XDP, CALL_PROG(0, 2), EXIT) };
		CALL_RUNS("P03 context", f, 64);
	}
	{
		struct func f[] = { ROOT("c", XDP, CALL_PROG(0, 4), EXIT) };
		CALL_RUNS("P04 no argument", f, 9);
	}
	struct func null[] = { ROOT("c", XDP, MOV_IMM(R1, 0), CALL_PROG(0, 1), EXIT) },
		    scalar[] = { ROOT("c", XDP, MOV_IMM(R1, 4096), CALL_PROG(0, 1), EXIT) },
		    small[] = { ROOT("c", XDP, BPF_ST_MEM(BPF_H, R10, -2, 0), MOV_REG(R1, R10),
				     BPF_ALU64_IMM(BPF_ADD, R1, -2), CALL_PROG(0, 1), EXIT) },
		    ctx_as_mem[] = { ROOT("c", XDP, CALL_PROG(0, 1), EXIT) },
		    stack_as_ctx[] = { ROOT("c", XDP, MOV_REG(R1, R10), BPF_ALU64_IMM(BPF_ADD, R1, -8),
					    CALL_PROG(0, 2), EXIT) },
		    moved_ctx[] = { ROOT("c", XDP, BPF_ALU64_IMM(BPF_ADD, R1, 8), CALL_PROG(0, 2), EXIT) },
		    pointer_as_num[] = { ROOT("c", XDP, MOV_REG(R1, R10), CALL_PROG(0, 3), EXIT) },
		    unset[] = { ROOT("c", XDP, HELPER(ktime_get_ns), CALL_PROG(0, 3), EXIT) };
	close(CALL_ACCEPT("P05 NULL for memory that may be NULL", null));
	CALL_REFUSE("P06 number for memory", scalar, EINVAL, "R1 type=scalar expected=");
	CALL_REFUSE("P06 names function and program", scalar, EINVAL,
		    "Caller passes invalid args into mem() of prog lib, id ");
	CALL_REFUSE("P07 memory too small", small, EINVAL, "Caller passes invalid args into mem()");
	CALL_REFUSE("P08 ctx for memory", ctx_as_mem, EINVAL, "Caller passes invalid args into mem()");
	CALL_REFUSE("P09 stack for ctx", stack_as_ctx, EINVAL, "arg#0 expects pointer to ctx");
	CALL_REFUSE("P10 ctx that was moved", moved_ctx, EACCES, "dereference of modified ctx ptr");
	CALL_REFUSE("P11 pointer for number", pointer_as_num, EINVAL, "R1 is not a scalar");
	CALL_REFUSE("P12 nothing for number", unset, EACCES, "R1 !read_ok");
	/* which way the call was reached by must not be forgotten: the second state looks the same otherwise */
	struct func join[] = { ROOT("c", XDP, MOV_REG(R6, R1), HELPER(get_prandom_u32), MOV_REG(R1, R6),
				    BPF_JMP_IMM(BPF_JEQ, R0, 7, 1), BPF_JMP_A(1), MOV_IMM(R1, 4096), CALL_PROG(0, 2),
				    EXIT) };
	CALL_REFUSE("P13 join before the call", join, EINVAL, "arg#0 expects pointer to ctx");
	opt_prog_flags = BPF_F_TEST_STATE_FREQ;
	CALL_REFUSE("P13b join, all states kept", join, EINVAL, "arg#0 expects pointer to ctx");
	opt_prog_flags = 0;
	struct func same[] = { ROOT("c", XDP, MOV_REG(R6, R1), HELPER(get_prandom_u32), MOV_REG(R1, R6),
				    BPF_JMP_IMM(BPF_JEQ, R0, 7, 1), BPF_JMP_A(1), MOV_IMM(R1, 4096), CALL_FUNC(1), EXIT),
			       GLOBAL("ctx", PROTO_XDP, BPF_LDX_MEM(BPF_W, R0, R1, 0), MOV_IMM(R0, 0), EXIT) };
	CALL_REFUSE("P13c join, function of the same program", same, EINVAL, "arg#0 expects pointer to ctx");
	opt_prog_flags = BPF_F_TEST_STATE_FREQ;
	CALL_REFUSE("P13d join, function of the same program", same, EINVAL, "arg#0 expects pointer to ctx");
	opt_prog_flags = 0;
	struct func clobbered[] = { ROOT("c", XDP, MOV_IMM(R1, 1), MOV_IMM(R2, 2), CALL_PROG(0, 3), MOV_REG(R0, R2),
					 EXIT) },
		    locked[] = { ROOTE("c", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, MOV_IMM(R1, 0), CALL_PROG(0, 1),
				       EXIT) };
	CALL_REFUSE("P14 R2 after the call", clobbered, EACCES, "R2 !read_ok");
	close(fd_array[0]);
	l[1].arg_tag = "arg:nonnull";
	fd_array[0] = LIBRARY(l);
	CALL_REFUSE("P16 NULL for memory that is there", null, EINVAL, "Caller passes invalid args into mem()");
	close(fd_array[0]);
	l[1].arg_tag = "arg:arena";
	l[1].insns[1] = l[1].insns[2] = (struct bpf_insn)MOV_IMM(R0, 0);
	fd_array[0] = LIBRARY(l);
	CALL_REFUSE("P17 pointer to an arena", null, EINVAL, "it has a pointer to an arena as argument");
	close(fd_array[0]);
	struct func g[] = { ROOTE("lib", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, MOV_IMM(R0, 1), EXIT),
			    EXPORT("one", PROTO_INT, MOV_IMM(R0, 1), EXIT) };
	fd_array[0] = LIBRARY(g);
	CALL_REFUSE("P15 result is any number", locked, EINVAL, "At program exit the register R0 has unknown scalar");
	close(fd_array[0]);
}

/* the attach target is part of what a function was verified for */
static void tracing(void)
{
	struct func l[] = { ROOTE("lib", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 0, MOV_IMM(R0, 0), EXIT),
			    EXPORT("f", PROTO_INT, PLUS_ONE) };
	struct func c[] = { ROOTE("c", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 0, MOV_IMM(R1, 5), CALL_PROG(0, 1),
				  MOV_IMM(R0, 0), EXIT) },
		    leave[] = { c[0] };

	attach_id = kbtf_find("__set_task_comm", BTF_KIND_FUNC, NULL);
	tweak = attach_to;
	fd_array[0] = LIBRARY(l);
	result("P18 library of fentry", fd_array[0] > 0, "%d: %s", fd_array[0], tail_of(log_text));
	tweak = attach_to;
	close(CALL_ACCEPT("P18b caller at the same function", c));
	leave[0].eatype = BPF_TRACE_FEXIT;
	tweak = attach_to;
	CALL_REFUSE("P19b fexit of it", leave, EINVAL, "it was not verified for this type of program");
	attach_id = kbtf_find("__x64_sys_getpgid", BTF_KIND_FUNC, NULL);
	tweak = attach_to;
	CALL_REFUSE("P19 caller at another function", c, EINVAL, "it was not verified for this type of program");
	close(fd_array[0]);
}

/* programs of one group are a library for their types */
static void classes(void)
{
	struct func l[] = { ROOT("kp", KPROBE, MOV_IMM(R0, 0), EXIT), ROOT("xd", XDP, MOV_IMM(R0, 0), EXIT),
			    ROOT("tc", TC, MOV_IMM(R0, 0), EXIT), ROOT("tp", TRACEPOINT, MOV_IMM(R0, 0), EXIT),
			    EXPORT("f", PROTO_INT, PLUS_ONE) };
	struct func x[] = { ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT) };
	int types[] = { KPROBE, XDP, TC, TRACEPOINT, SOCKET_FILTER, PERF_EVENT }, fd;
	uint64_t ksym = 0;

	load_prepare(&loaded, l, ARRAY_LEN(l));
	load_do(&loaded);
	struct load group = loaded;
	result("P20 library of four types", !group.err, "errno %d: %s", group.err, tail_of(log_text));
	for (int r = 0; r < 4; r++) {
		char name[64];
		struct func f[] = { ROOT("c", 0, MOV_IMM(R1, 5), CALL_PROG(0, 4), MOV_IMM(R0, 0), EXIT) };

		f[0].type = types[r];
		fd_array[0] = group.fds[r];
		snprintf(name, sizeof(name), "P21 type %d by its root", types[r]);
		fd = CALL_ACCEPT(name, f);
		view_get(fd, &view0);
		view_get(group.fds[r], &view1);
		if (!ksym)
			ksym = view1.ksyms[1];
		snprintf(name, sizeof(name), "P21/type %d same image", types[r]);
		result(name, ksym && view1.ksyms[1] == ksym && calls_address(&view0, ksym), "%llx",
		       (long long)view1.ksyms[1]);
		close(fd);
	}
	for (int r = 4; r < 6; r++) {
		char name[64];
		struct func f[] = { ROOT("c", 0, MOV_IMM(R1, 5), CALL_PROG(0, 4), MOV_IMM(R0, 0), EXIT) };

		f[0].type = types[r];
		snprintf(name, sizeof(name), "P22 type %d by root of another", types[r]);
		CALL_REFUSE(name, f, EINVAL, "it was not verified for this type of program");
	}
	struct func other[] = { ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 4), EXIT) };
	fd_array[0] = group.fds[0];
	CALL_REFUSE("P23 right group, wrong root", other, EINVAL, "function f() of prog kp, id ");
	close_all(&group);

	struct func attach[] = { ROOTE("c", CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, MOV_IMM(R1, 0), CALL_PROG(0, 1),
				       MOV_IMM(R0, 1), EXIT) },
		    cg[] = { ROOTE("lib", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, MOV_IMM(R0, 1), EXIT),
			     EXPORT("f", PROTO_INT, PLUS_ONE) },
		    frags[] = { ROOTE("c", XDP, 0, BPF_F_XDP_HAS_FRAGS, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT) },
		    lib[] = { XDP_MAIN, EXPORT("f", PROTO_INT, PLUS_ONE) },
		    kp[] = { ROOT("lib", KPROBE, MOV_IMM(R0, 0), EXIT), EXPORT("f", PROTO_INT, PLUS_ONE) },
		    sleep[] = { ROOTE("c", KPROBE, 0, BPF_F_SLEEPABLE, MOV_IMM(R1, 5), CALL_PROG(0, 1), MOV_IMM(R0, 0),
				      EXIT) };
	fd_array[0] = LIBRARY(cg);
	CALL_REFUSE("P24 ingress, egress", attach, EINVAL, "attach type 1: function f()");
	close(fd_array[0]);
	fd_array[0] = LIBRARY(lib);
	CALL_REFUSE("P25 frags", frags, EINVAL, "it was not verified for this type of program");
	close(fd_array[0]);
	fd_array[0] = LIBRARY(kp);
	CALL_REFUSE("P26 sleepable caller", sleep, EINVAL, ", sleepable: function f()");
	close(fd_array[0]);

	/* a group as the caller: every root needs a callee of its own class */
	struct func shared[] = { ROOT("xa", XDP, MOV_IMM(R1, 5), CALL_FUNC(2), EXIT),
				 ROOT("xb", XDP, MOV_IMM(R1, 6), CALL_FUNC(2), EXIT), SUB("s", CALL_PROG(0, 1), EXIT) },
		    mixed[] = { ROOT("xa", XDP, MOV_IMM(R1, 5), CALL_FUNC(2), EXIT),
				ROOT("tc", TC, MOV_IMM(R1, 6), CALL_FUNC(2), EXIT), SUB("s", CALL_PROG(0, 1), EXIT) };
	fd_array[0] = LIBRARY(lib);
	for (int i = 0; i < 2; i++) {
		struct func *f = i ? mixed : shared;

		load_prepare(&loaded, f, 3);
		loaded.attr.fd_array = (long)fd_array;
		load_do(&loaded);
		if (i) {
			result("P27 call in code of XDP and TC",
			       loaded.err == EINVAL && strstr(log_text, "it was not verified for this type"),
			       "errno %d: %s", loaded.err, tail_of(log_text));
		} else {
			int a = -1, b = -1;

			result("P28 call in code of two XDP roots", !loaded.err, "errno %d: %s", loaded.err,
			       tail_of(log_text));
			test_run(loaded.fds[0], &a);
			test_run(loaded.fds[1], &b);
			view_get(loaded.fds[1], &view0);
			result("P28/run", a == 6 && b == 7 && view0.i.nr_callee_ids == 1, "%d %d, %d callees", a, b,
			       view0.i.nr_callee_ids);
		}
		close_all(&loaded);
	}
	close(CALL_ACCEPT("P29 right class", x));
	close(fd_array[0]);
}

void progcall_cases(void)
{
	struct func l[] = { XDP_MAIN, EXPORT("f", PROTO_INT, PLUS_ONE) };

	if (opt_alone)
		return;
	fd_array[0] = LIBRARY(l);
	linked(fd_array[0]);
	close(fd_array[0]);
	arguments();
	tracing();
	classes();
}
