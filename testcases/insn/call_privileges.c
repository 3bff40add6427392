// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * A callee may leak pointers, use what is GPL only, or what needs other capabilities, if its own
 * loader may: the caller's loader needs them as well.
 */

#define CAPS(cap) (1ULL << CAP_##cap)
#define FILTER SOCKET_FILTER

static const struct func library[] = {
	ROOT("lib", FILTER, RETURN(2)),
	EXPORT("f", PROTO_INT, IDENTITY),
};

static const struct func caller[] = {
	ROOT("c", FILTER, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
};

static const struct func kprobe_caller[] = {
	ROOT("c", KPROBE, CALL_PROG(0, 1), RETURN(0)),
};

static const struct func writes_user[] = {
	MAIN(KPROBE),
	EXPORT("writes", PROTO_VOID,
	       MOV_IMM(R1, 0),
	       STACK(R2, -8),
	       BPF_ST_MEM(BPF_DW, R10, -8, 0),
	       MOV_IMM(R3, 8),
	       HELPER(probe_write_user),
	       EXIT),
	EXPORT("f", PROTO_INT, IDENTITY),
};

static const struct func middle[] = {
	MAIN(KPROBE),
	EXPORT("g", PROTO_VOID, CALL_PROG(0, 1), EXIT),
};

static const struct func crashes[] = {
	MAIN(KPROBE),
	EXPORT("crash", PROTO_VOID, MOV_IMM(R1, 0), KFUNC(crash_kexec), RETURN(0)),
};

/* A load with these capabilities; @msg is part of the log. */
static void load_with(const char *name, __u64 caps, const struct func *funcs, int n, int err,
		      const char *msg)
{
	char said[400];
	int got = load_as(caps, funcs, n, said, sizeof(said));

	result(name, got == err && (!msg || strstr(said, msg)), "errno %d: %s", got, said);
}

static void proprietary(struct load *l)
{
	l->attr.license = (long)"Proprietary";
}

static void licenses(void)
{
	int fd;

	fd_array[0] = LOAD_PROG(library);
	prepare_prog(caller, 1);
	proprietary(&loaded);
	fd = load_prepared();
	expect_load("proprietary_calls_gpl", fd < 0 ? -fd : 0, EINVAL, /* P43 */
		    "it is GPL compatible, the caller is not");
	if (fd >= 0)
		close(fd);
	close(fd_array[0]);
	prepare_prog(library, ARRAY_SIZE(library));
	proprietary(&loaded);
	fd_array[0] = load_prepared();
	close(ACCEPT_PROG("gpl_calls_proprietary", caller)); /* P43b */
	close(fd_array[0]);
}

static void callers(void)
{
	fd_array[0] = LOAD_PROG(library);
	/* P41, P42, P42b, P44, P44b */
	load_with("caller_without_caps", 0, caller, 1, EPERM, NULL);
	load_with("caller_of_bpf_callee_of_perfmon", CAPS(BPF), caller, 1, EINVAL,
		  "it was loaded with CAP_PERFMON, the caller is not");
	load_with("caller_of_bpf_perfmon", CAPS(BPF) | CAPS(PERFMON), caller, 1, 0, NULL);
	close(fd_array[0]);
	load_with("export_without_caps", 0, library, 2, EPERM,
		  "exporting functions requires CAP_BPF");
	load_with("export_with_bpf", CAPS(BPF), library, 2, 0, NULL);
}

/* What the verifier asks the loader's own capabilities for. */
static void admins(void)
{
	int fd = LOAD_PROG(writes_user);

	result("library_writes_user_memory", fd > 0, "%s", log_tail()); /* P140 */
	fd_array[0] = fd;
	close(ACCEPT_PROG("caller_of_root_callee_of_sys_admin", kprobe_caller)); /* P140b */
	load_with("caller_of_bpf_callee_of_sys_admin", CAPS(BPF) | CAPS(PERFMON), /* P141 */
		  kprobe_caller, 1, EINVAL, "its program needs CAP_SYS_ADMIN");
	fd_array[0] = LOAD_PROG(middle);
	close(fd);
	load_with("callee_of_sys_admin_below_callee", CAPS(BPF) | CAPS(PERFMON), /* P141b */
		  kprobe_caller, 1, EINVAL, "its program needs CAP_SYS_ADMIN");
	close(fd_array[0]);
}

static void reboots(void)
{
	const char *name = "caller_of_bpf_callee_of_sys_boot"; /* P142 */

	fd_array[0] = kfunc_id(KFUNC_crash_kexec) > 0 ? LOAD_PROG(crashes) : -1;
	if (fd_array[0] < 0) {
		skipped(name, "no crash_kexec in this kernel");
		return;
	}
	load_with(name, CAPS(BPF) | CAPS(PERFMON), kprobe_caller, 1, EINVAL,
		  "its program needs CAP_SYS_BOOT");
	close(fd_array[0]);
}

static void scenarios(void)
{
	callers();
	licenses();
	admins();
	reboots();
}

const struct insn_group call_privileges_group = {
	.name = "call_privileges",
	.scenarios = scenarios,
};
