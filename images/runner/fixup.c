// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an object's own loader does before it loads it: sizes of maps, values of global variables. As veristat
 * (fixup_obj() and set_global_vars() in tools/testing/selftests/bpf/veristat.c), each with a remark.
 */
#include "runner.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void remark(struct result *result, const char *fmt, const char *name, unsigned int number)
{
	char text[256];

	snprintf(text, sizeof(text), fmt, name, number);
	if (result->remarks && !result->remarked)
		json_array_append_new(result->remarks, json_text(text, strlen(text)));
}

static bool needs_size(const struct bpf_map *map)
{
	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_SK_STORAGE:
	case BPF_MAP_TYPE_TASK_STORAGE:
	case BPF_MAP_TYPE_INODE_STORAGE:
	case BPF_MAP_TYPE_CGROUP_STORAGE:
	case BPF_MAP_TYPE_CGRP_STORAGE:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
	case BPF_MAP_TYPE_BLOOM_FILTER:
	case BPF_MAP_TYPE_STRUCT_OPS:
	/* libbpf: one entry for each CPU */
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
		return false;
	default:
		return !bpf_map__is_internal(map) && !bpf_map__max_entries(map);
	}
}

/*
 * An arena is mapped where there is room, and its address is a constant in its programs. How much libbpf has
 * mapped before differs from kernel to kernel. Selftests have theirs here as well (x86-64).
 */
#define ARENAS (1ULL << 44)
#define ARENA_MAX (1ULL << 32)

/* No map is pinned: it would stay, and the next load would find it. */
void fix_up(struct bpf_object *obj, struct result *result)
{
	unsigned long long arena = ARENAS;
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		unsigned int size = 1;

		if (bpf_map__pin_path(map) && !bpf_map__set_pin_path(map, NULL))
			remark(result, "map '%s' is not pinned", bpf_map__name(map), 0);
		if (bpf_map__type(map) == BPF_MAP_TYPE_ARENA && !bpf_map__map_extra(map) &&
		    !bpf_map__set_map_extra(map, arena)) {
			remark(result, "map '%s' gets the same address each time", bpf_map__name(map), 0);
			arena += ARENA_MAX;
		}
		if (!needs_size(map))
			continue;
		if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF || bpf_map__type(map) == BPF_MAP_TYPE_USER_RINGBUF)
			size = sysconf(_SC_PAGESIZE);
		if (!bpf_map__set_max_entries(map, size))
			remark(result, "map '%s' has no size: loaded with max_entries %u", bpf_map__name(map), size);
	}
}

/* The place of a global variable in the initial value of its section's map; NULL where there is none. */
static void *find_global(struct bpf_object *obj, const char *name, __u32 *type_id, size_t *size)
{
	const struct btf *btf = bpf_object__btf(obj);
	__u32 i, k;

	for (i = 1; btf && i < btf__type_cnt(btf); i++) {
		const struct btf_type *section = btf__type_by_id(btf, i);
		const struct btf_var_secinfo *info = btf_var_secinfos(section);
		struct bpf_map *map;
		char *value;

		for (k = 0; btf_is_datasec(section) && k < btf_vlen(section); k++, info++) {
			const struct btf_type *var = btf__type_by_id(btf, info->type);

			if (!btf_is_var(var) || strcmp(btf__name_by_offset(btf, var->name_off), name))
				continue;
			map = bpf_object__find_map_by_name(obj, btf__name_by_offset(btf, section->name_off));
			value = map ? bpf_map__initial_value(map, size) : NULL;
			if (!value || info->offset + info->size > *size)
				return NULL;
			*type_id = var->type;
			*size = info->size;
			return value + info->offset;
		}
	}
	return NULL;
}

/*
 * A program that counts what this process does, and not what the rest of the guest does, has a
 * global variable "target_tgid" (4 or 8 bytes) to compare with. Before the load, so .rodata will do.
 */
int set_target_tgid(struct bpf_object *obj)
{
	uint64_t pid = getpid();
	__u32 type_id;
	size_t size;
	void *place = find_global(obj, "target_tgid", &type_id, &size);

	if (place && size != 4 && size != 8) {
		snprintf(messages.cause, sizeof(messages.cause), "target_tgid is no integer of 4 or 8 bytes");
		return -EINVAL;
	}
	if (place)
		memcpy(place, &pid, size); /* the guest is little-endian */
	return 0;
}

static int set_global(struct bpf_object *obj, const char *name, const char *text, struct result *result)
{
	const struct btf *btf = bpf_object__btf(obj);
	long long number;
	__u32 type_id;
	size_t size;
	void *place = find_global(obj, name, &type_id, &size);
	const struct btf_type *type;
	char *end;

	if (!place) {
		fail(result, "-G %s: no global variable of that name", name);
		return -ENOENT;
	}
	type = btf__type_by_id(btf, btf__resolve_type(btf, type_id));
	while (btf_is_mod(type) || btf_is_typedef(type))
		type = btf__type_by_id(btf, type->type);
	if ((!btf_is_int(type) && !btf_is_any_enum(type)) || size > sizeof(number)) {
		fail(result, "-G %s: not an integer, bool or enum", name);
		return -EINVAL;
	}
	errno = 0;
	number = !strcmp(text, "true") ? 1 : !strcmp(text, "false") ? 0 : strtoll(text, &end, 0);
	if (strcmp(text, "true") && strcmp(text, "false") && (errno || !text[0] || *end)) {
		errno = 0;
		number = (long long)strtoull(text, &end, 0);
		if (errno || !text[0] || *end) {
			fail(result, "-G %s=%s: not a number, true or false", name, text);
			return -EINVAL;
		}
	}
	if (size < sizeof(number) && (number < -(1LL << (8 * size - 1)) || number >= 1LL << 8 * size)) {
		fail(result, "-G %s=%s: does not fit into %zu bytes", name, text, size);
		return -ERANGE;
	}
	memcpy(place, &number, size);
	return 0;
}

int set_globals(struct bpf_object *obj, json_t *globals, struct result *result)
{
	const char *name;
	json_t *value;
	int err;

	json_object_foreach(globals, name, value) {
		err = set_global(obj, name, json_string_value(value) ?: "", result);
		if (err)
			return err;
	}
	return 0;
}
