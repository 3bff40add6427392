/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Multi-root loads by the raw system call. A case is an array of functions, the roots
 * first or not; calls name functions by their index.
 */
#ifndef INSN_H
#define INSN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sched.h>
#include <pthread.h>
#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/stat.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <net/if.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <time.h>
#include <include/linux/filter.h> /* instruction macros, of tools/; uapi has a file of that name */

#define MAX_INSNS 80000
#define LOG_SIZE (1 << 20)
/* length of union bpf_attr for BPF_PROG_LOAD before there were roots */
#define SINGLE_ATTR_SIZE 144

#define KPROBE BPF_PROG_TYPE_KPROBE
#define TRACEPOINT BPF_PROG_TYPE_TRACEPOINT
#define XDP BPF_PROG_TYPE_XDP
#define TC BPF_PROG_TYPE_SCHED_CLS
#define CGROUP_SKB BPF_PROG_TYPE_CGROUP_SKB
#define SOCKET_FILTER BPF_PROG_TYPE_SOCKET_FILTER
#define PERF_EVENT BPF_PROG_TYPE_PERF_EVENT

/* call of function number k of the case */
#define CALL_FUNC(k) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, k)
#define HELPER(id) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##id)
#define KFUNC(id) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, id)
#define LD_FUNC(reg, k) BPF_RAW_INSN(BPF_LD | BPF_DW | BPF_IMM, reg, BPF_PSEUDO_FUNC, 0, k), BPF_RAW_INSN(0, 0, 0, 0, 0)
#define LD_MAP(reg, fd) BPF_RAW_INSN(BPF_LD | BPF_DW | BPF_IMM, reg, BPF_PSEUDO_MAP_FD, 0, fd), BPF_RAW_INSN(0, 0, 0, 0, 0)
#define LD_VALUE(reg, fd, off) BPF_RAW_INSN(BPF_LD | BPF_DW | BPF_IMM, reg, BPF_PSEUDO_MAP_VALUE, 0, fd), BPF_RAW_INSN(0, 0, 0, 0, off)
#define EXIT BPF_EXIT_INSN()
#define MOV_IMM(d, i) BPF_MOV64_IMM(d, i)
#define MOV_REG(d, s) BPF_MOV64_REG(d, s)
#define R0 BPF_REG_0
#define R1 BPF_REG_1
#define R2 BPF_REG_2
#define R3 BPF_REG_3
#define R4 BPF_REG_4
#define R5 BPF_REG_5
#define R6 BPF_REG_6
#define R7 BPF_REG_7
#define R8 BPF_REG_8
#define R10 BPF_REG_10

/*
 * int(), int(struct pt_regs *), int(int), void(), int(int *), int(struct xdp_md *), int(struct __sk_buff *),
 * int(struct bpf_dynptr *), int(struct task_struct *), int(struct sock *), and with a struct __sk_buff * first: int *, struct bpf_dynptr *
 */
enum {
	PROTO_VOID = 0, PROTO_PTREGS, PROTO_INT, PROTO_GVOID, PROTO_MEM, PROTO_XDP, PROTO_SKB,
	PROTO_DYNPTR, PROTO_TASK, PROTO_SOCK, PROTO_SKB_MEM, PROTO_SKB_DYNPTR
};

struct func {
	const char *name;
	int type;	/* 0: subprog */
	int eatype;
	int flags;
	int global;
	int exported; /* has the declaration tag bpf_export */
	const char *arg_tag; /* declaration tag of its argument */
	int proto;
	struct bpf_insn *insns;
	int n;
};
#define INSNS(...) .insns = (struct bpf_insn[]){ __VA_ARGS__ }, .n = sizeof((struct bpf_insn[]){ __VA_ARGS__ }) / sizeof(struct bpf_insn)
#define ROOT(nm, ty, ...) { .name = nm, .type = ty, .global = 1, INSNS(__VA_ARGS__) }
#define ROOTE(nm, ty, ea, fl, ...) { .name = nm, .type = ty, .eatype = ea, .flags = fl, .global = 1, INSNS(__VA_ARGS__) }
#define SUB(nm, ...) { .name = nm, INSNS(__VA_ARGS__) }

#define EXPORT(nm, pr, ...) { .name = nm, .global = 1, .exported = 1, .proto = pr, INSNS(__VA_ARGS__) }
#define GLOBAL(nm, pr, ...) { .name = nm, .global = 1, .proto = pr, INSNS(__VA_ARGS__) }
/* call of function number k of the program whose FD is number i of fd_array */
#define CALL_PROG(i, k) BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_PROG_CALL, i, BTF_FUNC0 + (k))

struct load {
	struct bpf_prog_root roots[20];
	int nroots;
	int fds[20];
	int err;		/* 0 or errno */
	char *log;
	union bpf_attr attr;
	struct bpf_insn insns[MAX_INSNS];
	int ninsns;
};

struct func_info_record { uint32_t off, id; };

/* what BPF_OBJ_GET_INFO_BY_FD says of one root */
struct prog_view { struct bpf_prog_info i; uint32_t callees[64]; uint64_t ksyms[64]; uint32_t lens[64]; struct bpf_insn xl[2048]; int nx; struct func_info_record fi[64]; uint32_t maps[64]; unsigned char jit[65536]; };

extern char log_text[];
extern int opt_log_level, opt_prog_flags;
extern void (*tweak)(struct load *l);
extern struct load loaded;
extern struct prog_view view0, view1, view2;
/* counters: array of 1 x 128 bytes; plain array of 4 x 64 */
extern int counter_map, array_map;
extern int passed, failed;
/* nothing but the roots of accepted loads, each by itself: for kernels without roots */
extern bool opt_alone;
#define BTF_FUNC0 27

int bpf(int cmd, union bpf_attr *a, unsigned int sz);
int map_create(int type, int ks, int vs, int n, int flags);
int map_get(int fd, int key, void *val);
int map_set(int fd, int key, void *val);
int map_del(int fd, int key);
int btf_create(struct func *f, int n);
void load_prepare(struct load *l, struct func *f, int n);
int load_do(struct load *l);
void close_all(struct load *l);
char *tail_of(char *log);
int check(const char *name, struct func *f, int n, int err, const char *msg);
void check_alone(const char *name, struct func *f, int n);
int view_get(int fd, struct prog_view *p);
void counters_zero(void);
void counters_read(uint64_t *v);
int map_create_btf(int type, int ks, int vs, int n, int flags, int valid);
extern int fd_array[128];
void prepare_with_btf(struct func *f, int n);
int load_prepared(void);
int load_with_btf(struct func *f, int n);
int call_check(const char *name, struct func *f, int n, int err, const char *msg);
#define LIBRARY(f) load_with_btf(f, ARRAY_LEN(f))
#define CALL_REFUSE(name, f, err, msg) call_check(name, f, ARRAY_LEN(f), err, msg)
#define CALL_ACCEPT(name, f) call_check(name, f, ARRAY_LEN(f), 0, NULL)
void call_runs(const char *name, struct func *f, int n, int want);
#define CALL_RUNS(name, f, want) call_runs(name, f, ARRAY_LEN(f), want)
void no_log(struct load *l);
void drop_caps(uint64_t keep);
int load_single(int type, int eatype, struct bpf_insn *in, int n, int fl);
int kallsyms_count(const char *suffix);
int count_progs(void);
int count_fds(void);
int test_run_full(int fd, void *in, int inlen, void *ctx, int ctxlen, void *out, int outlen, int *retval);
int test_run(int fd, int *rv);
int readint(const char *p);
int writestr(const char *p, const char *s);
int attach_kprobe(int prog, const char *sym);
int attach_tp(int prog, const char *cat_name);
void enter_cgroup(void);
int cgroup_attach(int prog, int type, int detach);
void lo_up(void);
int udp_ping(int n);
void rcu_settle(void);
void set_comm(int n);
int kbtf_find(const char *name, int kind, const char *member);
void result(const char *name, bool ok, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void skip(const char *name, const char *why);
int shared_ksym(struct prog_view *a, struct prog_view *b, uint64_t *addr);

#define ARRAY_LEN(f) (sizeof(f) / sizeof((f)[0]))
#define REFUSE(name, f, err, msg) check(name, f, ARRAY_LEN(f), err, msg)
#define ACCEPT(name, f) check(name, f, ARRAY_LEN(f), 0, NULL)
#define ACCEPT_CLOSE(name, f) do { check(name, f, ARRAY_LEN(f), 0, NULL); close_all(&loaded); } while (0)
#define DIFFERENT_CONTEXTS "same insn cannot be used with different contexts"
#define CALL_EXIT(k) CALL_FUNC(k), MOV_IMM(R0, 0), EXIT
#define INC(val_off) LD_VALUE(R2, counter_map, val_off), MOV_IMM(R3, 1), BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R2, R3, 0)
/* the example: kind 1 reads pt_regs->ip, 2 reads next_pid of sched_switch, 3 reads skb->len */
#define EXAMPLE_SUB SUB("bpf_subprog", \
	BPF_JMP_IMM(BPF_JNE, R1, 1, 6), \
		BPF_LDX_MEM(BPF_DW, R4, R2, 128), \
		LD_VALUE(R5, counter_map, 0), BPF_STX_MEM(BPF_DW, R5, R4, 64), MOV_IMM(R0, 1), BPF_JMP_A(14), \
	BPF_JMP_IMM(BPF_JNE, R1, 2, 6), \
		BPF_LDX_MEM(BPF_W, R4, R3, 56), \
		LD_VALUE(R5, counter_map, 8), BPF_STX_MEM(BPF_DW, R5, R4, 64), MOV_IMM(R0, 1), BPF_JMP_A(7), \
	BPF_JMP_IMM(BPF_JNE, R1, 3, 8), \
		BPF_LDX_MEM(BPF_W, R4, R2, 0), \
		LD_VALUE(R5, counter_map, 16), BPF_STX_MEM(BPF_DW, R5, R4, 64), MOV_IMM(R0, 1), BPF_JMP_A(0), \
	BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R5, R0, 0), EXIT, \
	MOV_IMM(R0, 0), EXIT)
#define EXAMPLE_KPROBE(sub) ROOT("kp_root", KPROBE, MOV_REG(R2, R1), MOV_IMM(R1, 1), MOV_IMM(R3, 0), CALL_FUNC(sub), MOV_IMM(R0, 0), EXIT)
#define EXAMPLE_TRACEPOINT(sub) ROOT("tp_root", TRACEPOINT, MOV_REG(R3, R1), MOV_IMM(R1, 2), MOV_IMM(R2, 0), CALL_FUNC(sub), MOV_IMM(R0, 0), EXIT)
#define EXAMPLE_CGROUP(sub) ROOTE("cg_root", CGROUP_SKB, BPF_CGROUP_INET_INGRESS, 0, MOV_REG(R2, R1), MOV_IMM(R1, 3), MOV_IMM(R3, 0), CALL_FUNC(sub), MOV_IMM(R0, 1), EXIT)

void example_cases(void);
void views_cases(void);
void state_cases(void);
void context_cases(void);
void helpers_cases(void);
void memory_cases(void);
void globals_cases(void);
void kfuncs_cases(void);
void maps_cases(void);
void returns_cases(void);
void layout_cases(void);
void tail_calls_cases(void);
void limits_cases(void);
void attributes_cases(void);
void privileges_cases(void);
void errors_cases(void);
void lifetime_cases(void);
void review_cases(void);
void progcall_cases(void);
void progcall_callee_cases(void);
void progcall_effects_cases(void);
void progcall_life_cases(void);
void progcall_review_cases(void);
void progcall_trust_cases(void);
void progcall_attack_cases(void);
void progcall_more_cases(void);

#endif
