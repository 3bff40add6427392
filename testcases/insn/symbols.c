// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* What instructions name: maps, functions of the kernel, members of its structures. */

static const char *const kfunc_names[] = {
	[KFUNC_bpf_cgroup_from_id - KFUNC_FIRST] = "bpf_cgroup_from_id",
	[KFUNC_bpf_cgroup_release - KFUNC_FIRST] = "bpf_cgroup_release",
	[KFUNC_bpf_copy_from_user_str - KFUNC_FIRST] = "bpf_copy_from_user_str",
	[KFUNC_bpf_dynptr_clone - KFUNC_FIRST] = "bpf_dynptr_clone",
	[KFUNC_bpf_dynptr_copy - KFUNC_FIRST] = "bpf_dynptr_copy",
	[KFUNC_bpf_dynptr_file_discard - KFUNC_FIRST] = "bpf_dynptr_file_discard",
	[KFUNC_bpf_dynptr_from_file - KFUNC_FIRST] = "bpf_dynptr_from_file",
	[KFUNC_bpf_dynptr_from_skb - KFUNC_FIRST] = "bpf_dynptr_from_skb",
	[KFUNC_bpf_dynptr_from_xdp - KFUNC_FIRST] = "bpf_dynptr_from_xdp",
	[KFUNC_bpf_dynptr_memset - KFUNC_FIRST] = "bpf_dynptr_memset",
	[KFUNC_bpf_dynptr_slice - KFUNC_FIRST] = "bpf_dynptr_slice",
	[KFUNC_bpf_dynptr_slice_rdwr - KFUNC_FIRST] = "bpf_dynptr_slice_rdwr",
	[KFUNC_bpf_iter_css_task_destroy - KFUNC_FIRST] = "bpf_iter_css_task_destroy",
	[KFUNC_bpf_iter_css_task_new - KFUNC_FIRST] = "bpf_iter_css_task_new",
	[KFUNC_bpf_iter_num_new - KFUNC_FIRST] = "bpf_iter_num_new",
	[KFUNC_bpf_obj_new_impl - KFUNC_FIRST] = "bpf_obj_new_impl",
	[KFUNC_bpf_preempt_disable - KFUNC_FIRST] = "bpf_preempt_disable",
	[KFUNC_bpf_preempt_enable - KFUNC_FIRST] = "bpf_preempt_enable",
	[KFUNC_bpf_rcu_read_lock - KFUNC_FIRST] = "bpf_rcu_read_lock",
	[KFUNC_bpf_rcu_read_unlock - KFUNC_FIRST] = "bpf_rcu_read_unlock",
	[KFUNC_bpf_rdonly_cast - KFUNC_FIRST] = "bpf_rdonly_cast",
	[KFUNC_bpf_throw - KFUNC_FIRST] = "bpf_throw",
	[KFUNC_bpf_wq_init - KFUNC_FIRST] = "bpf_wq_init",
	[KFUNC_bpf_wq_set_callback - KFUNC_FIRST] = "bpf_wq_set_callback",
	[KFUNC_bpf_wq_start - KFUNC_FIRST] = "bpf_wq_start",
	[KFUNC_bpf_xdp_pull_data - KFUNC_FIRST] = "bpf_xdp_pull_data",
	[KFUNC_crash_kexec - KFUNC_FIRST] = "crash_kexec",
};

static const char *const member_names[] = {
	[TASK_PID] = "pid",
	[TASK_REAL_PARENT] = "real_parent",
	[TASK_PI_TOP_TASK] = "pi_top_task",
};

static const struct map_kind {
	int type;
	int key_size;
	int value_size;
	int entries;
	int flags;
	/* BTF of the value: id of its type, and what makes the BTF */
	int value_type;
	int (*btf)(void);
	const char *special;	/* or the struct in it */
} kinds[] = {
	[MAP_COUNTERS - MAP_COUNTERS] = { BPF_MAP_TYPE_ARRAY, 4, 128, 1 },
	[MAP_ARRAY - MAP_COUNTERS] = { BPF_MAP_TYPE_ARRAY, 4, 64, 4 },
	[MAP_PERCPU_ARRAY - MAP_COUNTERS] = { BPF_MAP_TYPE_PERCPU_ARRAY, 4, 64, 4 },
	[MAP_HASH - MAP_COUNTERS] = { BPF_MAP_TYPE_HASH, 4, 8, 2 },
	[MAP_HASH_OF_INT - MAP_COUNTERS] = { BPF_MAP_TYPE_HASH, 4, 4, 4 },
	[MAP_PERF_EVENT_ARRAY - MAP_COUNTERS] = { BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2 },
	[MAP_PROG_ARRAY - MAP_COUNTERS] = { BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2 },
	[MAP_RINGBUF - MAP_COUNTERS] = { BPF_MAP_TYPE_RINGBUF, 0, 0, 4096 },
	[MAP_TASK_STORAGE - MAP_COUNTERS] = { BPF_MAP_TYPE_TASK_STORAGE, 4, 4, 0, BPF_F_NO_PREALLOC,
				    .value_type = 1, .btf = btf_of_lock },
	[MAP_SK_STORAGE - MAP_COUNTERS] = { BPF_MAP_TYPE_SK_STORAGE, 4, 4, 0, BPF_F_NO_PREALLOC,
				  .value_type = 1, .btf = btf_of_lock },
	[MAP_CGROUP_STORAGE - MAP_COUNTERS] = { BPF_MAP_TYPE_CGROUP_STORAGE,
				      sizeof(struct bpf_cgroup_storage_key), 8 },
	[MAP_CGROUP_STORAGE_2 - MAP_COUNTERS] = { BPF_MAP_TYPE_CGROUP_STORAGE,
					sizeof(struct bpf_cgroup_storage_key), 8 },
	[MAP_SPIN_LOCK - MAP_COUNTERS] = { BPF_MAP_TYPE_ARRAY, 4, 8, 1,
				 .value_type = 3, .btf = btf_of_lock },
	[MAP_TIMER - MAP_COUNTERS] = { BPF_MAP_TYPE_ARRAY, 4, 16, 1,
			     .value_type = 4, .special = "bpf_timer" },
	[MAP_WQ - MAP_COUNTERS] = { BPF_MAP_TYPE_ARRAY, 4, 16, 1,
			  .value_type = 4, .special = "bpf_wq" },
	[MAP_WQ_HASH - MAP_COUNTERS] = { BPF_MAP_TYPE_HASH, 4, 16, 1,
			       .value_type = 4, .special = "bpf_wq" },
	[MAP_INSN_ARRAY - MAP_COUNTERS] = { BPF_MAP_TYPE_INSN_ARRAY, 4,
				  sizeof(struct bpf_insn_array_value), 2 },
};

static int fds[ARRAY_SIZE(kinds)];

static int create(const struct map_kind *kind)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = kind->type;
	attr.key_size = kind->key_size;
	attr.value_size = kind->value_size;
	attr.max_entries = kind->entries;
	attr.map_flags = kind->flags;
	if (kind->value_type) {
		attr.btf_fd = kind->special ? btf_of_special(kind->special) : kind->btf();
		attr.btf_key_type_id = 1;
		attr.btf_value_type_id = kind->value_type;
	}
	fd = bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd < 0)
		printf("# map of type %d: %s\n", kind->type, strerror(errno));
	if (kind->value_type)
		close(attr.btf_fd);
	return fd;
}

int map_create(int type, int key_size, int value_size, int n, int flags)
{
	struct map_kind kind = { type, key_size, value_size, n, flags };

	return create(&kind);
}

/* An array for the program with this SHA-256 only. */
int map_create_exclusive(const unsigned char *hash)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	attr.excl_prog_hash = (long)hash;
	attr.excl_prog_hash_size = 32;
	return bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

/* The FD of an enum test_map, which is created if need be. */
int map_fd(int map)
{
	int i = map - MAP_COUNTERS;

	if (!fds[i])
		fds[i] = create(&kinds[i]);
	return fds[i];
}

/* The maps that stay. */
void maps_open(void)
{
	map_fd(MAP_COUNTERS);
	map_fd(MAP_ARRAY);
}

/* Close the maps of a case. */
void maps_close(void)
{
	size_t i;

	for (i = MAP_ARRAY + 1 - MAP_COUNTERS; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] > 0)
			close(fds[i]);
		fds[i] = 0;
	}
}

/* The BTF id of an enum test_kfunc; -1 if this kernel has no such function. */
int kfunc_id(int kfunc)
{
	static int ids[ARRAY_SIZE(kfunc_names)];
	int i = kfunc - KFUNC_FIRST;
	const char *name = kfunc_names[i];

	if (!ids[i])
		ids[i] = kernel_btf_find(name, BTF_KIND_FUNC, NULL);
	return ids[i];
}

static int member_offset(int member)
{
	static int offsets[ARRAY_SIZE(member_names)];

	if (!offsets[member])
		offsets[member] = kernel_btf_find("task_struct", BTF_KIND_STRUCT,
						  member_names[member]);
	return offsets[member];
}

/* Put FDs, ids and offsets in the place of names. */
void resolve_names(struct bpf_insn *insns, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		struct bpf_insn *insn = &insns[i];

		if (insn->code == (BPF_LD | BPF_DW | BPF_IMM)) {
			if ((insn->src_reg == BPF_PSEUDO_MAP_FD ||
			     insn->src_reg == BPF_PSEUDO_MAP_VALUE) && insn->imm < 0)
				insn->imm = map_fd(insn->imm);
			i++;
		} else if (insn->code == (BPF_JMP | BPF_CALL) &&
			   insn->src_reg == BPF_PSEUDO_KFUNC_CALL && insn->imm < 0) {
			insn->imm = kfunc_id(insn->imm);
		} else if (BPF_CLASS(insn->code) == BPF_LDX && insn->imm) {
			insn->off = member_offset(insn->imm);
			insn->imm = 0;
		}
	}
}

int map_get(int fd, int key, void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = (long)&key;
	attr.value = (long)value;
	return bpf(BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr));
}

int map_set(int fd, int key, const void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = (long)&key;
	attr.value = (long)value;
	return bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) ? -errno : 0;
}

int map_del(int fd, int key)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = (long)&key;
	return bpf(BPF_MAP_DELETE_ELEM, &attr, sizeof(attr)) ? -errno : 0;
}

void counters_zero(void)
{
	char zeroes[128] = "";

	map_set(map_fd(MAP_COUNTERS), 0, zeroes);
}

/* @values: 16 of them */
void counters_read(__u64 *values)
{
	map_get(map_fd(MAP_COUNTERS), 0, values);
}
