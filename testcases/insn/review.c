// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Ways that were found to turn a multi-root load against the kernel: calls and callbacks
 * farther away than s16, FDs written through bpf_sys_bpf(), a rewrite of one root that
 * followed another's flags, and other processes that use roots while they come and go.
 */

#define NEAR_DISTANCE 30000
#define FAR_DISTANCE 40000

/* distance insns between the call in "big" and its callee; s16 ends at 32767 */
static void far_call(int distance)
{
	struct bpf_insn *in = calloc(distance + 2, sizeof(*in));
	struct func f[] = { ROOT("r0", SOCKET_FILTER, MOV_IMM(R0, 0), EXIT), ROOT("big", SOCKET_FILTER, EXIT),
			    SUB("s", MOV_IMM(R0, 5), EXIT) };
	char name[64];
	int rv = -1, i;

	in[0] = (struct bpf_insn)CALL_FUNC(2);
	for (i = 1; i <= distance; i++)
		in[i] = (struct bpf_insn)MOV_IMM(R1, 0);
	in[distance + 1] = (struct bpf_insn)EXIT;
	f[1].insns = in;
	f[1].n = distance + 2;
	snprintf(name, sizeof(name), "A1 call over %d insns", distance);
	opt_log_level = 4;
	if (ACCEPT(name, f)) {
		test_run(loaded.fds[1], &rv);
		view_get(loaded.fds[1], &view1);
		snprintf(name, sizeof(name), "A1 call over %d insns/run", distance);
		result(name, rv == 5 && view1.i.nr_jited_ksyms == 2, "%d, %u images", rv,
		       view1.i.nr_jited_ksyms);
	}
	opt_log_level = 2;
	close_all(&loaded);
	free(in);
}

/* the same for a callback, which an inlined bpf_loop calls directly */
static void far_callback(int distance)
{
	struct bpf_insn head[] = { MOV_IMM(R1, 3), LD_FUNC(R2, 2), MOV_IMM(R3, 0), MOV_IMM(R4, 0),
				   HELPER(loop) };
	int rv = -1, n = ARRAY_LEN(head), i;
	struct bpf_insn *in = calloc(n + distance + 1, sizeof(*in));
	struct func f[] = { ROOT("r0", SOCKET_FILTER, MOV_IMM(R0, 0), EXIT), ROOT("big", SOCKET_FILTER, EXIT),
			    SUB("cb", INC(0), MOV_IMM(R0, 0), EXIT) };
	uint64_t v[16];
	char name[64];

	memcpy(in, head, sizeof(head));
	for (i = 0; i < distance; i++)
		in[n + i] = (struct bpf_insn)MOV_IMM(R1, 0);
	in[n + distance] = (struct bpf_insn)EXIT;
	f[1].insns = in;
	f[1].n = n + distance + 1;
	counters_zero();
	snprintf(name, sizeof(name), "A5 callback over %d insns", distance);
	opt_log_level = 4;
	if (ACCEPT(name, f)) {
		test_run(loaded.fds[1], &rv);
		counters_read(v);
		snprintf(name, sizeof(name), "A5 callback over %d insns/run", distance);
		result(name, rv == 3 && v[0] == 3, "%d, called %llu times", rv, (long long)v[0]);
	}
	opt_log_level = 2;
	close_all(&loaded);
	free(in);
}

/*
 * A SYSCALL program passes the value of a frozen, read-only map as roots: FDs written there
 * would change what the verifier took for a constant.
 */
static void sys_bpf(void)
{
	enum { AT_LICENSE = 512, AT_FUNC_INFO = 640, AT_INSNS = 1024 };
	static unsigned char data[4096];
	struct bpf_prog_root rec = { .prog_type = SOCKET_FILTER, .prog_name = "r" }, after;
	struct bpf_insn body[] = { MOV_IMM(R0, 0), EXIT };
	struct func one[] = { ROOT("r", SOCKET_FILTER, MOV_IMM(R0, 0), EXIT) };
	struct func_info_record info = { 0, BTF_FUNC0 };
	union bpf_attr *attr = (void *)data, a;
	int values = map_create(BPF_MAP_TYPE_ARRAY, 4, sizeof(data), 1, 0);
	int frozen = map_create(BPF_MAP_TYPE_ARRAY, 4, sizeof(rec), 1, BPF_F_RDONLY_PROG);
	int btf = btf_create(one, 1), prog, e;

	map_set(frozen, 0, &rec);
	memset(&a, 0, sizeof(a));
	a.map_fd = frozen;
	e = bpf(BPF_MAP_FREEZE, &a, sizeof(a));
	memcpy(data + AT_INSNS, body, sizeof(body));
	strcpy((char *)data + AT_LICENSE, "GPL");
	memcpy(data + AT_FUNC_INFO, &info, sizeof(info));
	attr->insn_cnt = ARRAY_LEN(body);
	attr->prog_btf_fd = btf;
	attr->func_info_cnt = 1;
	attr->func_info_rec_size = sizeof(info);
	attr->root_cnt = 1;
	attr->root_rec_size = sizeof(rec);
	map_set(values, 0, data);
	struct bpf_insn in[] = { LD_VALUE(R6, values, 0),
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
				 EXIT };
	prog = load_single(BPF_PROG_TYPE_SYSCALL, 0, in, ARRAY_LEN(in), BPF_F_SLEEPABLE);
	result("A2 prepared", !e && prog >= 0, "freeze %d, load %d %s", e, prog, tail_of(log_text));
	memset(&a, 0, sizeof(a));
	a.test.prog_fd = prog;
	e = bpf(BPF_PROG_TEST_RUN, &a, sizeof(a));
	map_get(frozen, 0, &after);
	result("A2 sys_bpf with roots", !e && (int)a.test.retval == -EOPNOTSUPP && !after.fd,
	       "run %d, sys_bpf returned %d, fd in the frozen map %d", e, (int)a.test.retval, after.fd);
	close(prog);
	close(btf);
	close(frozen);
	close(values);
}

/* nothing is shared: cb must become what it becomes when it is loaded alone */
static void tstamp(void)
{
	struct bpf_insn in[] = { BPF_LDX_MEM(BPF_DW, R2, R1, offsetof(struct __sk_buff, tstamp)),
				 BPF_STX_MEM(BPF_DW, R1, R2, offsetof(struct __sk_buff, tstamp)),
				 MOV_IMM(R0, 0), EXIT };
	struct func ca =
		ROOT("ca", TC, BPF_LDX_MEM(BPF_B, R0, R1, offsetof(struct __sk_buff, tstamp_type)), EXIT);
	struct func cb = { .name = "cb", .type = TC, .global = 1, .insns = in, .n = ARRAY_LEN(in) };
	int alone = load_single(TC, 0, in, ARRAY_LEN(in), 0), order;

	result("A4 cb alone", alone >= 0 && !view_get(alone, &view0), "%d %s", alone, tail_of(log_text));
	for (order = 0; order < 2; order++) {
		struct func f[] = { order ? cb : ca, order ? ca : cb };

		if (!ACCEPT(order ? "A4 cb,ca" : "A4 ca,cb", f))
			continue;
		view_get(loaded.fds[!order], &view1);
		result(order ? "A4 cb,ca/xlated" : "A4 ca,cb/xlated",
		       view0.nx > 4 && view1.nx == view0.nx &&
			       !memcmp(view1.xl, view0.xl, view0.nx * sizeof(view0.xl[0])),
		       "%d insns in the group, %d alone", view1.nx, view0.nx);
		close_all(&loaded);
	}
	close(alone);
}

static volatile int stop;
static long wrong, fetched;

static void *user(void *unused)
{
	static __thread struct prog_view view;
	union bpf_attr a;
	unsigned int id;
	int sv[2], fd, rv;
	char c;

	(void)unused;
	socketpair(AF_UNIX, SOCK_DGRAM, 0, sv);
	while (!stop) {
		for (id = 0;; id = a.next_id) {
			memset(&a, 0, sizeof(a));
			a.start_id = id;
			if (bpf(BPF_PROG_GET_NEXT_ID, &a, sizeof(a)))
				break;
			id = a.next_id;
			memset(&a, 0, sizeof(a));
			a.prog_id = id;
			fd = bpf(BPF_PROG_GET_FD_BY_ID, &a, sizeof(a));
			a.next_id = id;
			if (fd < 0)
				continue;
			__sync_fetch_and_add(&fetched, 1);
			view_get(fd, &view);
			if (!setsockopt(sv[0], SOL_SOCKET, SO_ATTACH_BPF, &fd, 4)) {
				send(sv[1], "x", 1, MSG_DONTWAIT);
				recv(sv[0], &c, 1, MSG_DONTWAIT);
			}
			rv = -1;
			test_run(fd, &rv);
			if (rv != 5 && rv != -1)
				__sync_fetch_and_add(&wrong, 1);
			close(fd);
		}
	}
	close(sv[0]);
	close(sv[1]);
	return NULL;
}

/* every third load fails at copy-out, when others have already seen its programs */
static void race(void)
{
	struct func f[] = { ROOT("r0", SOCKET_FILTER, CALL_FUNC(3), EXIT),
			    ROOT("r1", SOCKET_FILTER, CALL_FUNC(3), EXIT), ROOT("x", XDP, CALL_FUNC(3), EXIT),
			    SUB("s", MOV_IMM(R0, 5), EXIT) };
	char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int accepted = 0, faulted = 0, other = 0, n, rv, i;
	pthread_t t[3];
	time_t end = time(NULL) + 5;

	stop = 0;
	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, user, NULL);
	for (n = 0; time(NULL) < end; n++) {
		load_prepare(&loaded, f, ARRAY_LEN(f));
		if (n % 3 == 0) {
			mprotect(page, 4096, PROT_READ | PROT_WRITE);
			memcpy(page, loaded.roots, sizeof(loaded.roots));
			mprotect(page, 4096, PROT_READ);
			loaded.attr.roots = (long)page;
		}
		load_do(&loaded);
		accepted += !loaded.err;
		faulted += n % 3 == 0 && loaded.err == EFAULT;
		other += loaded.err != (n % 3 ? 0 : EFAULT);
		if (!loaded.err) {
			rv = 0;
			close(loaded.fds[n % 3]);
			loaded.fds[n % 3] = -1;
			test_run(loaded.fds[(n + 1) % 3], &rv);
			wrong += rv != 5;
		}
		close_all(&loaded);
	}
	stop = 1;
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	rcu_settle();
	rcu_settle();
	result("A3 race",
	       accepted && faulted && fetched && !other && !wrong && !count_progs() && !kallsyms_count("_s"),
	       "accepted %d EFAULT %d other %d, fetched %ld wrong %ld, left: %d programs, %d symbols",
	       accepted, faulted, other, fetched, wrong, count_progs(), kallsyms_count("_s"));
	munmap(page, 4096);
}

void review_cases(void)
{
	far_call(NEAR_DISTANCE);
	far_call(FAR_DISTANCE);
	far_callback(NEAR_DISTANCE);
	far_callback(FAR_DISTANCE);
	sys_bpf();
	tstamp();
	race();
}
