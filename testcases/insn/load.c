// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* The loader: functions of a case become one load, and what comes back is judged. */

#define MAX_CHECKS 1024
char log_text[LOG_SIZE];
int opt_log_level = 2;
int opt_prog_flags;
void (*tweak)(struct load *l);
struct load loaded;
struct prog_view view0, view1, view2;
int counter_map, array_map;
int passed, failed;
static const char *names[MAX_CHECKS];

int bpf(int cmd, union bpf_attr *a, unsigned int sz)
{
	return syscall(__NR_bpf, cmd, a, sz);
}

int map_create(int type, int ks, int vs, int n, int flags)
{
	union bpf_attr a;
	int fd;
	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = ks;
	a.value_size = vs;
	a.max_entries = n;
	a.map_flags = flags;
	fd = bpf(BPF_MAP_CREATE, &a, sizeof(a));
	if (fd < 0)
		printf("# map create type %d: %s\n", type, strerror(errno));
	return fd;
}

int map_get(int fd, int key, void *val)
{
	union bpf_attr a;
	memset(&a, 0, sizeof(a));
	a.map_fd = fd;
	a.key = (long)&key;
	a.value = (long)val;
	return bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a));
}

int map_set(int fd, int key, void *val)
{
	union bpf_attr a;
	memset(&a, 0, sizeof(a));
	a.map_fd = fd;
	a.key = (long)&key;
	a.value = (long)val;
	return bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a)) ? -errno : 0;
}

int map_del(int fd, int key)
{
	union bpf_attr a;
	memset(&a, 0, sizeof(a));
	a.map_fd = fd;
	a.key = (long)&key;
	return bpf(BPF_MAP_DELETE_ELEM, &a, sizeof(a)) ? -errno : 0;
}

void counters_zero(void)
{
	char z[128] = "";
	map_set(counter_map, 0, z);
}

void counters_read(uint64_t *v)
{
	map_get(counter_map, 0, v);
}

/*
 * Raw BTF: 1 int, 2 int(), 3 struct pt_regs, 4 pointer to 3, 5 int(struct pt_regs *),
 * 6 int(int), 7 void(), 9 int(int *), 12 int(struct xdp_md *), 15 int(struct __sk_buff *),
 * 18 int(struct bpf_dynptr *), 21 int(struct task_struct *), 24 int(struct sock *),
 * 25 int(struct __sk_buff *, int *), 26 int(struct __sk_buff *, struct bpf_dynptr *),
 * then one FUNC per function, and a tag for each that is exported.
 */
int btf_create(struct func *f, int n)
{
	static char buf[65536];
	static char str[16384];
	int slen = 1, i, fd;
	uint32_t *p;
	struct btf_header *h = (void *)buf;
	union bpf_attr a;
	static char blog[65536];
	memset(buf, 0, sizeof(buf));
	memset(str, 0, sizeof(str));
	p = (uint32_t *)(buf + sizeof(*h));
#define STRING(s)                      \
	({                             \
		int o = slen;          \
		strcpy(str + slen, s); \
		slen += strlen(s) + 1; \
		o;                     \
	})
#define WORD(x) (*p++ = (x))
	WORD(STRING("int"));
	WORD(BTF_KIND_INT << 24);
	WORD(4);
	WORD((BTF_INT_SIGNED << 24) | 32); /* 1 */
	WORD(0);
	WORD(BTF_KIND_FUNC_PROTO << 24 | 0);
	WORD(1); /* 2 */
	WORD(STRING("pt_regs"));
	WORD(BTF_KIND_STRUCT << 24 | 1);
	WORD(4);
	WORD(STRING("m"));
	WORD(1);
	WORD(0); /* 3 */
	WORD(0);
	WORD(BTF_KIND_PTR << 24);
	WORD(3); /* 4 */
	WORD(0);
	WORD(BTF_KIND_FUNC_PROTO << 24 | 1);
	WORD(1);
	WORD(STRING("ctx"));
	WORD(4); /* 5 */
	WORD(0);
	WORD(BTF_KIND_FUNC_PROTO << 24 | 1);
	WORD(1);
	WORD(STRING("a"));
	WORD(1); /* 6 */
	WORD(0);
	WORD(BTF_KIND_FUNC_PROTO << 24 | 0);
	WORD(0); /* 7: void() */
	/* 8 pointer to int, 9 int(int *); 10 struct xdp_md, 11 and 12 alike; the same for the others */
	static const char *const structs[] = { NULL, "xdp_md", "__sk_buff", "bpf_dynptr", "task_struct",
						 "sock" };
	int next = 8;
	for (i = 0; i < (int)ARRAY_LEN(structs); i++) {
		int target = 1;
		if (structs[i]) {
			WORD(STRING(structs[i]));
			WORD(BTF_KIND_STRUCT << 24 | 1);
			WORD(4);
			WORD(STRING("m"));
			WORD(1);
			WORD(0);
			target = next++;
		}
		WORD(0);
		WORD(BTF_KIND_PTR << 24);
		WORD(target);
		WORD(0);
		WORD(BTF_KIND_FUNC_PROTO << 24 | 1);
		WORD(1);
		WORD(STRING("p"));
		WORD(next); /* the pointer */
		next += 2;
	}
	for (i = 0; i < 2; i++) {
		WORD(0);
		WORD(BTF_KIND_FUNC_PROTO << 24 | 2);
		WORD(1);
		WORD(STRING("skb"));
		WORD(14);
		WORD(STRING("p"));
		WORD(i ? 17 : 8);
	}
	for (i = 0; i < n; i++) {
		static int protos[] = { 2, 5, 6, 7, 9, 12, 15, 18, 21, 24, 25, 26 };
		WORD(STRING(f[i].name));
		WORD(BTF_KIND_FUNC << 24 | (f[i].global ? BTF_FUNC_GLOBAL : BTF_FUNC_STATIC));
		WORD(protos[f[i].proto]);
	}
	for (i = 0; i < n; i++) {
		const char *tags[] = { f[i].exported ? "bpf_export" : NULL, f[i].arg_tag };
		for (int t = 0; t < 2; t++) {
			if (!tags[t])
				continue;
			WORD(STRING(tags[t]));
			WORD(BTF_KIND_DECL_TAG << 24);
			WORD(BTF_FUNC0 + i);
			WORD(t - 1);
		}
	}
	h->magic = BTF_MAGIC;
	h->version = 1;
	h->hdr_len = sizeof(*h);
	h->type_len = (char *)p - buf - sizeof(*h);
	h->str_off = h->type_len;
	h->str_len = slen;
	memcpy(p, str, slen);
	memset(&a, 0, sizeof(a));
	a.btf = (long)buf;
	a.btf_size = sizeof(*h) + h->type_len + slen;
	a.btf_log_buf = (long)blog;
	a.btf_log_size = sizeof(blog);
	a.btf_log_level = 1;
	fd = bpf(BPF_BTF_LOAD, &a, sizeof(a));
	if (fd < 0)
		printf("# btf: %s\n%s\n", strerror(errno), blog);
	return fd;
}

/* BTF of map values: 1 int, 2 struct bpf_spin_lock { int val; }, 3 struct v { struct bpf_spin_lock l; int x; } */
int map_create_btf(int type, int ks, int vs, int n, int flags, int valid)
{
	struct {
		struct btf_header h;
		uint32_t t[4 + 6 + 9];
		char s[64];
	} b;
	union bpf_attr a;
	int fd, m;
	memset(&b, 0, sizeof(b));
	uint32_t t[] = { 1,  BTF_KIND_INT << 24,
			 4,  BTF_INT_SIGNED << 24 | 32,
			 5,  BTF_KIND_STRUCT << 24 | 1,
			 4,  19,
			 1,  0,
			 23, BTF_KIND_STRUCT << 24 | 2,
			 8,  25,
			 2,  0,
			 27, 1,
			 32 };
	memcpy(b.t, t, sizeof(t));
	memcpy(b.s, "\0int\0bpf_spin_lock\0val\0v\0l\0x", 29);
	b.h.magic = BTF_MAGIC;
	b.h.version = 1;
	b.h.hdr_len = sizeof(b.h);
	b.h.type_len = sizeof(t);
	b.h.str_off = sizeof(t);
	b.h.str_len = 30;
	memset(&a, 0, sizeof(a));
	a.btf = (long)&b;
	a.btf_size = sizeof(b.h) + sizeof(t) + 30;
	fd = bpf(BPF_BTF_LOAD, &a, sizeof(a));
	if (fd < 0) {
		printf("# map btf %s\n", strerror(errno));
		return -1;
	}
	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = ks;
	a.value_size = vs;
	a.max_entries = n;
	a.map_flags = flags;
	a.btf_fd = fd;
	a.btf_key_type_id = 1;
	a.btf_value_type_id = valid;
	m = bpf(BPF_MAP_CREATE, &a, sizeof(a));
	if (m < 0)
		printf("# map %d %s\n", type, strerror(errno));
	close(fd);
	return m;
}
/* lay the functions out one after the other, resolve calls, describe the roots */
void load_prepare(struct load *l, struct func *f, int n)
{
	static struct func_info_record fi[256];
	int start[256], i, j, pos = 0;
	memset(l, 0, sizeof(*l));
	for (i = 0; i < n; i++) {
		start[i] = pos;
		fi[i].off = pos;
		fi[i].id = BTF_FUNC0 + i;
		pos += f[i].n;
	}
	l->ninsns = pos;
	for (i = 0; i < n; i++) {
		memcpy(l->insns + start[i], f[i].insns, f[i].n * 8);
		for (j = start[i]; j < start[i] + f[i].n; j++) {
			struct bpf_insn *in = &l->insns[j];
			if (in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL)
				in->imm = start[in->imm] - j - 1;
			if (in->code == (BPF_LD | BPF_DW | BPF_IMM)) {
				if (in->src_reg == BPF_PSEUDO_FUNC)
					in->imm = start[in->imm] - j - 1;
				j++;
			}
		}
		if (f[i].type) {
			struct bpf_prog_root *r = &l->roots[l->nroots++];
			r->insn_off = start[i];
			r->prog_type = f[i].type;
			r->expected_attach_type = f[i].eatype;
			r->prog_flags = f[i].flags;
			strncpy(r->prog_name, f[i].name, 15);
			r->fd = -7;
		}
	}
	l->attr.insns = (long)l->insns;
	l->attr.insn_cnt = l->ninsns;
	l->attr.license = (long)"GPL";
	l->attr.log_buf = (long)log_text;
	l->attr.log_size = LOG_SIZE;
	l->attr.log_level = opt_log_level;
	l->attr.prog_flags = opt_prog_flags;
	l->attr.prog_btf_fd = btf_create(f, n);
	l->attr.func_info = (long)fi;
	l->attr.func_info_cnt = n;
	l->attr.func_info_rec_size = 8;
	l->attr.roots = (long)l->roots;
	l->attr.root_cnt = l->nroots;
	l->attr.root_rec_size = sizeof(l->roots[0]);
	l->log = log_text;
	log_text[0] = 0;
}

int load_do(struct load *l)
{
	int i, r, btf = l->attr.prog_btf_fd;
	r = bpf(BPF_PROG_LOAD, &l->attr, sizeof(l->attr));
	l->err = r < 0 ? errno : 0;
	if (r > 0) {
		l->err = 9999;
	}
	for (i = 0; i < l->nroots && i < 20; i++)
		l->fds[i] = l->err ? -1 : l->roots[i].fd;
	close(btf);
	return l->err;
}

int fd_array[128];

/* an ordinary load of f[0] and what it calls, with BTF and fd_array */
void prepare_with_btf(struct func *f, int n)
{
	union bpf_attr *a = &loaded.attr;

	load_prepare(&loaded, f, n);
	a->prog_type = f[0].type;
	a->expected_attach_type = f[0].eatype;
	a->prog_flags = f[0].flags | opt_prog_flags;
	strncpy(a->prog_name, f[0].name, 15);
	a->roots = 0;
	a->root_cnt = 0;
	a->root_rec_size = 0;
	a->fd_array = (long)fd_array;
	loaded.nroots = 0;
}

/* FD or -errno */
int load_prepared(void)
{
	int r;

	if (tweak) {
		tweak(&loaded);
		tweak = NULL;
	}
	r = bpf(BPF_PROG_LOAD, &loaded.attr, sizeof(loaded.attr));
	r = r < 0 ? -errno : r;
	close(loaded.attr.prog_btf_fd);
	return r;
}

int load_with_btf(struct func *f, int n)
{
	prepare_with_btf(f, n);
	return load_prepared();
}

/* as check(), for an ordinary load; returns the FD, or -1 */
int call_check(const char *name, struct func *f, int n, int err, const char *msg)
{
	int fd = load_with_btf(f, n), got = fd < 0 ? -fd : 0;

	result(name, got == err && (!msg || strstr(log_text, msg)), "errno %d (%s), expected %d %s; log: %s",
	       got, got ? strerror(got) : "accepted", err, msg ? msg : "", tail_of(log_text));
	if (err && fd >= 0)
		close(fd);
	return err || fd < 0 ? -1 : fd;
}

/* it is accepted, and "ID/run": in a test run it returns @want */
void call_runs(const char *name, struct func *f, int n, int want)
{
	int fd = call_check(name, f, n, 0, NULL), ret = -1;
	char run[32];

	test_run(fd, &ret);
	snprintf(run, sizeof(run), "%.*s/run", (int)strcspn(name, " "), name);
	result(run, ret == want, "%d", ret);
	close(fd);
}

/* an ordinary user with no capabilities but @keep */
void drop_caps(uint64_t keep)
{
	struct {
		uint32_t v;
		int pid;
	} h = { 0x20080522, 0 };
	struct {
		uint32_t e, p, i;
	} d[2] = { { keep, keep, 0 }, { keep >> 32, keep >> 32, 0 } };

	prctl(PR_SET_KEEPCAPS, 1);
	if (setuid(1000) || syscall(__NR_capset, &h, d))
		perror("capset");
}

/* a tweak: no log at all */
void no_log(struct load *l)
{
	l->attr.log_level = 0;
	l->attr.log_size = 0;
	l->attr.log_buf = 0;
}

/* an ordinary load of one program, by the attributes of a kernel without roots */
int load_single(int type, int eatype, struct bpf_insn *in, int n, int fl)
{
	union bpf_attr a;
	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.expected_attach_type = eatype;
	a.insns = (long)in;
	a.insn_cnt = n;
	a.license = (long)"GPL";
	a.prog_flags = fl;
	a.log_buf = (long)log_text;
	a.log_size = LOG_SIZE;
	a.log_level = 1;
	int r = bpf(BPF_PROG_LOAD, &a, SINGLE_ATTR_SIZE);
	return r < 0 ? -errno : r;
}

void close_all(struct load *l)
{
	for (int i = 0; i < l->nroots; i++)
		if (l->fds[i] >= 0) {
			close(l->fds[i]);
			l->fds[i] = -1;
		}
}
/* one line per check; a name used again gets its number */
void result(const char *name, bool ok, const char *fmt, ...)
{
	char unique[96], seen[1024];
	va_list ap;
	int i, again = 1;

	if (opt_alone && !strstr(name, "/alone "))
		return;
	for (i = 0; i < passed + failed; i++)
		again += !strcmp(names[i], name);
	if (i == MAX_CHECKS)
		abort();
	names[i] = strdup(name);
	snprintf(unique, sizeof(unique), again > 1 ? "%s #%d" : "%s", name, again);
	if (ok) {
		passed++;
		printf("ok %s\n", unique);
		return;
	}
	failed++;
	va_start(ap, fmt);
	vsnprintf(seen, sizeof(seen), fmt, ap);
	va_end(ap);
	for (i = 0; seen[i]; i++)
		if (seen[i] == '\n')
			seen[i] = '|';
	printf("not ok %s: %s\n", unique, seen);
}
/* a check that this kernel's configuration does not allow: passes, and says so */
void skip(const char *name, const char *why)
{
	printf("# skip %s: %s\n", name, why);
	result(name, true, "%s", why);
}
/* what the verifier said last, without its statistics */
char *tail_of(char *log)
{
	static char t[400];
	int n = strlen(log);
	char *p = log;
	char *v = strstr(log, "processed ");
	if (v && v > log)
		n = v - log;
	if (n > 300) {
		p = log + n - 300;
		n = 300;
	}
	memcpy(t, p, n);
	t[n] = 0;
	return t;
}

/* expects errno err (0: accepted) and msg in the log; where accepted, loaded keeps the FDs */
int check(const char *name, struct func *f, int n, int err, const char *msg)
{
	bool ok;

	if (opt_alone) {
		tweak = NULL;
		loaded.nroots = 0;
		memset(loaded.fds, -1, sizeof(loaded.fds));
		if (!err)
			check_alone(name, f, n);
		return false;
	}
	load_prepare(&loaded, f, n);
	if (tweak) {
		tweak(&loaded);
		tweak = NULL;
	}
	load_do(&loaded);
	ok = loaded.err == err && (!msg || strstr(log_text, msg));
	result(name, ok, "errno %d (%s), expected %d %s; log: %s", loaded.err,
	       loaded.err ? strerror(loaded.err) : "accepted", err, msg ? msg : "", tail_of(log_text));
	/* what should have been refused must not count among the programs of later checks */
	if (err)
		close_all(&loaded);
	return ok;
}

int view_get(int fd, struct prog_view *p)
{
	union bpf_attr a;
	memset(&a, 0, sizeof(a));
	memset(p, 0, sizeof(*p));
	p->i.nr_jited_ksyms = 64;
	p->i.jited_ksyms = (long)p->ksyms;
	p->i.nr_jited_func_lens = 64;
	p->i.jited_func_lens = (long)p->lens;
	p->i.xlated_prog_len = sizeof(p->xl);
	p->i.xlated_prog_insns = (long)p->xl;
	p->i.nr_func_info = 64;
	p->i.func_info = (long)p->fi;
	p->i.func_info_rec_size = 8;
	p->i.nr_callee_ids = 64;
	p->i.callee_ids = (long)p->callees;
	p->i.nr_map_ids = 64;
	p->i.map_ids = (long)p->maps;
	p->i.jited_prog_len = sizeof(p->jit);
	p->i.jited_prog_insns = (long)p->jit;
	a.info.bpf_fd = fd;
	a.info.info_len = sizeof(p->i);
	a.info.info = (long)&p->i;
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)))
		return -errno;
	p->nx = p->i.xlated_prog_len / 8;
	return 0;
}
