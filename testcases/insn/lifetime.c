// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Loaded roots seen from outside: what may attach to them, pins, fdinfo, the JIT switches, many
 * reloads, and other processes that use roots while they come and go.
 */

#define PINNED "/sys/fs/bpf/r1"

static const struct func group[] = {
	ROOT("ka", KPROBE, CALL_EXIT(2)),
	ROOT("xb", XDP, CALL_EXIT(2)),
	SUB("s", LD_VALUE(R1, MAP_COUNTERS, 0), RETURN(0)),
};

/* Returns errno of a program of this type for function @k of the first root. */
static int load_target(int type, int k)
{
	static const struct bpf_insn insns[] = { RETURN(0) };
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.expected_attach_type = type == BPF_PROG_TYPE_EXT ? 0 : BPF_TRACE_FENTRY;
	attr.attach_btf_id = BTF_FUNC0 + k;
	attr.attach_prog_fd = loaded.fds[0];
	attr.insns = (long)insns;
	attr.insn_cnt = ARRAY_SIZE(insns);
	attr.license = (long)"GPL";
	attr.log_buf = (long)log_text;
	attr.log_size = LOG_SIZE;
	attr.log_level = 1;
	log_text[0] = 0;
	fd = bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* The second root is pinned, and alone keeps what is shared. */
static void pin_second_root(void)
{
	int before, err, fd, ret = -1, images, progs;

	rcu_settle();
	/* but for the two that are loaded */
	before = count_progs() - 2;
	err = pin(loaded.fds[1], PINNED);
	close_all(&loaded);
	rcu_settle();
	images = kallsyms_count("_s");
	fd = get_pinned(PINNED);
	if (fd >= 0)
		test_run(fd, &ret);
	progs = count_progs();
	unlink(PINNED);
	close(fd);
	rcu_settle();
	result("pinned_second_root", /* T56 */
	       !err && images == 1 && ret == 0 && progs == before + 1 &&
	       count_progs() == before && kallsyms_count("_s") == 0,
	       "pin %d images %d returns %d programs %d, then %d", err, images, ret, progs,
	       count_progs());
}

static void check_targets(const char *name)
{
	/* T55, T55b, T55c */
	expect_load("fentry_of_root", load_target(BPF_PROG_TYPE_TRACING, 0), EOPNOTSUPP,
		    "attaching to functions of a multi-root program is not supported");
	expect_load("fentry_of_shared_function", load_target(BPF_PROG_TYPE_TRACING, 2), EOPNOTSUPP,
		    NULL);
	expect_load("freplace_of_shared_function", load_target(BPF_PROG_TYPE_EXT, 2), EOPNOTSUPP,
		    NULL);
	pin_second_root();
}

static void fd_info(void)
{
	char text[600] = "", path[64], *id;
	int fd, flags;

	load_group(group, ARRAY_SIZE(group));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", loaded.fds[1]);
	fd = open(path, O_RDONLY);
	if (read(fd, text, sizeof(text) - 1) < 0)
		perror(path);
	close(fd);
	id = strstr(text, "group_id:");
	result("fdinfo_has_group_id", id && atoi(id + 10) > 0, "%.14s", id ?: "-"); /* T56b */
	flags = fcntl(loaded.fds[1], F_GETFD);
	result("fds_close_on_exec", flags == FD_CLOEXEC, "%d", flags); /* T56c */
	close_all(&loaded);
}

static void jit_off(void)
{
	const char *name = "group_without_jit"; /* T57 */

	write_string("/proc/sys/net/core/bpf_jit_enable", "0");
	if (read_int("/proc/sys/net/core/bpf_jit_enable") == 0)
		expect_load(name, load_group(group, ARRAY_SIZE(group)), EOPNOTSUPP,
			    "multi-root load requires JIT");
	else
		skipped(name, "the JIT is always on in this kernel");
	close_all(&loaded);
	write_string("/proc/sys/net/core/bpf_jit_enable", "1");
}

static void harden(void)
{
	write_string("/proc/sys/net/core/bpf_jit_harden", "2");
}

static void unharden(void)
{
	write_string("/proc/sys/net/core/bpf_jit_harden", "0");
}

static void check_blinded(const char *name)
{
	int a = -1, b = -1, shared;
	__u64 addr = 0;

	test_run(loaded.fds[0], &a);
	test_run(loaded.fds[1], &b);
	view_get(loaded.fds[0], &view0);
	view_get(loaded.fds[1], &view1);
	shared = shared_image(&view0, &view1, &addr);
	sub_result(name, "run", a == 0x23456 && b == 0x34567 && shared == 1, "%x %x shared %d",
		   a, b, shared);
}

static const struct insn_test tests[] = {
	{
		.name = "root_as_target", /* T55 */
		.funcs = {
			ROOT("xa", XDP, CALL_EXIT(2)),
			ROOT("xb", XDP, CALL_EXIT(2)),
			SUB("s", RETURN(0)),
		},
		.check = check_targets,
	},
	{
		.name = "group_with_blinded_constants", /* T57b */
		.funcs = {
			ROOT("xa", XDP,
			     MOV_IMM(R1, 0x12345),
			     CALL_FUNC(2),
			     EXIT),
			ROOT("tb", TC,
			     MOV_IMM(R1, 0x23456),
			     CALL_FUNC(2),
			     EXIT),
			SUB("s",
			    MOV_REG(R0, R1),
			    BPF_ALU64_IMM(BPF_ADD, R0, 0x11111),
			    EXIT),
		},
		.setup = harden,
		.cleanup = unharden,
		.check = check_blinded,
	},
};

static void many_loads(void)
{
	int progs, fds, bad = 0, i, first;

	rcu_settle();
	progs = count_progs();
	fds = count_fds();
	for (i = 0; i < 300; i++) {
		load_prepare(&loaded, group, ARRAY_SIZE(group));
		no_log(&loaded, 0);
		bad += !!load_do(&loaded);
		/* close the second root first */
		if (i & 1) {
			first = loaded.fds[0];
			loaded.fds[0] = loaded.fds[1];
			loaded.fds[1] = first;
		}
		close_all(&loaded);
	}
	rcu_settle();
	result("three_hundred_loads", /* T53 */
	       !bad && count_progs() == progs && count_fds() == fds,
	       "bad %d programs %d", bad, count_progs());
}

static bool stop;
static long wrong, fetched;

/* Look at a program of the race, attach it and run it. */
static void use_program(int fd, const int *sockets, struct prog_view *view)
{
	int ret = -1;
	char c;

	__sync_fetch_and_add(&fetched, 1);
	view_get(fd, view);
	if (!setsockopt(sockets[0], SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof(fd))) {
		send(sockets[1], "x", 1, MSG_DONTWAIT);
		recv(sockets[0], &c, 1, MSG_DONTWAIT);
	}
	test_run(fd, &ret);
	if (ret != 5 && ret != -1)
		__sync_fetch_and_add(&wrong, 1);
}

/* Uses whatever programs there are. */
static void *use_programs(void *unused)
{
	static __thread struct prog_view view;
	union bpf_attr attr;
	int sockets[2], fd;
	__u32 id;

	socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (id = 0;;) {
			memset(&attr, 0, sizeof(attr));
			attr.start_id = id;
			if (bpf(BPF_PROG_GET_NEXT_ID, &attr, sizeof(attr)))
				break;
			id = attr.next_id;
			memset(&attr, 0, sizeof(attr));
			attr.prog_id = id;
			fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));
			if (fd < 0)
				continue;
			use_program(fd, sockets, &view);
			close(fd);
		}
	}
	close(sockets[0]);
	close(sockets[1]);
	return NULL;
}

/* What became of the loads of the race. */
struct loads {
	int accepted, faulted, other;
};

/* If @page is given, the load fails at copy-out, when others have already seen its programs. */
static void load_in_race(struct loads *loads, int n, char *page)
{
	static const struct func funcs[] = {
		ROOT("r0", SOCKET_FILTER, CALL_FUNC(3), EXIT),
		ROOT("r1", SOCKET_FILTER, CALL_FUNC(3), EXIT),
		ROOT("x", XDP, CALL_FUNC(3), EXIT),
		SUB("s", RETURN(5)),
	};
	int ret = 0;

	load_prepare(&loaded, funcs, ARRAY_SIZE(funcs));
	if (page) {
		mprotect(page, 4096, PROT_READ | PROT_WRITE);
		memcpy(page, loaded.roots, sizeof(loaded.roots));
		mprotect(page, 4096, PROT_READ);
		loaded.attr.roots = (long)page;
	}
	load_do(&loaded);
	loads->accepted += !loaded.err;
	loads->faulted += page && loaded.err == EFAULT;
	loads->other += loaded.err != (page ? EFAULT : 0);
	if (!loaded.err) {
		close(loaded.fds[n % 3]);
		loaded.fds[n % 3] = -1;
		test_run(loaded.fds[(n + 1) % 3], &ret);
		if (ret != 5)
			__sync_fetch_and_add(&wrong, 1);
	}
	close_all(&loaded);
}

static void race(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct loads loads = { 0 };
	time_t end = time(NULL) + 5;
	pthread_t threads[3];
	int n, i;

	stop = false;
	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, use_programs, NULL);
	for (n = 0; time(NULL) < end; n++)
		load_in_race(&loads, n, n % 3 ? NULL : page);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	rcu_settle();
	rcu_settle();
	result("programs_used_while_they_are_loaded", /* A3 */
	       loads.accepted && loads.faulted && fetched && !loads.other && !wrong &&
	       !count_progs() && !kallsyms_count("_s"),
	       "accepted %d EFAULT %d other %d, fetched %ld wrong %ld, left: %d programs, %d images",
	       loads.accepted, loads.faulted, loads.other, fetched, wrong, count_progs(),
	       kallsyms_count("_s"));
	munmap(page, 4096);
}

static void scenarios(void)
{
	fd_info();
	jit_off();
	many_loads();
	race();
}

const struct insn_group lifetime_group = {
	.name = "lifetime",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
	.scenarios = scenarios,
};
