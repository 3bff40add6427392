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

/* What is left in skb->cb[] is not seen by the callee either. */
static void read_cb(void)
{
	enum { CB = offsetof(struct __sk_buff, cb[4]) };
	static const struct func library[] = {
		MAIN(SOCKET_FILTER),
		EXPORT("f", PROTO_SKB, BPF_LDX_MEM(BPF_W, R0, R1, CB), EXIT),
	};
	static const struct func caller[] = {
		ROOT("c", SOCKET_FILTER,
		     CALL_PROG(0, 1),
		     LD_VALUE(R3, MAP_COUNTERS, 0),
		     BPF_STX_MEM(BPF_W, R3, R0, 0),
		     MOV_IMM(R4, 1),
		     BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R3, R4, 8),
		     RETURN(-1)),
	};
	int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0), fd, err, n;
	struct sockaddr_in addr = { .sin_family = AF_INET };
	const char *name = "callee_reads_cb";
	char text[8];
	__u64 v[16];

	addr.sin_port = htons(5557);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	counters_zero();
	fd_array[0] = LOAD_PROG(library);
	fd = ACCEPT_PROG(name, caller);
	if (bind(r, (void *)&addr, sizeof(addr)))
		perror("bind");
	err = setsockopt(r, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd));
	sendto(s, "hi", 2, 0, (void *)&addr, sizeof(addr));
	n = recv(r, text, sizeof(text), MSG_DONTWAIT);
	counters_read(v);
	sub_result(name, "run", !err && n == 2 && v[1] == 1 && !v[0],
		   "attach %d, recv %d, runs %llu, cb[4] %#llx", err, n, v[1], v[0]);
	close(r);
	close(s);
	close(fd);
	close(fd_array[0]);
}

/* The trampoline has the address of the function for programs that ask for it. */
static void ask_for_func_ip(void)
{
	static const struct func library[] = {
		ROOT_AS("lib", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 0, RETURN(0)),
		EXPORT_TAG("f", PROTO_LONGS, "arg:ctx",
			   HELPER(get_func_ip),
			   LD_VALUE(R1, MAP_COUNTERS, 0),
			   BPF_STX_MEM(BPF_DW, R1, R0, 0),
			   RETURN(0)),
	};
	static const struct func callers[] = {
		ROOT_AS("c", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 0, CALL_PROG(0, 1),
			RETURN(0)),
	};
	static const struct func asks[] = {
		ROOT_AS("c", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, 0,
			HELPER(get_func_ip),
			LD_VALUE(R1, MAP_COUNTERS, 8),
			BPF_STX_MEM(BPF_DW, R1, R0, 0),
			RETURN(0)),
	};
	const char *name = "callee_asks_for_address";
	int fd, own, link, own_link;
	__u64 v[16];

	attach_id = kernel_btf_find("__set_task_comm", BTF_KIND_FUNC, NULL);
	prepare_prog(library, ARRAY_SIZE(library));
	attach_to(&loaded, 0);
	fd_array[0] = load_prepared();
	prepare_prog(callers, 1);
	attach_to(&loaded, 0);
	fd = load_prepared();
	expect_load(name, fd < 0 ? -fd : 0, 0, NULL);
	link = fd < 0 ? fd : attach_link(fd, BPF_TRACE_FENTRY);
	if (link == -524 /* ENOTSUPP */) {
		skipped("callee_asks_for_address/run", "no trampolines in this kernel");
		goto out;
	}
	counters_zero();
	set_comm(1);
	close(link);
	prepare_prog(asks, 1);
	attach_to(&loaded, 0);
	own = load_prepared();
	own_link = attach_link(own, BPF_TRACE_FENTRY);
	set_comm(1);
	counters_read(v);
	sub_result(name, "run", link > 0 && v[0] && v[0] == v[1], "link %d %d, %llx and %llx", link,
		   own_link, v[0], v[1]);
	close(own_link);
	close(own);
out:
	close(fd);
	close(fd_array[0]);
}

static void scenarios(void)
{
	test_override_return();
	read_cb();
	ask_for_func_ip();
}

const struct insn_group call_attach_group = {
	.name = "call_attach",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
