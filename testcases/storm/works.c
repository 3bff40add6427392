// SPDX-License-Identifier: GPL-2.0
#include "storm.h"

#include <sys/wait.h>

/*
 * What the tasks of the storm do. A kprobe is loaded and never attached: attaching and detaching one
 * on several emulated CPUs brings down a kernel without any of these patches.
 */

#define SHARED                                                            \
	SUB("storm_shared", INC(0), MOV_REG(R0, R1), EXIT)
#define STUB(nm, type, n) ROOT(nm, type, MOV_IMM(R1, n), CALL_FUNC(4), EXIT)

/* Four roots of four types, and what they share. */
static void prepare_group(void)
{
	struct func group[] = {
		STUB("storm_kprobe", KPROBE, 1),
		STUB("storm_tp", TRACEPOINT, 1),
		STUB("storm_xdp", XDP, 2),
		STUB("storm_tc", TC, 3),
		SHARED,
	};

	load_prepare(&loaded, group, ARRAY_SIZE(group));
}

static int load_storm_group(void)
{
	prepare_group();
	no_log(&loaded, 0);
	return load_do(&loaded);
}

static void close_shuffled(void)
{
	int n = loaded.nr_roots, i, j, fd;

	for (i = n - 1; i > 0; i--) {
		j = rand() % (i + 1);
		fd = loaded.fds[i];
		loaded.fds[i] = loaded.fds[j];
		loaded.fds[j] = fd;
	}
	close_all(&loaded);
}

void expect_run(int fd, int wanted)
{
	int got = -1, err = test_run(fd, &got);

	/* a signal may end a test run, and a program may be on its way out */
	if (err && err != -EINTR && err != -EAGAIN)
		odd("test run: errno %d", -err);
	else if (!err && got != wanted)
		odd("test run: returned %d, not %d", got, wanted);
}

static void load_run_close(void)
{
	int err = load_storm_group();

	if (err) {
		odd("load: errno %d", err);
		return;
	}
	expect_run(loaded.fds[2], 2);
	close(loaded.fds[0]);
	loaded.fds[0] = -1;
	expect_run(loaded.fds[3], 3);
	close_shuffled();
	done();
}

static void attach_detach(void)
{
	int err = load_storm_group(), event;

	if (err) {
		odd("load: errno %d", err);
		return;
	}
	event = attach_tracepoint(loaded.fds[1], "syscalls/sys_enter_getpgid");
	if (event < 0)
		odd("attach: errno %d", -event);
	getpgid(0);
	close_shuffled(); /* the event still holds its root */
	getpgid(0);
	close(event);
	if (event >= 0)
		done();
}

static void cgroup_storage(void)
{
	struct func roots[] = {
		ROOT_AS("storm_in", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, LD_MAP(R1, 0), CALL_FUNC(2),
		      MOV_IMM(R0, 1), EXIT),
		ROOT_AS("storm_out", CGROUP_SKB, BPF_CGROUP_INET_EGRESS, 0, LD_MAP(R1, 0), CALL_FUNC(2),
		      MOV_IMM(R0, 1), EXIT),
		SUB("storm_store", MOV_IMM(R2, 0), HELPER(get_local_storage), MOV_IMM(R1, 1),
		    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0), MOV_IMM(R0, 0), EXIT),
	};
	int storage = map_create(BPF_MAP_TYPE_CGROUP_STORAGE, sizeof(struct bpf_cgroup_storage_key), 8, 0, 0);
	int err;

	roots[0].insns[0].imm = storage;
	roots[1].insns[0].imm = storage;
	load_prepare(&loaded, roots, ARRAY_SIZE(roots));
	err = load_do(&loaded);
	close(storage);
	if (err) {
		odd("load: errno %d: %s", err, log_tail());
		return;
	}
	err = cgroup_attach(loaded.fds[0], BPF_CGROUP_INET_INGRESS);
	if (!err) {
		udp_ping(1);
		err = cgroup_detach(loaded.fds[0], BPF_CGROUP_INET_INGRESS);
	}
	if (err)
		odd("cgroup: errno %d", -err);
	else
		done();
	close_shuffled();
}

/* Shared code that tail calls, while others put roots into the array and take them out. */
static void tail_calls(void)
{
	struct func roots[] = {
		ROOT("storm_xa", XDP, CALL_FUNC(2), EXIT),
		ROOT("storm_xb", XDP, CALL_FUNC(2), EXIT),
		SUB("storm_jump", LD_MAP(R2, board->prog_array), MOV_IMM(R3, 0), HELPER(tail_call),
		    MOV_IMM(R0, 9), EXIT),
	};
	int key = rand() & 1, err;

	load_prepare(&loaded, roots, ARRAY_SIZE(roots));
	err = load_do(&loaded);
	if (err) {
		odd("load: errno %d: %s", err, log_tail());
		return;
	}
	map_set(board->prog_array, key, &loaded.fds[key]);
	expect_run(loaded.fds[!key], 9);
	close(loaded.fds[0]);
	loaded.fds[0] = -1;
	expect_run(loaded.fds[1], 9);
	map_del(board->prog_array, key);
	close_shuffled();
	done();
}

/* Whatever is there: look at it, run it, let go of it. */
static void look_at_others(void)
{
	union bpf_attr attr;
	unsigned int id = 0;
	int fd, got;

	for (;;) {
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
		if (view_get(fd, &view0))
			odd("info of program %u: errno %d", id, errno);
		else if (view0.info.type == XDP || view0.info.type == TC)
			test_run(fd, &got);
		close(fd);
		done();
	}
}

static void read_kallsyms(void)
{
	kallsyms_count("_storm_shared");
	done();
}

/* Roots whose records cannot be written to: the load fails after they had an id. */
static void fail_at_copy_out(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *records = page + 4096 - sizeof(loaded.roots[0]);
	int err;

	prepare_group();
	memcpy(records, loaded.roots, loaded.nr_roots * sizeof(loaded.roots[0]));
	mprotect(page + 4096, 4096, PROT_READ);
	loaded.attr.roots = (long)records;
	err = load_do(&loaded);
	munmap(page, 8192);
	if (err != EFAULT)
		odd("copy-out: errno %d", err);
	else
		done();
}

static void fail_for_lack_of_fds(void)
{
	struct rlimit old, tight;
	int top, err;

	getrlimit(RLIMIT_NOFILE, &old);
	tight = old;
	prepare_group();
	top = dup(0);
	close(top);
	tight.rlim_cur = top + 1 + rand() % 3;
	setrlimit(RLIMIT_NOFILE, &tight);
	err = load_do(&loaded);
	setrlimit(RLIMIT_NOFILE, &old);
	if (err != EMFILE)
		odd("one FD: errno %d", err);
	else
		done();
}

static void fail_in_verifier(void)
{
	struct func roots[] = {
		ROOT("storm_a", XDP, CALL_EXIT(2)),
		ROOT("storm_b", TC, CALL_EXIT(2)),
		SUB("storm_ctx", BPF_LDX_MEM(BPF_W, R0, R1, 16), EXIT),
	};
	int err;

	load_prepare(&loaded, roots, ARRAY_SIZE(roots));
	if (rand() & 1)
		loaded.attr.log_size = 130; /* and the log is too small as well */
	err = load_do(&loaded);
	if (err != EINVAL && err != ENOSPC)
		odd("refused load: errno %d", err);
	else
		done();
}

/* A child is killed in the middle of what it loads and holds. */
static void killed_loader(void)
{
	pid_t child = fork();

	if (!child) {
		for (;;)
			if (!load_storm_group())
				close_shuffled();
	}
	usleep(1000 + rand() % 20000);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	done();
}

static void pin_unpin(void)
{
	char path[64];
	union bpf_attr attr;
	int err = load_storm_group(), fd;

	if (err) {
		odd("load: errno %d", err);
		return;
	}
	snprintf(path, sizeof(path), "/sys/fs/bpf/storm-%d", me);
	memset(&attr, 0, sizeof(attr));
	attr.pathname = (long)path;
	attr.bpf_fd = loaded.fds[2];
	if (bpf(BPF_OBJ_PIN, &attr, sizeof(attr)))
		odd("pin: errno %d", errno);
	close_shuffled();
	attr.bpf_fd = 0;
	fd = bpf(BPF_OBJ_GET, &attr, sizeof(attr));
	if (fd < 0)
		odd("get: errno %d", errno);
	unlink(path);
	expect_run(fd, 2);
	close(fd);
	done();
}

const struct work works[] = {
	{ "load, run, close", load_run_close },
	{ "load, run, close again", load_run_close },
	{ "attach, close, detach", attach_detach },
	{ "cgroup storage", cgroup_storage },
	{ "tail calls", tail_calls },
	{ "look at others", look_at_others },
	{ "kallsyms", read_kallsyms },
	{ "no copy-out", fail_at_copy_out },
	{ "no FDs", fail_for_lack_of_fds },
	{ "refused", fail_in_verifier },
	{ "killed", killed_loader },
	{ "pin", pin_unpin },
	{ "call, close", call_and_close },
	{ "call through", call_through },
	{ "call group", call_group },
	{ "call shared", call_shared },
	{ "replace shared", replace_shared },
};
const size_t nr_works = ARRAY_SIZE(works);
