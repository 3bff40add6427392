// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* What the cases do to the guest around them, and what they look at in it. */

/* how many images have a symbol that ends so */
int kallsyms_count(const char *suffix)
{
	char line[512];
	int n = 0;
	FILE *f = fopen("/proc/kallsyms", "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *s = strstr(line, "bpf_prog_");
		if (!s)
			continue;
		s[strcspn(s, " \t\n")] = 0;
		int a = strlen(s), b = strlen(suffix);
		if (a > b && !strcmp(s + a - b, suffix))
			n++;
	}
	if (f)
		fclose(f);
	return n;
}

int count_progs(void)
{
	union bpf_attr a;
	int n = 0;
	unsigned id = 0;
	for (;;) {
		memset(&a, 0, sizeof(a));
		a.start_id = id;
		if (bpf(BPF_PROG_GET_NEXT_ID, &a, sizeof(a)))
			break;
		id = a.next_id;
		n++;
	}
	return n;
}

int count_fds(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int test_run_full(int fd, void *in, int inlen, void *ctx, int ctxlen, void *out, int outlen, int *retval)
{
	union bpf_attr a;
	memset(&a, 0, sizeof(a));
	a.test.prog_fd = fd;
	a.test.data_in = (long)in;
	a.test.data_size_in = inlen;
	a.test.repeat = inlen ? 1 : 0;
	a.test.ctx_in = (long)ctx;
	a.test.ctx_size_in = ctxlen;
	a.test.data_out = (long)out;
	a.test.data_size_out = outlen;
	if (bpf(BPF_PROG_TEST_RUN, &a, sizeof(a)))
		return -errno;
	*retval = a.test.retval;
	return 0;
}

int test_run(int fd, int *rv)
{
	char pkt[64] = { 1, 2, 3, 4 };
	pkt[12] = 8;
	return test_run_full(fd, pkt, 64, NULL, 0, NULL, 0, rv);
}

int readint(const char *p)
{
	char b[32] = "";
	int fd = open(p, O_RDONLY);
	if (fd < 0)
		return -1;
	if (read(fd, b, 31) < 0) {
	}
	close(fd);
	return atoi(b);
}

int writestr(const char *p, const char *s)
{
	int fd = open(p, O_WRONLY);
	int r;
	if (fd < 0)
		return -errno;
	r = write(fd, s, strlen(s)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

int perf_open(struct perf_event_attr *pa)
{
	return syscall(__NR_perf_event_open, pa, -1, 0, -1, 0);
}

int attach_perf(int pfd, int prog)
{
	if (ioctl(pfd, PERF_EVENT_IOC_SET_BPF, prog))
		return -errno;
	if (ioctl(pfd, PERF_EVENT_IOC_ENABLE, 0))
		return -errno;
	return 0;
}

int attach_kprobe(int prog, const char *sym)
{
	struct perf_event_attr pa = { .size = sizeof(pa) };
	int fd, e;
	pa.type = readint("/sys/bus/event_source/devices/kprobe/type");
	pa.config1 = (long)sym;
	fd = perf_open(&pa);
	if (fd < 0)
		return -errno;
	e = attach_perf(fd, prog);
	if (e) {
		close(fd);
		return e;
	}
	return fd;
}

int attach_tp(int prog, const char *cat_name)
{
	struct perf_event_attr pa = { .size = sizeof(pa), .type = PERF_TYPE_TRACEPOINT, .sample_period = 1 };
	int fd, e;
	char path[200];
	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", cat_name);
	pa.config = readint(path);
	fd = perf_open(&pa);
	if (fd < 0)
		return -errno;
	e = attach_perf(fd, prog);
	if (e) {
		close(fd);
		return e;
	}
	return fd;
}

#define OWN_CGROUP "/sys/fs/cgroup/insn"

/* One where nobody else's packets are counted: SSH comes through the root cgroup */
void enter_cgroup(void)
{
	int fd;
	mkdir(OWN_CGROUP, 0755);
	fd = open(OWN_CGROUP "/cgroup.procs", O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		perror(OWN_CGROUP);
	close(fd);
}

int cgroup_attach(int prog, int type, int detach)
{
	union bpf_attr a;
	int cg = open(OWN_CGROUP, O_RDONLY), r;
	memset(&a, 0, sizeof(a));
	a.target_fd = cg;
	a.attach_bpf_fd = prog;
	a.attach_type = type;
	a.attach_flags = detach ? 0 : BPF_F_ALLOW_MULTI;
	r = bpf(detach ? BPF_PROG_DETACH : BPF_PROG_ATTACH, &a, sizeof(a)) ? -errno : 0;
	close(cg);
	return r;
}

void lo_up(void)
{
	struct ifreq ifr;
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	memset(&ifr, 0, sizeof(ifr));
	strcpy(ifr.ifr_name, "lo");
	ioctl(s, SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &ifr))
		perror("lo");
	close(s);
}

int udp_ping(int n)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(5555),
				 .sin_addr.s_addr = htonl(0x7f000001) };
	int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0), got = 0;
	char b[32] = "hello";
	struct timeval tv = { 1, 0 };
	setsockopt(r, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (bind(r, (void *)&a, sizeof(a)))
		perror("bind");
	while (n--) {
		sendto(s, b, 20, 0, (void *)&a, sizeof(a));
		if (recv(r, b, 32, 0) == 20)
			got++;
	}
	close(r);
	close(s);
	return got;
}

/* programs are freed after grace periods: wait for some */
void rcu_settle(void)
{
	for (int i = 0; i < 6; i++) {
		syscall(__NR_membarrier, 1 /* GLOBAL */, 0, 0);
		usleep(60000);
	}
}

void set_comm(int n)
{
	char c[16];
	for (int i = 0; i < n; i++) {
		snprintf(c, 16, "mr%d", i);
		prctl(PR_SET_NAME, c);
		usleep(1000);
	}
}

static char *kernel_btf;
static struct btf_header *kernel_btf_header;

static int kbtf_init(void)
{
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	size_t n = 0, cap = 32 << 20;
	ssize_t r;
	if (fd < 0)
		return -1;
	kernel_btf = malloc(cap);
	while ((r = read(fd, kernel_btf + n, cap - n)) > 0)
		n += r;
	close(fd);
	kernel_btf_header = (void *)kernel_btf;
	return 0;
}
/* id of a type of the kernel, or the byte offset of its member; -1 if there is none */
int kbtf_find(const char *name, int kind, const char *member)
{
	uint32_t *p, *e;
	int id = 0;
	char *str;
	if (!kernel_btf && kbtf_init())
		return -1;
	p = (void *)(kernel_btf + kernel_btf_header->hdr_len + kernel_btf_header->type_off);
	e = (void *)((char *)p + kernel_btf_header->type_len);
	str = kernel_btf + kernel_btf_header->hdr_len + kernel_btf_header->str_off;
	while (p < e) {
		int k = (p[1] >> 24) & 31, vl = p[1] & 0xffff, kf = p[1] >> 31;
		uint32_t *t = p;
		id++;
		p += 3;
		switch (k) {
		case BTF_KIND_INT:
		case BTF_KIND_VAR:
		case BTF_KIND_DECL_TAG:
			p += 1;
			break;
		case BTF_KIND_ARRAY:
			p += 3;
			break;
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
		case BTF_KIND_DATASEC:
		case BTF_KIND_ENUM64:
			p += 3 * vl;
			break;
		case BTF_KIND_ENUM:
		case BTF_KIND_FUNC_PROTO:
			p += 2 * vl;
			break;
		}
		if (k != kind || strcmp(str + t[0], name))
			continue;
		if (!member)
			return id;
		for (int i = 0; i < vl; i++)
			if (!strcmp(str + t[3 + 3 * i], member))
				return (kf ? t[5 + 3 * i] & 0xffffff : t[5 + 3 * i]) / 8;
	}
	return -1;
}
