// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does the kernel know a mechanism? Asked of the kernel itself with bpf(2), since neither libc's
 * nor libbpf's headers need know the new attributes.
 */
#include "runner.h"

#include <bpf/btf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BPF_PSEUDO_PROG_CALL 3

/* include/uapi/linux/bpf.h with the series applied */
struct prog_root {
	__u32 insn_off;
	__u32 prog_type;
	__u32 expected_attach_type;
	__u32 prog_flags;
	__u32 attach_btf_id;
	__u32 attach_btf_obj_fd;
	char prog_name[BPF_OBJ_NAME_LEN];
	__s32 fd;
	__u32 rsvd[3];
};

union roots_attr {
	union bpf_attr attr;
	struct {
		char old[168];
		__aligned_u64 roots;
		__u32 root_cnt;
		__u32 root_rec_size;
	};
};

#define ROOTS_ATTR_SIZE (offsetof(union roots_attr, root_rec_size) + sizeof(__u32))

_Static_assert(sizeof(struct prog_root) == 56, "struct bpf_prog_root");
_Static_assert(offsetof(union roots_attr, roots) == 168, "bpf_attr.roots");
_Static_assert(ROOTS_ATTR_SIZE == 184, "bpf_attr");

static int sys_bpf(int cmd, void *attr, unsigned int size)
{
	return syscall(SYS_bpf, cmd, attr, size);
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static json_t *probe_json(bool supported, int err, bool clean)
{
	return json_pack("{s:b, s:i, s:b}", "supported", supported, "errno", supported ? 0 : err,
			 "clean", clean);
}

/*
 * BTF with "int NAME(void)" for each name; func_info is mandatory for more than one root. @exported, if not
 * NULL, is the name of one that later programs can call.
 */
static struct btf *functions_btf(__u32 *ids, const char *const *names, int count, const char *exported)
{
	struct btf *btf = btf__new_empty();
	int type, i;

	if (!btf)
		return NULL;
	type = btf__add_func_proto(btf, btf__add_int(btf, "int", 4, BTF_INT_SIGNED));
	for (i = 0; i < count; i++) {
		bool global = exported && !strcmp(names[i], exported);

		ids[i] = btf__add_func(btf, names[i], global ? BTF_FUNC_GLOBAL : BTF_FUNC_STATIC, type);
		if (global)
			btf__add_decl_tag(btf, "bpf_export", ids[i], -1);
	}
	if (btf__load_into_kernel(btf)) {
		btf__free(btf);
		return NULL;
	}
	return btf;
}

static void probe_multi_root(json_t *json)
{
	static const char *const names[] = { "root_a", "root_b" };
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT },
	};
	struct prog_root roots[] = {
		{ .insn_off = 0, .prog_type = BPF_PROG_TYPE_KPROBE, .prog_name = "root_a", .fd = -1 },
		{ .insn_off = 2, .prog_type = BPF_PROG_TYPE_XDP, .prog_name = "root_b", .fd = -1 },
	};
	struct bpf_func_info infos[] = { { .insn_off = 0 }, { .insn_off = 2 } };
	union roots_attr attr;
	__u32 ids[ARRAY_SIZE(names)] = {};
	struct btf *btf = functions_btf(ids, names, ARRAY_SIZE(names), NULL);
	int fds, got, err;
	bool supported, clean;

	infos[0].type_id = ids[0];
	infos[1].type_id = ids[1];
	memset(&attr, 0, sizeof(attr));
	attr.roots = (uintptr_t)roots;
	attr.root_cnt = ARRAY_SIZE(roots);
	attr.root_rec_size = sizeof(roots[0]);
	attr.attr.insns = (uintptr_t)insns;
	attr.attr.insn_cnt = ARRAY_SIZE(insns);
	attr.attr.license = (uintptr_t)"GPL";
	if (btf) {
		attr.attr.prog_btf_fd = btf__fd(btf);
		attr.attr.func_info = (uintptr_t)infos;
		attr.attr.func_info_cnt = ARRAY_SIZE(infos);
		attr.attr.func_info_rec_size = sizeof(infos[0]);
	}
	fds = count_fds();
	got = sys_bpf(BPF_PROG_LOAD, &attr, ROOTS_ATTR_SIZE);
	err = errno;
	/* Success is 0 and one fd per root, never an fd: an fd means the attribute was overlooked. */
	supported = got == 0 && roots[0].fd >= 0 && roots[1].fd >= 0;
	clean = got < 0 && (err == E2BIG || err == EINVAL) && count_fds() == fds;
	if (got > 0)
		close(got);
	if (supported) {
		close(roots[0].fd);
		close(roots[1].fd);
	}
	btf__free(btf);
	json_object_set_new(json, "multi_root", probe_json(supported, got < 0 ? err : 0, clean));
}

static int load_raw(const struct bpf_insn *insns, unsigned int count, const struct btf *btf, __u32 id,
		    const int *fd_array)
{
	struct bpf_func_info info = { .insn_off = 0, .type_id = id };
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_KPROBE;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = count;
	attr.license = (uintptr_t)"GPL";
	attr.fd_array = (uintptr_t)fd_array;
	if (btf) {
		attr.prog_btf_fd = btf__fd(btf);
		attr.func_info = (uintptr_t)&info;
		attr.func_info_cnt = 1;
		attr.func_info_rec_size = sizeof(info);
	}
	return sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* The library: a root, and "lib_fn", an exported function, which the later program then names. */
static int load_library(struct btf **btf, __u32 *id)
{
	static const char *const names[] = { "lib_root", "lib_fn" };
	const struct bpf_insn insns[] = {
		{ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_func_info infos[] = { { .insn_off = 0 }, { .insn_off = 2 } };
	__u32 ids[ARRAY_SIZE(names)] = {};
	union bpf_attr attr;

	*btf = functions_btf(ids, names, ARRAY_SIZE(names), "lib_fn");
	if (!*btf)
		return -1;
	*id = ids[1];
	infos[0].type_id = ids[0];
	infos[1].type_id = ids[1];
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_KPROBE;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = ARRAY_SIZE(insns);
	attr.license = (uintptr_t)"GPL";
	attr.prog_btf_fd = btf__fd(*btf);
	attr.func_info = (uintptr_t)infos;
	attr.func_info_cnt = ARRAY_SIZE(infos);
	attr.func_info_rec_size = sizeof(infos[0]);
	return sys_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void probe_fd_name(json_t *json)
{
	static const char *const names[] = { "caller" };
	struct bpf_insn insns[] = {
		{ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_PROG_CALL },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct btf *library_btf = NULL, *btf;
	__u32 callee = 0, caller = 0;
	int library, fds, fd, err;
	bool clean;

	library = load_library(&library_btf, &callee);
	btf = functions_btf(&caller, names, ARRAY_SIZE(names), NULL);
	insns[0].imm = callee;
	fds = count_fds();
	fd = load_raw(insns, ARRAY_SIZE(insns), btf, caller, &library);
	err = errno;
	clean = fd < 0 && (err == E2BIG || err == EINVAL) && count_fds() == fds;
	if (fd >= 0)
		close(fd);
	if (library >= 0)
		close(library);
	btf__free(btf);
	btf__free(library_btf);
	json_object_set_new(json, "fd_name", probe_json(fd >= 0, err, clean));
}

/* What a template has asked, for its clones: they run the same kernel. */
#define KEPT "/run/bpfroots.probes"

int probes_keep(void)
{
	struct probes probes;
	int err;

	unlink(KEPT);
	probe_mechanisms(&probes);
	err = json_dump_file(probes.json, KEPT ".tmp", JSON_COMPACT);
	json_decref(probes.json);
	return err ?: rename(KEPT ".tmp", KEPT);
}

static bool is_supported(const json_t *probes, const char *name)
{
	return json_is_true(json_object_get(json_object_get(probes, name), "supported"));
}

void probe_mechanisms(struct probes *probes)
{
	probes->json = json_load_file(KEPT, 0, NULL);
	if (!probes->json) {
		probes->json = json_object();
		probe_multi_root(probes->json);
		probe_fd_name(probes->json);
	}
	probes->multi_root = is_supported(probes->json, "multi_root");
	probes->fd_name = is_supported(probes->json, "fd_name");
}
