// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What cannot be called: by its name, by what its FD is, by who asks; and what cannot be exported.
 */

#define MAIN ROOT("lib", XDP, MOV_IMM(R0, 2), EXIT)
#define IDENTITY MOV_REG(R0, R1), EXIT
#define CALLER(i, k) ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(i, k), EXIT)
#define CALLER_OF_ID(id) ROOT("c", XDP, MOV_IMM(R1, 5), BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_PROG_CALL, 0, id), EXIT)

static void names(void)
{
	struct func l[] = { ROOT("lib", XDP, MOV_IMM(R1, 1), CALL_FUNC(2), MOV_IMM(R1, 1), CALL_FUNC(3), EXIT),
			    EXPORT("f", PROTO_INT, IDENTITY), SUB("hidden", IDENTITY),
			    GLOBAL("global", PROTO_INT, IDENTITY) };
	struct func entry[] = { CALLER(0, 0) }, hidden[] = { CALLER(0, 2) }, global[] = { CALLER(0, 3) },
		    absent[] = { CALLER(0, 4) }, type[] = { CALLER_OF_ID(1) }, zero[] = { CALLER_OF_ID(0) },
		    minus[] = { CALLER_OF_ID(-1) }, tag[] = { CALLER_OF_ID(BTF_FUNC0 + 4) };

	/* static functions have no type that a number fits: as long as BTF says int() of them */
	l[2].proto = PROTO_INT;
	fd_array[0] = LIBRARY(l);
	CALL_REFUSE("P30 entry", entry, EINVAL, "function lib() of prog lib, id ");
	CALL_REFUSE("P30b says why", entry, EINVAL, "cannot be called: it is the entry of the program");
	CALL_REFUSE("P31 static", hidden, EINVAL, "function hidden() of prog lib, id ");
	CALL_REFUSE("P31b says why", hidden, EINVAL, "cannot be called: it is static");
	CALL_REFUSE("P32 global, not exported", global, EINVAL, "cannot be called: it is not exported");
	CALL_REFUSE("P33 not in the program", absent, EINVAL, "cannot be called: it is not part of the program");
	CALL_REFUSE("P34 id of a type", type, EINVAL, "function ?() of prog lib, id ");
	CALL_REFUSE("P34b id 0", zero, EINVAL, "it is not part of the program");
	CALL_REFUSE("P34c id -1", minus, EINVAL, "it is not part of the program");
	CALL_REFUSE("P34d id of the tag", tag, EINVAL, "it is not part of the program");
	close(fd_array[0]);
	struct bpf_insn plain[] = { MOV_IMM(R0, 0), EXIT };
	fd_array[0] = load_single(XDP, 0, plain, 2, 0);
	CALL_REFUSE("P35 program without BTF", absent, EINVAL, "cannot be called: the program has no BTF");
	close(fd_array[0]);
}

static void no_fd_array(struct load *l)
{
	l->attr.fd_array = 0;
}

static void bad_fd_array(struct load *l)
{
	l->attr.fd_array = 4096;
}

static void fds(void)
{
	struct func l[] = { MAIN, EXPORT("f", PROTO_INT, IDENTITY) };
	struct func c[] = { CALLER(0, 1) }, second[] = { CALLER(1, 1) }, minus[] = { CALLER(-1, 1) };
	struct func dst[] = { CALLER(0, 1) };
	int lib = LIBRARY(l);

	fd_array[0] = array_map;
	CALL_REFUSE("P36 FD of a map", c, EINVAL, "fd_array[0] is no program: fd ");
	fd_array[0] = btf_create(l, 2);
	CALL_REFUSE("P36b FD of BTF", c, EINVAL, "fd_array[0] is no program: fd ");
	close(fd_array[0]);
	fd_array[0] = 900;
	CALL_REFUSE("P37 FD that is closed", c, EBADF, "fd_array[0] is no program: fd ");
	fd_array[0] = -1;
	CALL_REFUSE("P37b FD -1", c, EBADF, "fd_array[0] is no program: fd -1");
	fd_array[0] = lib;
	CALL_REFUSE("P38 index -1", minus, EINVAL, "fd_array[-1] cannot be read");
	tweak = no_fd_array;
	CALL_REFUSE("P39 no fd_array", c, EINVAL, "BPF_CALL uses reserved fields");
	tweak = bad_fd_array;
	CALL_REFUSE("P39b fd_array nowhere", c, EFAULT, "fd_array[0] cannot be read");
	dst[0].insns[1].dst_reg = 1;
	CALL_REFUSE("P39c dst_reg", dst, EINVAL, "BPF_CALL uses reserved fields");
	fd_array[1] = lib;
	close(CALL_ACCEPT("P40 second in fd_array", second));
	close(lib);
}

/* errno of the load by a process with these capabilities; its log goes to *said */
static int load_as(uint64_t caps, struct func *f, int n, char *said)
{
	int ends[2], st;

	fflush(stdout);
	if (pipe(ends))
		return -1;
	pid_t p = fork();
	if (!p) {
		prepare_with_btf(f, n);
		drop_caps(caps);
		int r = load_prepared();
		char *last = tail_of(log_text);
		if (write(ends[1], last, strlen(last)) < 0)
			_exit(255);
		_exit(r < 0 ? -r : 0);
	}
	close(ends[1]);
	st = read(ends[0], said, 399);
	said[st < 0 ? 0 : st] = 0;
	close(ends[0]);
	waitpid(p, &st, 0);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static const uint64_t bpf_cap = 1ull << 39, perfmon_cap = 1ull << 38;

static void proprietary(struct load *l)
{
	l->attr.license = (long)"Proprietary";
}

static void callers(void)
{
	struct func l[] = { ROOT("lib", SOCKET_FILTER, MOV_IMM(R0, 2), EXIT), EXPORT("f", PROTO_INT, IDENTITY) };
	struct func c[] = { ROOT("c", SOCKET_FILTER, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT) };
	char said[400];
	int err;

	fd_array[0] = LIBRARY(l);
	err = load_as(0, c, 1, said);
	result("P41 caller without capabilities", err == EPERM, "errno %d: %s", err, said);
	err = load_as(bpf_cap, c, 1, said);
	result("P42 callee of CAP_PERFMON, caller of CAP_BPF",
	       err == EINVAL && strstr(said, "it was loaded with CAP_PERFMON, the caller is not"), "errno %d: %s", err,
	       said);
	err = load_as(bpf_cap | perfmon_cap, c, 1, said);
	result("P42b caller of both", err == 0, "errno %d: %s", err, said);
	tweak = proprietary;
	CALL_REFUSE("P43 callee is GPL, caller is not", c, EINVAL, "it is GPL compatible, the caller is not");
	close(fd_array[0]);
	tweak = proprietary;
	fd_array[0] = LIBRARY(l);
	close(CALL_ACCEPT("P43b the other way", c));
	close(fd_array[0]);
	err = load_as(0, l, 2, said);
	result("P44 export without capabilities", err == EPERM && strstr(said, "exporting functions requires CAP_BPF"),
	       "errno %d: %s", err, said);
	err = load_as(bpf_cap, l, 2, said);
	result("P44b export with CAP_BPF", err == 0, "errno %d: %s", err, said);
}

/* what the verifier asks the loader's own capabilities for: the caller's loader needs them as well */
static void admins(void)
{
	int kexec = kbtf_find("crash_kexec", BTF_KIND_FUNC, NULL);
	struct func kp = ROOT("lib", KPROBE, MOV_IMM(R0, 0), EXIT), f = EXPORT("f", PROTO_INT, IDENTITY);
	struct func writes[] = { kp, EXPORT("writes", PROTO_VOID, MOV_IMM(R1, 0), MOV_REG(R2, R10),
					    BPF_ALU64_IMM(BPF_ADD, R2, -8), BPF_ST_MEM(BPF_DW, R10, -8, 0),
					    MOV_IMM(R3, 8), HELPER(probe_write_user), EXIT), f },
		    middle[] = { kp, EXPORT("g", PROTO_VOID, CALL_PROG(0, 1), EXIT) },
		    crash[] = { kp, EXPORT("crash", PROTO_VOID, MOV_IMM(R1, 0), KFUNC(kexec), MOV_IMM(R0, 0), EXIT) };
	struct func c[] = { ROOT("c", KPROBE, CALL_PROG(0, 1), MOV_IMM(R0, 0), EXIT) };
	char said[400];
	int err;

	fd_array[0] = LIBRARY(writes);
	result("P140 library that writes to user memory", fd_array[0] > 0, "%s", tail_of(log_text));
	close(CALL_ACCEPT("P140b caller is root", c));
	err = load_as(bpf_cap | perfmon_cap, c, 1, said);
	result("P141 callee of CAP_SYS_ADMIN, caller of CAP_BPF",
	       err == EINVAL && strstr(said, "its program needs CAP_SYS_ADMIN"), "errno %d: %s", err, said);
	int lib = fd_array[0];
	fd_array[0] = LIBRARY(middle);
	err = fd_array[0] < 0 ? -1 : 0;
	close(lib);
	if (!err)
		err = load_as(bpf_cap | perfmon_cap, c, 1, said);
	result("P141b with a program between them", err == EINVAL && strstr(said, "its program needs CAP_SYS_ADMIN"),
	       "errno %d: %s", err, said);
	close(fd_array[0]);

	fd_array[0] = kexec > 0 ? LIBRARY(crash) : -1;
	if (fd_array[0] < 0) {
		skip("P142 callee of CAP_SYS_BOOT", "no crash_kexec in this kernel");
		return;
	}
	err = load_as(bpf_cap | perfmon_cap, c, 1, said);
	result("P142 callee of CAP_SYS_BOOT", err == EINVAL && strstr(said, "its program needs CAP_SYS_BOOT"),
	       "errno %d: %s", err, said);
	close(fd_array[0]);
}

static void exports(void)
{
	int bthr = kbtf_find("bpf_throw", BTF_KIND_FUNC, NULL);
	struct func static_one[] = { ROOT("lib", XDP, MOV_IMM(R1, 1), CALL_FUNC(1), EXIT),
				     EXPORT("f", PROTO_INT, IDENTITY) },
		    entry[] = { ROOT("lib", XDP, MOV_IMM(R0, 1), EXIT) },
		    unsafe[] = { MAIN, EXPORT("f", PROTO_INT, BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT) },
		    context[] = { MAIN, EXPORT("f", PROTO_PTREGS, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
						 BPF_LDX_MEM(BPF_DW, R0, R1, 8), EXIT) },
		    nothing[] = { MAIN, EXPORT("f", PROTO_GVOID, EXIT) },
		    throws[] = { ROOT("lib", XDP, MOV_IMM(R1, 0), KFUNC(bthr), MOV_IMM(R0, 0), EXIT),
				 EXPORT("f", PROTO_INT, IDENTITY) },
		    loops[] = { MAIN, EXPORT("f", PROTO_INT, CALL_FUNC(1), EXIT) },
		    deep[] = { MAIN, EXPORT("f", PROTO_INT, BPF_ST_MEM(BPF_DW, R10, -400, 0), CALL_FUNC(2), EXIT),
			       GLOBAL("g", PROTO_INT, BPF_ST_MEM(BPF_DW, R10, -200, 0), IDENTITY) };

	static_one[1].global = 0;
	CALL_REFUSE("P45 static", static_one, EINVAL, "f() cannot be exported: it is not global");
	entry[0].exported = 1;
	CALL_REFUSE("P46 entry", entry, EINVAL, "lib() cannot be exported: it is the entry of a program");
	CALL_REFUSE("P47 unsafe, never called", unsafe, EACCES, "R1 invalid mem access 'scalar'");
	CALL_REFUSE("P48 beyond its argument, never called", context, EACCES, "invalid access to memory");
	CALL_REFUSE("P49 void", nothing, EINVAL, "doesn't return scalar");
	CALL_REFUSE("P50 exceptions", throws, EINVAL, "f() cannot be exported: the program uses exceptions");
	CALL_REFUSE("P51 calls itself", loops, E2BIG, "the call stack of 8 frames is too deep");
	CALL_REFUSE("P52 stack of an export", deep, EACCES, "combined stack size of 2 calls is");

	/* in a group every root verifies it: XDP may not call what a kprobe may */
	struct func group[] = { ROOT("kp", KPROBE, MOV_IMM(R0, 0), EXIT), ROOT("xd", XDP, MOV_IMM(R0, 0), EXIT),
				EXPORT("f", PROTO_VOID, MOV_IMM(R1, 0), HELPER(send_signal), EXIT) };
	REFUSE("P53 export with a helper of one type", group, EINVAL, "cannot use helper bpf_send_signal");
	struct func both[] = { ROOT("kp", KPROBE, MOV_IMM(R0, 0), EXIT), ROOT("xd", XDP, MOV_IMM(R0, 0), EXIT),
			       EXPORT("f", PROTO_PTREGS, MOV_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1),
				      BPF_LDX_MEM(BPF_DW, R0, R1, 0), EXIT) };
	REFUSE("P54 export that reads one type's context", both, EACCES, "invalid access to memory");
}

void progcall_callee_cases(void)
{
	if (opt_alone)
		return;
	names();
	fds();
	callers();
	admins();
	exports();
}
