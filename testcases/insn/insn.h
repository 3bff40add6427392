/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Loads of BPF programs by the raw system call. A case is an array of functions; calls name
 * functions by their index. README.md shows how to write one.
 */
#ifndef INSN_H
#define INSN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
/* instruction macros, of tools/; uapi has a file of that name */
#include <include/linux/filter.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(arr) (sizeof(arr) / sizeof((arr)[0]))
#endif
#ifndef __printf
#define __printf(a, b) __attribute__((format(printf, a, b)))
#endif

#define MAX_INSNS 80000
#define MAX_FUNC_INSNS 40
#define MAX_FUNCS 17
#define MAX_LIBRARY_FUNCS 5
#define MAX_ROOTS 20
#define MAX_CALLEES 128
#define LOG_SIZE (1024 * 1024)
/* length of union bpf_attr for BPF_PROG_LOAD before there were roots */
#define SINGLE_ATTR_SIZE 144
/* length of a struct bpf_prog_root */
#define ROOT_SIZE 56

#define KPROBE BPF_PROG_TYPE_KPROBE
#define TRACEPOINT BPF_PROG_TYPE_TRACEPOINT
#define XDP BPF_PROG_TYPE_XDP
#define TC BPF_PROG_TYPE_SCHED_CLS
#define CGROUP_SKB BPF_PROG_TYPE_CGROUP_SKB
#define SOCKET_FILTER BPF_PROG_TYPE_SOCKET_FILTER
#define PERF_EVENT BPF_PROG_TYPE_PERF_EVENT
#define INGRESS BPF_CGROUP_INET_INGRESS
#define EGRESS BPF_CGROUP_INET_EGRESS

#define R0 BPF_REG_0
#define R1 BPF_REG_1
#define R2 BPF_REG_2
#define R3 BPF_REG_3
#define R4 BPF_REG_4
#define R5 BPF_REG_5
#define R6 BPF_REG_6
#define R7 BPF_REG_7
#define R8 BPF_REG_8
#define R9 BPF_REG_9
#define R10 BPF_REG_10

/*
 * Maps that instructions name, with the loader putting in the FD. They are created when a case
 * names them, and closed behind it, but for the first two. No FD is negative.
 */
enum test_map {
	MAP_COUNTERS = -64,	/* array of 1 x 128 bytes */
	MAP_ARRAY,		/* array of 4 x 64 bytes */
	MAP_PERCPU_ARRAY,
	MAP_HASH,
	MAP_HASH_OF_INT,
	MAP_PERF_EVENT_ARRAY,
	MAP_PROG_ARRAY,
	MAP_RINGBUF,
	MAP_TASK_STORAGE,
	MAP_SK_STORAGE,
	MAP_CGROUP_STORAGE,
	MAP_CGROUP_STORAGE_2,
	MAP_SPIN_LOCK,		/* array of 1, with a struct bpf_spin_lock */
	MAP_TIMER,		/* array of 1, with a struct bpf_timer */
	MAP_WQ,			/* array of 1, with a struct bpf_wq */
	MAP_WQ_HASH,
	MAP_INSN_ARRAY,		/* of 2 */
};

/* Functions of the kernel that instructions call, with the loader putting in the BTF id. */
enum test_kfunc {
	KFUNC_FIRST = -64,
	KFUNC_bpf_cgroup_from_id = KFUNC_FIRST,
	KFUNC_bpf_cgroup_release,
	KFUNC_bpf_copy_from_user_str,
	KFUNC_bpf_dynptr_clone,
	KFUNC_bpf_dynptr_copy,
	KFUNC_bpf_dynptr_file_discard,
	KFUNC_bpf_dynptr_from_file,
	KFUNC_bpf_dynptr_from_skb,
	KFUNC_bpf_dynptr_from_xdp,
	KFUNC_bpf_dynptr_memset,
	KFUNC_bpf_dynptr_slice,
	KFUNC_bpf_dynptr_slice_rdwr,
	KFUNC_bpf_iter_css_task_destroy,
	KFUNC_bpf_iter_css_task_new,
	KFUNC_bpf_iter_num_new,
	KFUNC_bpf_obj_new_impl,
	KFUNC_bpf_preempt_disable,
	KFUNC_bpf_preempt_enable,
	KFUNC_bpf_rcu_read_lock,
	KFUNC_bpf_rcu_read_unlock,
	KFUNC_bpf_rdonly_cast,
	KFUNC_bpf_throw,
	KFUNC_bpf_wq_init,
	KFUNC_bpf_wq_set_callback,
	KFUNC_bpf_wq_start,
	KFUNC_bpf_xdp_pull_data,
	KFUNC_crash_kexec,
};

/* Members of struct task_struct that LDX_TASK() reads. */
enum task_member {
	TASK_PID = 1,
	TASK_REAL_PARENT,	/* RCU protected */
	TASK_PI_TOP_TASK,	/* not trusted */
};

/* What a function takes, for its BTF. All return int but those of PROTO_GVOID. */
enum proto {
	PROTO_VOID,		/* nothing */
	PROTO_PTREGS,		/* struct pt_regs * */
	PROTO_INT,		/* int */
	PROTO_GVOID,		/* nothing, and returns nothing */
	PROTO_MEM,		/* int * */
	PROTO_XDP,		/* struct xdp_md * */
	PROTO_SKB,		/* struct __sk_buff * */
	PROTO_DYNPTR,		/* struct bpf_dynptr * */
	PROTO_TASK,		/* struct task_struct * */
	PROTO_SOCK,		/* struct sock * */
	PROTO_SKB_MEM,		/* struct __sk_buff *, int * */
	PROTO_SKB_DYNPTR,	/* struct __sk_buff *, struct bpf_dynptr * */
	PROTO_LONGS,		/* long * */
	PROTO_INT_SKB,		/* int, struct __sk_buff * */
	PROTO_SIX_INTS,		/* int, int, int, int, int, int */
	PROTO_TWO_SOCKS,	/* struct sock *, struct sock *: memory, without a tag */
};

/* BTF id of the first function of a program that load.c describes */
#define BTF_FUNC0 33

#define MOV_IMM(reg, value) BPF_MOV64_IMM(reg, value)
#define MOV_REG(reg, other) BPF_MOV64_REG(reg, other)
#define EXIT BPF_EXIT_INSN()
#define RETURN(value) MOV_IMM(R0, value), EXIT
/* the address of a stack slot */
#define STACK(reg, off) MOV_REG(reg, R10), BPF_ALU64_IMM(BPF_ADD, reg, off)
#define HELPER(id) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##id)
#define KFUNC(id) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, KFUNC_##id)
/* call of function number @k of the case */
#define CALL_FUNC(k) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, k)
#define CALL_EXIT(k) CALL_FUNC(k), RETURN(0)
#define MAY_GOTO(off) BPF_RAW_INSN(BPF_JMP | BPF_JCOND, 0, 0, off, 0)
/* call of the function with BTF id @id of the program whose FD is number @i of fd_array */
#define CALL_PROG_ID(i, id) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_PROG_CALL, i, id)
/* call of function number @k of that program: 0 is that of .library, 1 that of .library2 */
#define CALL_PROG(i, k) CALL_PROG_ID(i, BTF_FUNC0 + (k))
#define LD_FUNC(reg, k) LD_PSEUDO(reg, BPF_PSEUDO_FUNC, k, 0)
/* @map: an enum test_map, or an FD */
#define LD_MAP(reg, map) LD_PSEUDO(reg, BPF_PSEUDO_MAP_FD, map, 0)
#define LD_VALUE(reg, map, off) LD_PSEUDO(reg, BPF_PSEUDO_MAP_VALUE, map, off)
#define LD_PSEUDO(reg, kind, imm1, imm2) \
	BPF_RAW_INSN(BPF_LD | BPF_DW | BPF_IMM, reg, kind, 0, imm1), \
	BPF_RAW_INSN(0, 0, 0, 0, imm2)
/* a member of the task that @src points to; what the loader looks up is in imm */
#define LDX_TASK(size, dst, src, member) \
	BPF_RAW_INSN(BPF_LDX | BPF_SIZE(size) | BPF_MEM, dst, src, 0, member)
/* adds one to a counter */
#define INC(off) \
	LD_VALUE(R2, MAP_COUNTERS, off), \
	MOV_IMM(R3, 1), \
	BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R2, R3, 0)
/* the value of a map of one value in R0 */
#define VALUE(map) \
	BPF_ST_MEM(BPF_W, R10, -4, 0), \
	STACK(R2, -4), \
	LD_MAP(R1, map), \
	HELPER(map_lookup_elem), \
	BPF_JMP_IMM(BPF_JNE, R0, 0, 2), \
	RETURN(0)
#define SET_TIMER(k) \
	VALUE(MAP_TIMER), \
	MOV_REG(R1, R0), \
	LD_FUNC(R2, k), \
	HELPER(timer_set_callback)
/* allocates, where the task has none yet: may sleep in a program that may */
#define TASK_STORAGE \
	HELPER(get_current_task_btf), \
	MOV_REG(R2, R0), \
	LD_MAP(R1, MAP_TASK_STORAGE), \
	MOV_IMM(R3, 0), \
	MOV_IMM(R4, 1), \
	HELPER(task_storage_get)
/* may sleep */
#define COPY_FROM_USER \
	STACK(R1, -8), \
	MOV_IMM(R2, 8), \
	MOV_IMM(R3, 0), \
	HELPER(copy_from_user)

/* One function of a program. */
struct func {
	const char *name;
	int type;		/* program type of a root; 0: no root */
	int attach_type;
	int flags;		/* of the root, as prog_flags */
	bool global;
	bool exported;		/* has the declaration tag bpf_export */
	const char *arg_tag;	/* declaration tag of its first argument */
	enum proto proto;
	struct bpf_insn insns[MAX_FUNC_INSNS];
	/* where they do not fit */
	const struct bpf_insn *long_insns;
	int long_len;
};

#define INSNS(...) .insns = { __VA_ARGS__ }
#define ROOT(nm, ty, ...) { .name = nm, .type = ty, .global = true, INSNS(__VA_ARGS__) }
/* a root with an attach type and flags */
#define ROOT_AS(nm, ty, at, fl, ...) \
	{ .name = nm, .type = ty, .attach_type = at, .flags = fl, .global = true, \
	  INSNS(__VA_ARGS__) }
#define SLEEPABLE(nm, ty, ...) ROOT_AS(nm, ty, 0, BPF_F_SLEEPABLE, __VA_ARGS__)
#define SYSCALL(nm, ...) SLEEPABLE(nm, BPF_PROG_TYPE_SYSCALL, __VA_ARGS__)
/* the entry of a program whose functions others call */
#define MAIN(ty) ROOT("lib", ty, RETURN(0))
#define XDP_MAIN ROOT("lib", XDP, RETURN(2))
/* static, global and exported functions */
#define SUB(nm, ...) { .name = nm, INSNS(__VA_ARGS__) }
#define SUB_PROTO(nm, pr, ...) { .name = nm, .proto = pr, INSNS(__VA_ARGS__) }
#define GLOBAL(nm, pr, ...) { .name = nm, .global = true, .proto = pr, INSNS(__VA_ARGS__) }
#define GLOBAL_TAG(nm, pr, tag, ...) \
	{ .name = nm, .global = true, .proto = pr, .arg_tag = tag, INSNS(__VA_ARGS__) }
#define EXPORT(nm, pr, ...) \
	{ .name = nm, .global = true, .exported = true, .proto = pr, INSNS(__VA_ARGS__) }
#define EXPORT_TAG(nm, pr, tag, ...) \
	{ .name = nm, .global = true, .exported = true, .proto = pr, .arg_tag = tag, \
	  INSNS(__VA_ARGS__) }
/* an extension of a function of that name */
#define EXTENSION(nm, pr, ...) \
	{ .name = nm, .type = BPF_PROG_TYPE_EXT, .global = true, .proto = pr, INSNS(__VA_ARGS__) }
#define IDENTITY MOV_REG(R0, R1), EXIT
#define READS_IF_NOT_NULL \
	MOV_IMM(R0, 0), \
	BPF_JMP_IMM(BPF_JEQ, R1, 0, 1), \
	BPF_LDX_MEM(BPF_W, R0, R1, 0), \
	EXIT
/* R7 points to @size bytes of the packet, R6 is the context; @drop is returned if it is shorter */
#define PACKET_BYTES(size, data, end, drop) \
	BPF_LDX_MEM(BPF_W, R7, R6, data), \
	BPF_LDX_MEM(BPF_W, R8, R6, end), \
	MOV_REG(R2, R7), \
	BPF_ALU64_IMM(BPF_ADD, R2, size), \
	BPF_JMP_REG(BPF_JLE, R2, R8, 2), \
	RETURN(drop)
#define XDP_BYTES(size, drop) \
	PACKET_BYTES(size, offsetof(struct xdp_md, data), offsetof(struct xdp_md, data_end), drop)
#define SKB_BYTES(size, drop) \
	PACKET_BYTES(size, offsetof(struct __sk_buff, data), offsetof(struct __sk_buff, data_end), \
		     drop)
/* dynptr of the skb in R1 at -16 */
#define SKB_DYNPTR \
	MOV_IMM(R2, 0), \
	STACK(R3, -16), \
	KFUNC(bpf_dynptr_from_skb)
/* dynptr of a map value at -16 */
#define MEM_DYNPTR \
	LD_VALUE(R1, MAP_COUNTERS, 0), \
	MOV_IMM(R2, 64), \
	MOV_IMM(R3, 0), \
	STACK(R4, -16), \
	HELPER(dynptr_from_mem)
/* zeros to the dynptr in R1 */
#define WRITE_DYNPTR(size) \
	BPF_ST_MEM(BPF_DW, R10, -24, 0), \
	MOV_IMM(R2, 0), \
	STACK(R3, -24), \
	MOV_IMM(R4, size), \
	MOV_IMM(R5, 0), \
	HELPER(dynptr_write)
/* returns 7, spilled around a call that needs no spill: the verifier may remove it */
#define FASTCALL_SPILL \
	MOV_IMM(R1, 7), \
	BPF_STX_MEM(BPF_DW, R10, R1, -8), \
	HELPER(get_smp_processor_id), \
	BPF_LDX_MEM(BPF_DW, R1, R10, -8), \
	IDENTITY

/* One load: what the kernel is given, and what it gives back. */
struct load {
	struct bpf_prog_root roots[MAX_ROOTS];
	int nr_roots;
	int fds[MAX_ROOTS];
	int err;		/* 0 or errno */
	union bpf_attr attr;
	struct bpf_insn insns[MAX_INSNS];
	int nr_insns;
};

/* What a test run of a root returns. */
struct expected_run {
	bool run;
	int retval;
};

#define RETURNS(value) { .run = true, .retval = (value) }

/*
 * One case. More than one root is a multi-root load, one root an ordinary load. Prints a check
 * NAME, and NAME/run for .runs.
 */
struct insn_test {
	const char *name;	/* of a C identifier's form, unique in all files */
	struct func funcs[MAX_FUNCS];
	/* a program that is loaded before it: fd_array[0] */
	struct func library[MAX_LIBRARY_FUNCS];
	/* a program that is loaded between them, and may call the first: fd_array[1] */
	struct func library2[MAX_LIBRARY_FUNCS];
	int err;		/* 0: accepted */
	const char *msg;	/* part of the log; NULL: any log */
	struct expected_run runs[2];	/* of the first roots, with a packet of 64 bytes */
	int prog_flags;
	int log_level;		/* 0: 2 */
	bool multi_root;	/* a multi-root load of one root */
	/* once more as NAME/own, with function 1 of the library as part of the program itself */
	bool own;
	/* what no initializer can express, in @funcs, which is a copy */
	void (*fill)(struct func *funcs);
	/* before the load, and at the end */
	void (*setup)(void);
	void (*cleanup)(void);
	/* changes attributes */
	void (*tweak)(struct load *l, int value);
	int value;
	/* after a load that was accepted as expected, for further checks: sub_result() */
	void (*check)(const char *name);
};

/* Cases of one topic, and what takes more steps than one load. */
struct insn_group {
	const char *name;
	const struct insn_test *tests;
	int nr_tests;
	void (*scenarios)(void);
};

extern const struct insn_group *const groups[];
extern const int nr_groups;

struct func_info_record {
	__u32 off;
	__u32 id;
};

/* what BPF_OBJ_GET_INFO_BY_FD says of one program */
struct prog_view {
	struct bpf_prog_info info;
	__u32 callees[64];
	__u64 ksyms[64];
	__u32 lens[64];
	__u32 maps[64];
	struct func_info_record funcs[64];
	struct bpf_insn xlated[2048];
	int nr_xlated;
	unsigned char jited[65536];
};

/* load.c: the loader */
extern char log_text[LOG_SIZE];
extern int opt_log_level, opt_prog_flags;
extern struct load loaded;
extern int fd_array[MAX_CALLEES];
extern int attach_id;	/* attach_btf_id for attach_to() */

int func_len(const struct func *func);
const struct bpf_insn *func_insns(const struct func *func);
int bpf(int cmd, union bpf_attr *attr, unsigned int size);
void load_prepare(struct load *l, const struct func *funcs, int n);
int load_do(struct load *l);
int load_group(const struct func *funcs, int n);
void prepare_prog(const struct func *funcs, int n);
int load_prepared(void);
int load_prog(const struct func *funcs, int n);
#define LOAD_PROG(funcs) load_prog(funcs, ARRAY_SIZE(funcs))
int load_plain(int type, const struct bpf_insn *insns, int n, int flags);
void prepare_on(int type, int prog, int k, const struct func *func);
int load_on(int type, int prog, int k, const struct func *func);
void close_all(struct load *l);
void no_log(struct load *l, int value);
void attach_to(struct load *l, int value);
const char *log_tail(void);

/* btf.c: type information of programs and maps */
int btf_create(const struct func *funcs, int n);
int btf_load(const void *btf, unsigned int size);
int btf_of_lock(void);
int btf_of_special(const char *name);
int kernel_btf_find(const char *name, int kind, const char *member);

/* symbols.c: what instructions name */
int map_fd(int map);
void maps_open(void);
void maps_close(void);
int kfunc_id(int kfunc);
void resolve_names(struct bpf_insn *insns, int n);
int map_create(int type, int key_size, int value_size, int n, int flags);
int map_create_exclusive(const unsigned char *hash);
int map_get(int fd, int key, void *value);
int map_set(int fd, int key, const void *value);
int map_del(int fd, int key);
void counters_zero(void);
void counters_read(__u64 *values);

/* result.c: one line per check */
extern int passed, failed;

void result(const char *name, bool ok, const char *fmt, ...) __printf(3, 4);
void sub_result(const char *name, const char *what, bool ok, const char *fmt, ...) __printf(4, 5);
void skipped(const char *name, const char *why);
bool expect_load(const char *name, int got, int err, const char *msg);
int accept_prog(const char *name, const struct func *funcs, int n);
void refuse_prog(const char *name, const struct func *funcs, int n, int err, const char *msg);
#define ACCEPT_PROG(name, funcs) accept_prog(name, funcs, ARRAY_SIZE(funcs))
#define REFUSE_PROG(name, funcs, err, msg) refuse_prog(name, funcs, ARRAY_SIZE(funcs), err, msg)

/* run.c and alone.c: cases of a table */
void run_group(const struct insn_group *group);
void run_test(const struct insn_test *test);
int count_funcs(const struct func *funcs, int max);
void run_alone(const struct insn_group *group);
void run_alike(const struct insn_group *group);

/* view.c: programs as they are loaded */
extern struct prog_view view0, view1, view2;

int view_get(int fd, struct prog_view *view);
int shared_image(const struct prog_view *a, const struct prog_view *b, __u64 *addr);
int calls_of(const struct prog_view *view, __u64 target);
bool has_prologue(const struct prog_view *view);

/* guest.c: the machine around */
int kallsyms_count(const char *suffix);
int count_progs(void);
int count_fds(void);
bool id_exists(__u32 id);
int test_run(int fd, int *retval);
int obj_info(int fd, void *info, int size);
int test_run_copy(int fd, const void *packet, int len, void *out, int *retval);
int test_run_packet(int fd, void *packet, int len, int *retval);
int test_run_context(int fd, int size);
int read_int(const char *path);
int write_string(const char *path, const char *text);
int attach_kprobe(int prog, const char *symbol);
int attach_tracepoint(int prog, const char *name);
int attach_link(int prog, int type);
int attach_ext(int ext, int target, int k);
int cgroup_attach(int prog, int type);
int cgroup_detach(int prog, int type);
int pin(int fd, const char *path);
int get_pinned(const char *path);
void enter_cgroup(void);
void loopback_up(void);
int udp_ping(int n);
void rcu_settle(void);
void set_comm(int n);
void drop_caps(__u64 keep);
int load_as(__u64 caps, const struct func *funcs, int n, char *said, int size);

#define DIFFERENT_CONTEXTS "same insn cannot be used with different contexts"

#endif
