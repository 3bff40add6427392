/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The in-guest runner: loads BPF objects as a job file says and reports each load as one
 * line of JSON. The format of both is harness/bpfroots/programs/protocol.py.
 */
#ifndef BPFROOTS_RUNNER_H
#define BPFROOTS_RUNNER_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROTOCOL_VERSION 3

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum {
	COLLECT_LOG = 1 << 0,
	COLLECT_XLATED = 1 << 1,
	COLLECT_JITED = 1 << 2,
};

/* A BPF object file, in memory. */
struct object {
	const char *name;
	void *data;
	size_t size;
};

/* One load of the job. Strings belong to the job's JSON value. */
struct load {
	const char *id;
	const char *mechanism;
	bool multi_root;	/* that is the mechanism */
	bool prefer_groups;	/* duplicate, unless the kernel can do better */
	const struct object *object;
	const struct object *library;	/* whose functions the object calls, or NULL */
	const struct object *target;	/* whose functions its extensions replace, or NULL */
	json_t *roots;
	json_t *steps;
	json_t *globals;	/* values of global variables, by name, or NULL */
	bool fixups;		/* do what the object's own loader would */
	bool supports;		/* a library or target: none of its programs is a root */
	unsigned int collect;
	double timeout_s;
};

struct job {
	json_t *json;
	struct load *loads;
	size_t nr_loads;
	struct object *objects;
	size_t nr_objects;
};

/* What a load has come to: the arrays of protocol.py's Loaded, and the first error. */
struct result {
	json_t *loads;
	json_t *programs;
	json_t *runs;
	json_t *maps;
	json_t *costs;
	json_t *symbols;
	json_t *remarks;	/* of the first attempt; another does the same to the object */
	bool remarked;
	int nr_prog_loads;
	char error[512];
};

/* job.c */
int job_read(FILE *file, struct job *job);
bool load_is_root(const struct load *load, const char *name);

/* json.c */
json_t *json_text(const char *text, size_t len);
void set_value(json_t *object, const char *key, json_t *value);
void set_text(json_t *object, const char *key, const char *text);
void set_integer(json_t *object, const char *key, json_int_t value);
json_t *json_hex(const void *data, size_t len);
json_t *json_base64(const void *data, size_t len);
int json_unhex(const char *hex, void **data, size_t *len);
void put(json_t *json);
void put_now(json_t *json);
void emit(json_t *json);

/* message.c */
struct messages {
	char cause[512];	/* the last warning that says what went wrong */
	char prog[512];		/* the program, or programs "a+b", that it is about */
	char slot_target[128];	/* program a prog array could not be initialised with */
	char refused[512];	/* program that the kernel refused, or programs "a+b" */
};
extern struct messages messages;
void messages_init(void);
void messages_clear(void);
__attribute__((format(printf, 2, 3))) void fail(struct result *result, const char *fmt, ...);
const char *errno_name(int err);

/* probe.c */
struct probes {
	json_t *json;
	bool multi_root;
	bool fd_name;
};
void probe_mechanisms(struct probes *probes);
int probes_keep(void);

/* features.c */
void features_probe(void);
int awake(void);

/* symbols.c */
void symbols_load(void);
int symbols_keep(void);
const char *symbols_find(uint64_t addr);
uint64_t symbols_call_base(void);
void symbols_add(uint64_t addr, const char *name);

/* run.c */
void say_start(const struct load *load);
bool load_is_brief(const struct load *load);
size_t run_loads(const struct job *job, size_t first, size_t nr_loads);
int64_t load_time_left(const struct load *load);

/* prog_load.c */
struct prog_load {
	struct prog_load *next;
	int number;		/* by which programs and logs name it */
	size_t prog;		/* the program whose log buffer it had */
	int *fds;		/* what the kernel returned */
	size_t nr_fds;
	int err;		/* errno, 0 where it was accepted */
	char *notes;		/* statistics, and error messages of a refusal */
	bool whole;		/* the buffer has the log, which is not sent yet */
	bool truncated;		/* there was more of it */
	size_t log_size;
	struct bpf_prog_info info;	/* of what was accepted, without its arrays; or zeros */
	bool reported;
};
int prog_loads_begin(const struct load *load, struct bpf_object *obj, struct result *result);
void prog_loads_end(void);
struct prog_load *prog_load_of(const struct bpf_program *prog);
struct prog_load *prog_load_refused(void);
struct bpf_program *prog_load_program(const struct prog_load *found);
bool prog_load_is_verdict(const struct prog_load *found);
int prog_load_report(struct prog_load *found);

/* fixup.c */
void fix_up(struct bpf_object *obj, struct result *result);
int set_target_tgid(struct bpf_object *obj);
int set_globals(struct bpf_object *obj, json_t *globals, struct result *result);

/* load.c */
void load_object(const struct load *load, struct result *result);

/* collect.c */
json_t *collect_refused(const struct load *load, const struct bpf_program *prog, struct prog_load *found);
json_t *collect_unknown(const struct load *load, const struct bpf_program *prog, int err, const char *why);
json_t *collect_accepted(const struct load *load, const struct bpf_program *prog, struct result *result);

/* xlated.c */
struct xlated {
	const struct bpf_insn *insns;
	uint32_t nr_insns;
	const uint64_t *ksyms;
	uint32_t nr_ksyms;
	const struct btf *btf;
	const void *func_info;
	uint32_t nr_func_info;
	uint32_t func_info_rec_size;
};
json_t *xlated_text(const struct xlated *xlated);

/* cgroup.c: the runner's test cgroup, on cgroup v2 */
int cgroup_enter(void);
int cgroup_open(void);

/* steps.c */
void run_steps(const struct load *load, struct bpf_object *obj, struct result *result);

/* attach.c */
/* A filter of tc, for kernels that have no links for these programs (before 6.6). */
struct tc_filter {
	int ifindex;		/* 0 for none */
	enum bpf_tc_attach_point point;
	__u32 handle;
	__u32 priority;
};

struct attachment {
	struct bpf_link *link;	/* libbpf's, or */
	int fd;			/* the link itself; -1 for none; or */
	struct tc_filter filter;
};
int attach(const struct bpf_program *prog, const char *target, struct attachment *attachment);
void detach(struct attachment *attachment);

/* socket.c */
int socket_attach(const struct bpf_program *prog);
int socket_send(unsigned int count, unsigned int size);

/* trigger.c */
int trigger(const char *kind, unsigned int count, unsigned int size);

/* state.c */
struct state;
struct state *state_keep(const struct bpf_object *obj);
int state_restore(struct state *state);
void state_free(struct state *state);

/* cost.c */
struct measured {
	const struct bpf_object *obj;
	const struct bpf_program *prog;
	int (*run)(const struct measured *measured);	/* make it run; -1 with errno set */
	struct bpf_test_run_opts *opts;			/* by a test run, or */
	const char *kind;				/* by this event, */
	int count;					/* so many times */
	int size;
};
int measure(const struct measured *measured, int samples, int step, struct result *result);

/* maps.c */
int dump_map(const struct bpf_map *map, int step, json_t *dumps);
bool map_is_dumpable(const struct bpf_map *map);

#endif
