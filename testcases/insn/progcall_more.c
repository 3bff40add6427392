// SPDX-License-Identifier: GPL-2.0
#include "progcall.h"

/*
 * What a later review found: what a callee, or a global function of the same program, leaves behind, and what is
 * forgotten of a program that is replaced in part.
 */

#define EXTENSION(nm, n) \
	{ { .name = nm, .type = BPF_PROG_TYPE_EXT, .global = 1, .proto = PROTO_VOID, INSNS(RETURN(n)) } }

/* two functions are replaced, and one of the links goes */
static void half_replaced(void)
{
	struct func l[] = { MAIN(XDP), EXPORT("f", PROTO_VOID, RETURN(1)), EXPORT("g", PROTO_VOID, RETURN(2)) };
	struct func of_f[] = EXTENSION("f", 71), of_g[] = EXTENSION("g", 72);
	struct func c[] = { ROOT("c", XDP, CALL_PROG(0, 2), EXIT) };
	int progs = map_create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0), lib = fd_array[0] = LIBRARY(l),
	    e[2] = { load_on(BPF_PROG_TYPE_EXT, lib, 1, of_f, 1), load_on(BPF_PROG_TYPE_EXT, lib, 2, of_g, 1) },
	    link[2] = { attach_on(e[0], 0), attach_on(e[1], 0) }, member;

	close(link[0]);
	member = map_set(progs, 0, &lib);
	result("P190 prog array for what is still replaced in part", link[0] > 0 && link[1] > 0 && member == -EBUSY,
	       "links %d, %d, member %d", link[0], link[1], member);
	CALL_REFUSE("P190b callee still replaced in part", c, EBUSY, "cannot be called: it was replaced in part");
	close(link[1]);
	CALL_RUNS("P190c callee not replaced any more", c, 2);
	member = map_set(progs, 0, &lib);
	result("P190d prog array for what is not replaced any more", !member, "%d", member);
	close(e[0]);
	close(e[1]);
	close(lib);
	close(progs);
}

/* what may sleep elsewhere does not in a program that must not, and so may be called in an RCU read section */
static void stores_awake(void)
{
	int lock = kbtf_find("bpf_rcu_read_lock", BTF_KIND_FUNC, NULL),
	    unlock = kbtf_find("bpf_rcu_read_unlock", BTF_KIND_FUNC, NULL),
	    storage = map_create_btf(BPF_MAP_TYPE_TASK_STORAGE, 4, 4, 0, BPF_F_NO_PREALLOC, 1);
	struct func l[] = { MAIN(KPROBE), EXPORT("stores", PROTO_VOID, TASK_STORAGE(storage), RETURN(0)) };
	struct func c = ROOT("c", KPROBE, KFUNC(lock), CALL_PROG(0, 1), KFUNC(unlock), RETURN(0));

	EITHER_ACCEPT("P191", "allocates in an RCU section of who never sleeps", l, c);
	close(storage);
}

/* an exception unwinds the callers as well, with what they hold */
static void throws(void)
{
	int lock = kbtf_find("bpf_rcu_read_lock", BTF_KIND_FUNC, NULL),
	    unlock = kbtf_find("bpf_rcu_read_unlock", BTF_KIND_FUNC, NULL),
	    throw = kbtf_find("bpf_throw", BTF_KIND_FUNC, NULL), ring = map_create(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
#define RESERVES(call)                                                                                    \
	LD_MAP(R1, ring), MOV_IMM(R2, 8), MOV_IMM(R3, 0), HELPER(ringbuf_reserve), BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
		RETURN(0), MOV_REG(R6, R0), call, MOV_REG(R1, R6), MOV_IMM(R2, 0), HELPER(ringbuf_submit), RETURN(0)
	struct func g = GLOBAL("g", PROTO_VOID, MOV_IMM(R1, 3), KFUNC(throw), RETURN(0)),
		    below = GLOBAL("f", PROTO_VOID, CALL_FUNC(1), EXIT);
	struct func section[] = { ROOT("c", TC, KFUNC(lock), CALL_FUNC(1), KFUNC(unlock), RETURN(0)), g },
		    reserved[] = { ROOT("c", TC, RESERVES(CALL_FUNC(1))), g },
		    deeper[] = { ROOT("c", TC, RESERVES(CALL_FUNC(2))), g, below },
		    nothing[] = { ROOT("c", TC, CALL_FUNC(2), RETURN(0)), g, below };

	CALL_REFUSE("P192 throws in an RCU section", section, EINVAL,
		    "functions that may throw are not allowed in RCU read sections");
	CALL_REFUSE("P192b throws where something is reserved", reserved, EINVAL, "Unreleased reference");
	CALL_REFUSE("P192c throws below the function", deeper, EINVAL, "Unreleased reference");
	CALL_RUNS("P192d throws where nothing is held", nothing, 3);
	close(ring);
}

/* a prologue takes R1 for a socket buffer, and an extension has in it whatever the function had */
static void prologues(void)
{
	int from_skb = kbtf_find("bpf_dynptr_from_skb", BTF_KIND_FUNC, NULL),
	    slice = kbtf_find("bpf_dynptr_slice_rdwr", BTF_KIND_FUNC, NULL);
#define WRITES_SLICE                                                                                      \
	MOV_IMM(R2, 0), BPF_ST_MEM(BPF_DW, R10, -24, 0), STACK(R3, -24), MOV_IMM(R4, 8), KFUNC(slice),     \
		BPF_JMP_IMM(BPF_JNE, R0, 0, 2), RETURN(0), BPF_ST_MEM(BPF_W, R0, 0, 1), RETURN(3)
#define OF_SKB MOV_IMM(R2, 0), STACK(R3, -16), KFUNC(from_skb), STACK(R1, -16)
	struct func l[] = { ROOT("lib", TC, MOV_REG(R6, R1), OF_SKB, CALL_FUNC(1), MOV_REG(R1, R6), CALL_FUNC(2), RETURN(0)),
			    GLOBAL("f", PROTO_DYNPTR, RETURN(0)), GLOBAL("g", PROTO_SKB, RETURN(0)) };
	struct func of_dynptr[] = { { .name = "f", .type = BPF_PROG_TYPE_EXT, .global = 1, .proto = PROTO_DYNPTR,
				      INSNS(WRITES_SLICE) } },
		    of_skb[] = { { .name = "g", .type = BPF_PROG_TYPE_EXT, .global = 1, .proto = PROTO_SKB,
				   INSNS(OF_SKB, WRITES_SLICE) } };
	int lib = LIBRARY(l), e = load_on(BPF_PROG_TYPE_EXT, lib, 1, of_dynptr, 1);

	result("P194 extension that writes to a packet and has no context",
	       e == -EINVAL && strstr(log_text, "writing to packets requires a context as first argument"), "%d; log: %s", e,
	       tail_of(log_text));
	e = load_on(BPF_PROG_TYPE_EXT, lib, 2, of_skb, 1);
	view_get(e, &view0);
	result("P194b extension that writes to a packet and has one", view0.nx > 0 && view0.xl[0].code == (BPF_LDX | BPF_MEM | BPF_B),
	       "%d, first %#x; log: %s", e, view0.xl[0].code, tail_of(log_text));
	close(e);
	close(lib);
}

/* each function may have a tag, which is looked for among all types: of more functions than there can be, too */
static void many_functions(void)
{
	enum { FUNCS = 10000, TYPES = 100000, NAME = 1, FUNC_ID = 3 };
	uint32_t first[] = { NAME, BTF_KIND_INT << 24, 4, BTF_INT_SIGNED << 24 | 32, /* 1 */
			     0, BTF_KIND_FUNC_PROTO << 24, 1, NAME, BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL, 2 };
	static struct {
		struct btf_header h;
		uint32_t first[ARRAY_LEN(first)], pointers[TYPES][3];
		char s[8];
	} b;
	static struct func_info_record funcs[FUNCS];
	struct func f[] = { ROOT("c", XDP, RETURN(0)) };
	struct timespec start, end;
	union bpf_attr a;
	int i, fd;

	b.h = (struct btf_header){ .magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(b.h),
				   .type_len = sizeof(b.first) + sizeof(b.pointers),
				   .str_off = sizeof(b.first) + sizeof(b.pointers), .str_len = sizeof(b.s) };
	memcpy(b.first, first, sizeof(first));
	memcpy(b.s, "\0name", 6);
	for (i = 0; i < TYPES; i++) {
		b.pointers[i][1] = BTF_KIND_PTR << 24;
		b.pointers[i][2] = 1;
	}
	for (i = 0; i < FUNCS; i++)
		funcs[i] = (struct func_info_record){ i, FUNC_ID };
	memset(&a, 0, sizeof(a));
	a.btf = (long)&b;
	a.btf_size = sizeof(b);
	fd = bpf(BPF_BTF_LOAD, &a, sizeof(a));
	prepare_with_btf(f, 1);
	close(loaded.attr.prog_btf_fd);
	loaded.attr.prog_btf_fd = fd;
	loaded.attr.func_info = (long)funcs;
	loaded.attr.func_info_cnt = FUNCS;
	clock_gettime(CLOCK_MONOTONIC, &start);
	i = load_prepared();
	clock_gettime(CLOCK_MONOTONIC, &end);
	result("P193 tags of more functions than there can be", fd >= 0 && i == -EINVAL && end.tv_sec - start.tv_sec < 5,
	       "BTF %d, %d after %d s", fd, i, (int)(end.tv_sec - start.tv_sec));
}

void progcall_more_cases(void)
{
	if (opt_alone)
		return;
	half_replaced();
	stores_awake();
	throws();
	prologues();
	many_functions();
}
