// SPDX-License-Identifier: GPL-2.0-only
/*
 * Real attachment, by links: they go when their file descriptor goes, whatever becomes of the
 * runner. The filters of tc on old kernels do not; a runner starts by removing those of others.
 */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/if_link.h>, which does not go together with <net/if.h> */
#define XDP_FLAGS_SKB_MODE (1U << 1)

static bool is_cgroup_type(enum bpf_prog_type type)
{
	switch (type) {
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_DEVICE:
	case BPF_PROG_TYPE_CGROUP_SYSCTL:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_SOCK_OPS:
		return true;
	default:
		return false;
	}
}

typedef struct bpf_link *(*attach_fn)(const struct bpf_program *prog, int fd);

/* To what @fd is; takes it over. NULL with errno set, also where @fd could not be opened. */
static struct bpf_link *attach_to_fd(const struct bpf_program *prog, attach_fn attach_to, int fd)
{
	struct bpf_link *link;
	int err;

	if (fd < 0)
		return NULL;
	link = attach_to(prog, fd);
	err = errno;
	close(fd);
	errno = err;
	return link;
}

/* Every context switch of this process. The link owns the event. */
static struct bpf_link *attach_perf_event(const struct bpf_program *prog)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CONTEXT_SWITCHES,
		.sample_period = 1,
	};
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	struct bpf_link *link;

	if (fd < 0)
		return NULL;
	link = bpf_program__attach_perf_event(prog, fd);
	if (!link)
		close(fd);
	return link;
}

/* A cls_bpf filter of a clsact queueing discipline, which is made for the first one. */
static int attach_filter(const struct bpf_program *prog, int ifindex, enum bpf_attach_type type,
			 struct tc_filter *filter)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(prog));
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	static int cleared;
	int err;

	if (cleared != ifindex) {
		bpf_tc_hook_destroy(&hook);	/* there need not be one */
		cleared = ifindex;
	}
	hook.attach_point = type == BPF_TCX_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
	err = bpf_tc_hook_create(&hook);
	if (!err || err == -EEXIST)
		err = bpf_tc_attach(&hook, &opts);
	if (err) {
		errno = -err;
		return -1;
	}
	*filter = (struct tc_filter){ ifindex, hook.attach_point, opts.handle, opts.priority };
	return 0;
}

static void detach_filter(const struct tc_filter *filter)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = filter->ifindex, .attach_point = filter->point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = filter->handle, .priority = filter->priority);

	bpf_tc_detach(&hook, &opts);
}

/*
 * By hand: libbpf's attach_xdp() takes no flags and would use a driver's own mode, which differs
 * between devices, and its attach_tcx() refuses SEC("tc"), which has no attach type.
 */
static int attach_device(const struct bpf_program *prog, const char *target,
			 struct attachment *attachment)
{
	unsigned int ifindex = if_nametoindex(target[0] ? target : "lo");
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	enum bpf_attach_type type = BPF_XDP;

	if (!ifindex)
		return -1;
	if (bpf_program__type(prog) == BPF_PROG_TYPE_XDP)
		opts.flags = XDP_FLAGS_SKB_MODE;
	else
		type = bpf_program__expected_attach_type(prog) ?: BPF_TCX_INGRESS;
	attachment->fd = bpf_link_create(bpf_program__fd(prog), ifindex, type, &opts);
	if (attachment->fd < 0 && errno == EINVAL && type != BPF_XDP)
		return attach_filter(prog, ifindex, type, &attachment->filter);
	return attachment->fd < 0 ? -1 : 0;
}

/* 0, or -1 with errno set. */
int attach(const struct bpf_program *prog, const char *target, struct attachment *attachment)
{
	enum bpf_prog_type type = bpf_program__type(prog);

	*attachment = (struct attachment){ .fd = -1 };
	if (type == BPF_PROG_TYPE_XDP || type == BPF_PROG_TYPE_SCHED_CLS)
		return attach_device(prog, target, attachment);
	if (is_cgroup_type(type))
		attachment->link = attach_to_fd(prog, bpf_program__attach_cgroup, cgroup_open());
	else if (type == BPF_PROG_TYPE_SOCKET_FILTER)
		attachment->fd = socket_attach(prog);
	else if (type == BPF_PROG_TYPE_SK_LOOKUP)
		attachment->link = attach_to_fd(prog, bpf_program__attach_netns,
						open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
	else if (type == BPF_PROG_TYPE_PERF_EVENT)
		attachment->link = attach_perf_event(prog);
	else
		attachment->link = bpf_program__attach(prog);
	return attachment->link || attachment->fd >= 0 ? 0 : -1;
}

void detach(struct attachment *attachment)
{
	bpf_link__destroy(attachment->link);
	if (attachment->fd >= 0)
		close(attachment->fd);
	if (attachment->filter.ifindex)
		detach_filter(&attachment->filter);
}
