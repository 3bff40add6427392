// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * How many programs can be called, how many functions a load can have, and what verifying a caller
 * costs.
 */

#define MAX_PROGS 64

static const struct func library[] = { XDP_MAIN, EXPORT("f", PROTO_INT, IDENTITY) };

/* Calls programs 0 to @n - 1 of fd_array with their number; each is a library of its own. */
static struct func caller_of(int n)
{
	static struct bpf_insn insns[2 * (MAX_PROGS + 1) + 1];
	int i;

	for (i = 0; i < n; i++) {
		insns[2 * i] = (struct bpf_insn)MOV_IMM(R1, i);
		insns[2 * i + 1] = (struct bpf_insn)CALL_PROG(i, 1);
	}
	insns[2 * n] = (struct bpf_insn)EXIT;
	return (struct func){ .name = "c", .type = XDP, .global = true, .long_insns = insns,
			      .long_len = 2 * n + 1 };
}

static void many_callees(void)
{
	const char *name = "sixty_four_callees"; /* P102 */
	struct func caller;
	int ret = -1, fd, i;

	for (i = 0; i <= MAX_PROGS; i++)
		fd_array[i] = LOAD_PROG(library);
	caller = caller_of(MAX_PROGS);
	fd = accept_prog(name, &caller, 1);
	test_run(fd, &ret);
	view_get(fd, &view0);
	sub_result(name, "run", ret == MAX_PROGS - 1 && view0.info.nr_callee_ids == MAX_PROGS,
		   "%d, %d callees", ret, view0.info.nr_callee_ids);
	close(fd);
	caller = caller_of(MAX_PROGS + 1);
	refuse_prog("sixty_five_callees", &caller, 1, E2BIG, /* P103 */
		    "more than 64 programs are called");
	for (i = 0; i <= MAX_PROGS; i++)
		close(fd_array[i]);
}

static void two_fds(void)
{
	static const struct func twice[] = {
		ROOT("c", XDP,
		     MOV_IMM(R1, 7),
		     CALL_PROG(0, 1),
		     MOV_REG(R1, R0),
		     CALL_PROG(1, 1),
		     EXIT),
	};
	const char *name = "two_fds_of_one_callee"; /* P104 */
	int fd;

	fd_array[0] = LOAD_PROG(library);
	fd_array[1] = dup(fd_array[0]);
	fd = ACCEPT_PROG(name, twice);
	view_get(fd, &view0);
	sub_result(name, "callee_ids", view0.info.nr_callee_ids == 1, "%d callees",
		   view0.info.nr_callee_ids);
	close(fd);
	close(fd_array[0]);
	close(fd_array[1]);
}

/* How many instructions are verified for a caller of a function of @size instructions. */
static __u32 verified_for(int size, __u32 *callee)
{
	static const struct func caller[] = {
		ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
	};
	static struct bpf_insn body[50001];
	struct func funcs[] = {
		XDP_MAIN,
		{ .name = "f", .global = true, .exported = true, .proto = PROTO_INT,
		  .long_insns = body, .long_len = size + 1 },
	};
	int fd, i;

	for (i = 0; i < size; i++)
		body[i] = (struct bpf_insn)MOV_IMM(R0, i);
	body[size] = (struct bpf_insn)EXIT;
	prepare_prog(funcs, ARRAY_SIZE(funcs));
	no_log(&loaded, 0);
	fd_array[0] = load_prepared();
	fd = LOAD_PROG(caller);
	view_get(fd_array[0], &view1);
	*callee = view1.info.verified_insns;
	view_get(fd, &view0);
	close(fd);
	close(fd_array[0]);
	return view0.info.verified_insns;
}

/* It does not depend on what is called. */
static void cost(void)
{
	__u32 callees[3], callers[3];

	callers[0] = verified_for(10, &callees[0]);
	callers[1] = verified_for(1000, &callees[1]);
	callers[2] = verified_for(50000, &callees[2]);
	printf("# verified: callees %u %u %u, callers %u %u %u\n", callees[0], callees[1],
	       callees[2], callers[0], callers[1], callers[2]);
	result("cost_of_verifying_a_caller", /* P120 */
	       callers[0] == 3 && callers[1] == 3 && callers[2] == 3 && callees[2] > 50000,
	       "callees %u %u %u, callers %u %u %u", callees[0], callees[1], callees[2],
	       callers[0], callers[1], callers[2]);
}

#define FUNCS 10000
#define TYPES 100000

/* One int, one FUNC, and as many pointers as there are TYPES. Returns the FD. */
static int load_many_types(void)
{
	enum { NAME = 1, INT = 1, PROTO = 2 };
	static const __u32 first[] = {
		NAME, BTF_KIND_INT << 24, 4, BTF_INT_SIGNED << 24 | 32,
		0, BTF_KIND_FUNC_PROTO << 24, INT,
		NAME, BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL, PROTO,
	};
	static struct {
		struct btf_header header;
		__u32 first[ARRAY_SIZE(first)];
		__u32 pointers[TYPES][3];
		char strings[8];
	} btf;
	int i;

	btf.header.magic = BTF_MAGIC;
	btf.header.version = 1;
	btf.header.hdr_len = sizeof(btf.header);
	btf.header.type_len = sizeof(btf.first) + sizeof(btf.pointers);
	btf.header.str_off = btf.header.type_len;
	btf.header.str_len = sizeof(btf.strings);
	memcpy(btf.first, first, sizeof(first));
	memcpy(btf.strings + NAME, "name", 5);
	for (i = 0; i < TYPES; i++) {
		btf.pointers[i][1] = BTF_KIND_PTR << 24;
		btf.pointers[i][2] = INT;
	}
	return btf_load(&btf, sizeof(btf));
}

/*
 * Each function may have a tag, which is looked for among all types: of more functions than there
 * can be, too.
 */
static void many_functions(void)
{
	enum { FUNC_ID = 3 };
	static const struct func funcs[] = { ROOT("c", XDP, RETURN(0)) };
	static struct func_info_record info[FUNCS];
	struct timespec start, end;
	int btf = load_many_types(), err, i;

	for (i = 0; i < FUNCS; i++) {
		info[i].off = i;
		info[i].id = FUNC_ID;
	}
	prepare_prog(funcs, 1);
	close(loaded.attr.prog_btf_fd);
	loaded.attr.prog_btf_fd = btf;
	loaded.attr.func_info = (long)info;
	loaded.attr.func_info_cnt = FUNCS;
	clock_gettime(CLOCK_MONOTONIC, &start);
	err = load_prepared();
	clock_gettime(CLOCK_MONOTONIC, &end);
	result("tags_of_too_many_functions", /* P193 */
	       btf >= 0 && err == -EINVAL && end.tv_sec - start.tv_sec < 5,
	       "BTF %d, %d after %d s", btf, err, (int)(end.tv_sec - start.tv_sec));
}

/* BTF with @nr_types pointers behind what the program below needs: function 3. */
static int load_pointers(int nr_types)
{
	static const __u32 first[] = {
		1, BTF_KIND_INT << 24, 4, BTF_INT_SIGNED << 24 | 32,
		0, BTF_KIND_FUNC_PROTO << 24, 1,
		1, BTF_KIND_FUNC << 24 | BTF_FUNC_STATIC, 2,
	};
	static const char strings[8] = "\0name";
	size_t type_len = sizeof(first) + nr_types * 3 * sizeof(__u32);
	size_t size = sizeof(struct btf_header) + type_len + sizeof(strings);
	struct btf_header *header = calloc(1, size);
	__u32 *types = (__u32 *)(header + 1);
	int i, fd;

	memcpy(types, first, sizeof(first));
	for (i = 0; i < nr_types; i++) {
		types[ARRAY_SIZE(first) + 3 * i + 1] = BTF_KIND_PTR << 24;
		types[ARRAY_SIZE(first) + 3 * i + 2] = 1;
	}
	memcpy((char *)types + type_len, strings, sizeof(strings));
	header->magic = BTF_MAGIC;
	header->version = 1;
	header->hdr_len = sizeof(*header);
	header->type_len = type_len;
	header->str_off = type_len;
	header->str_len = sizeof(strings);
	fd = btf_load(header, size);
	free(header);
	return fd;
}

/* Load a program of many functions with such BTF; @seconds is what the load alone takes. */
static int load_with_pointers(int nr_types, double *seconds)
{
	enum { ALL_FUNCS = 250 };
	static struct bpf_insn insns[ALL_FUNCS * 3 + 2];
	static struct func_info_record info[ALL_FUNCS + 1];
	struct timespec start, end;
	union bpf_attr attr;
	int i, fd, btf_fd = load_pointers(nr_types);

	info[0].id = 3;
	for (i = 0; i < ALL_FUNCS; i++) {
		int off = ALL_FUNCS + 2 + 2 * i;

		insns[i] = (struct bpf_insn)CALL_FUNC(off - i - 1);
		insns[off] = (struct bpf_insn)MOV_IMM(R0, 0);
		insns[off + 1] = (struct bpf_insn)EXIT;
		info[i + 1].off = off;
		info[i + 1].id = 3;
	}
	insns[ALL_FUNCS] = (struct bpf_insn)MOV_IMM(R0, 0);
	insns[ALL_FUNCS + 1] = (struct bpf_insn)EXIT;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = XDP;
	attr.insns = (long)insns;
	attr.insn_cnt = ARRAY_SIZE(insns);
	attr.license = (long)"GPL";
	attr.prog_btf_fd = btf_fd;
	attr.func_info = (long)info;
	attr.func_info_cnt = ARRAY_SIZE(info);
	attr.func_info_rec_size = sizeof(info[0]);
	clock_gettime(CLOCK_MONOTONIC, &start);
	fd = bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	clock_gettime(CLOCK_MONOTONIC, &end);
	*seconds = end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9;
	close(btf_fd);
	return fd;
}

/* A program that exports nothing has no use for its types, be they few or many. */
static void many_types(void)
{
	double few, many;
	int first = load_with_pointers(1, &few), second = load_with_pointers(800000, &many);

	result("many_types_and_nothing_exported", first >= 0 && second >= 0 && many < 10 * few + 1,
	       "programs %d and %d after %.1f s and %.1f s", first, second, few, many);
	close(first);
	close(second);
}

static void scenarios(void)
{
	many_callees();
	two_fds();
	cost();
	many_functions();
	many_types();
}

const struct insn_group call_limits_group = {
	.name = "call_limits",
	.scenarios = scenarios,
};
