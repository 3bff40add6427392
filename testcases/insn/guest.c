// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include "insn.h"

/* What the cases do to the guest around them, and what they look at in it. */

#define OWN_CGROUP "/sys/fs/cgroup/insn"

/* How many images have a symbol that ends with @suffix. */
int kallsyms_count(const char *suffix)
{
	int n = 0, len = strlen(suffix), name_len;
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[512], *name;

	while (file && fgets(line, sizeof(line), file)) {
		name = strstr(line, "bpf_prog_");
		if (!name)
			continue;
		name[strcspn(name, " \t\n")] = 0;
		name_len = strlen(name);
		n += name_len > len && !strcmp(name + name_len - len, suffix);
	}
	if (file)
		fclose(file);
	return n;
}

int count_progs(void)
{
	union bpf_attr attr;
	__u32 id = 0;
	int n = 0;

	for (;;) {
		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (bpf(BPF_PROG_GET_NEXT_ID, &attr, sizeof(attr)))
			return n;
		id = attr.next_id;
		n++;
	}
}

int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

bool id_exists(__u32 id)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* What the kernel tells of an object. Returns 0 or -errno. */
int obj_info(int fd, void *info, int size)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = fd;
	attr.info.info_len = size;
	attr.info.info = (long)info;
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ? -errno : 0;
}

/* A test run, and the packet that it leaves. Returns 0 or -errno, -EMSGSIZE for another length. */
int test_run_copy(int fd, const void *packet, int len, void *out, int *retval)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = fd;
	attr.test.data_in = (long)packet;
	attr.test.data_size_in = len;
	attr.test.data_out = (long)out;
	attr.test.data_size_out = out ? len : 0;
	attr.test.repeat = 1;
	if (bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)))
		return -errno;
	*retval = attr.test.retval;
	return out && attr.test.data_size_out != len ? -EMSGSIZE : 0;
}

int test_run_packet(int fd, void *packet, int len, int *retval)
{
	return test_run_copy(fd, packet, len, NULL, retval);
}

/* A test run with an IPv4 packet of 64 bytes, which start with 1, 2, 3, 4. */
int test_run(int fd, int *retval)
{
	char packet[64] = { 1, 2, 3, 4, [12] = 8 };

	return test_run_packet(fd, packet, sizeof(packet), retval);
}

/* What a test run returns with a context of @size bytes, or -errno. */
int test_run_context(int fd, int size)
{
	static char ctx[256];
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = fd;
	attr.test.ctx_in = size ? (long)ctx : 0;
	attr.test.ctx_size_in = size;
	return bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)) ? -errno : (int)attr.test.retval;
}

int read_int(const char *path)
{
	int fd = open(path, O_RDONLY);
	char text[32] = "";
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n < 0 ? -1 : atoi(text);
}

int write_string(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), r;

	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int perf_event_open(struct perf_event_attr *attr)
{
	return syscall(__NR_perf_event_open, attr, -1, 0, -1, 0);
}

/* Returns the FD of the event, or -errno. */
static int attach_event(struct perf_event_attr *attr, int prog)
{
	int fd = perf_event_open(attr), err;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int attach_kprobe(int prog, const char *symbol)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };

	attr.type = read_int("/sys/bus/event_source/devices/kprobe/type");
	attr.config1 = (long)symbol;
	return attach_event(&attr, prog);
}

/* @name: CATEGORY/EVENT */
int attach_tracepoint(int prog, const char *name)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .type = PERF_TYPE_TRACEPOINT };
	char path[200];

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", name);
	attr.config = read_int(path);
	attr.sample_period = 1;
	return attach_event(&attr, prog);
}

static int link_create(union bpf_attr *attr)
{
	int r = bpf(BPF_LINK_CREATE, attr, sizeof(*attr));

	return r < 0 ? -errno : r;
}

/* Attach what was loaded for its target. Returns the FD of the link, or -errno. */
int attach_link(int prog, int type)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = prog;
	attr.link_create.attach_type = type;
	return link_create(&attr);
}

/* The same for an extension and function @k of a program, whatever it was loaded for. */
int attach_ext(int ext, int target, int k)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = ext;
	attr.link_create.target_fd = target;
	attr.link_create.target_btf_id = BTF_FUNC0 + k;
	return link_create(&attr);
}

/* A cgroup in which no one else's packets are counted: SSH comes through the root cgroup. */
void enter_cgroup(void)
{
	int fd;

	mkdir(OWN_CGROUP, 0755);
	fd = open(OWN_CGROUP "/cgroup.procs", O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		perror(OWN_CGROUP);
	close(fd);
}

static int cgroup_command(int command, int prog, int type, int flags)
{
	int cgroup = open(OWN_CGROUP, O_RDONLY), r;
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = cgroup;
	attr.attach_bpf_fd = prog;
	attr.attach_type = type;
	attr.attach_flags = flags;
	r = bpf(command, &attr, sizeof(attr)) ? -errno : 0;
	close(cgroup);
	return r;
}

int cgroup_attach(int prog, int type)
{
	return cgroup_command(BPF_PROG_ATTACH, prog, type, BPF_F_ALLOW_MULTI);
}

int cgroup_detach(int prog, int type)
{
	return cgroup_command(BPF_PROG_DETACH, prog, type, 0);
}

int pin(int fd, const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (long)path;
	attr.bpf_fd = fd;
	return bpf(BPF_OBJ_PIN, &attr, sizeof(attr)) ? -errno : 0;
}

int get_pinned(const char *path)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (long)path;
	return bpf(BPF_OBJ_GET, &attr, sizeof(attr));
}

void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	ioctl(s, SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &ifr))
		perror("lo");
	close(s);
}

/* Sends @n packets of 48 bytes, and returns how many arrive. */
int udp_ping(int n)
{
	int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0), got = 0;
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct timeval second = { 1, 0 };
	char text[32] = "hello";

	addr.sin_port = htons(5555);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(r, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	if (bind(r, (void *)&addr, sizeof(addr)))
		perror("bind");
	while (n--) {
		sendto(s, text, 20, 0, (void *)&addr, sizeof(addr));
		got += recv(r, text, sizeof(text), 0) == 20;
	}
	close(r);
	close(s);
	return got;
}

/* Programs are freed after grace periods: wait for some. */
void rcu_settle(void)
{
	int i;

	for (i = 0; i < 6; i++) {
		syscall(__NR_membarrier, 1 /* GLOBAL */, 0, 0);
		usleep(60000);
	}
}

/* Calls __set_task_comm() @n times. */
void set_comm(int n)
{
	char name[16];
	int i;

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "mr%d", i);
		prctl(PR_SET_NAME, name);
		usleep(1000);
	}
}
