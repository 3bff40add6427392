// SPDX-License-Identifier: GPL-2.0-only
/* Map contents. */
#include "runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct entry {
	unsigned char *key, *value;
};

static size_t key_size_for_sort;

static int compare_keys(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return memcmp(x->key, y->key, key_size_for_sort);
}

static bool is_percpu(enum bpf_map_type type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* Is it part of a dump of all maps? Types with keys to walk and values that mean something. */
bool map_is_dumpable(const struct bpf_map *map)
{
	/* .rodata: no program writes to it, and the runner itself writes its pid. */
	if (bpf_map__is_internal(map) && bpf_map__map_flags(map) & BPF_F_RDONLY_PROG)
		return false;
	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LPM_TRIE:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_CGROUP_STORAGE:
		return bpf_map__fd(map) >= 0;
	default:
		return false;
	}
}

/* One value as it is reported: per-CPU values without the kernel's padding to 8 bytes. */
static int read_value(const struct bpf_map *map, const void *key, unsigned char *buffer, int nr_cpus)
{
	size_t size = bpf_map__value_size(map), padded = (size + 7) & ~7UL;
	int cpu;

	if (bpf_map_lookup_elem(bpf_map__fd(map), key, buffer))
		return -1;
	for (cpu = 1; is_percpu(bpf_map__type(map)) && cpu < nr_cpus; cpu++)
		memmove(buffer + cpu * size, buffer + cpu * padded, size);
	return 0;
}

static int read_entries(const struct bpf_map *map, int nr_cpus, struct entry **entries, size_t *count)
{
	size_t key_size = bpf_map__key_size(map), size = 0;
	size_t buffer_size = ((bpf_map__value_size(map) + 7) & ~7UL) * nr_cpus;
	const void *previous = NULL;

	for (;;) {
		struct entry entry = { malloc(key_size), malloc(buffer_size) };

		if (!entry.key || !entry.value)
			return -1;
		if (bpf_map_get_next_key(bpf_map__fd(map), previous, entry.key)) {
			free(entry.key);
			free(entry.value);
			return errno == ENOENT ? 0 : -1;
		}
		previous = entry.key;
		if (read_value(map, entry.key, entry.value, nr_cpus)) {
			free(entry.value);
			if (errno == ENOENT)
				continue; /* deleted since */
			return -1;
		}
		if (*count == size) {
			struct entry *grown;

			size = size ? 2 * size : 64;
			grown = realloc(*entries, size * sizeof(**entries));
			if (!grown)
				return -1;
			*entries = grown;
		}
		(*entries)[(*count)++] = entry;
	}
}

/* Append protocol.py's MapDump of @map to @dumps; -1 with errno set. */
int dump_map(const struct bpf_map *map, int step, json_t *dumps)
{
	size_t key_size = bpf_map__key_size(map), value_size = bpf_map__value_size(map), count = 0, i;
	enum bpf_map_type type = bpf_map__type(map);
	int nr_cpus = is_percpu(type) ? libbpf_num_possible_cpus() : 1;
	struct entry *entries = NULL;
	json_t *json;
	int err;

	err = read_entries(map, nr_cpus, &entries, &count);
	if (!err) {
		json = json_array();
		key_size_for_sort = key_size;
		/* Arrays come in order; their little-endian keys would not sort so. */
		if (type != BPF_MAP_TYPE_ARRAY && type != BPF_MAP_TYPE_PERCPU_ARRAY)
			qsort(entries, count, sizeof(*entries), compare_keys);
		for (i = 0; i < count; i++)
			json_array_append_new(json,
					      json_pack("{s:o, s:o}", "key", json_hex(entries[i].key, key_size),
							"value", json_hex(entries[i].value, value_size * nr_cpus)));
		json_array_append_new(dumps,
				      json_pack("{s:s, s:s, s:i, s:i, s:o, s:i}", "name", bpf_map__name(map),
						"type", libbpf_bpf_map_type_str(type), "key_size", (int)key_size,
						"value_size", (int)value_size, "entries", json, "step", step));
	}
	for (i = 0; i < count; i++) {
		free(entries[i].key);
		free(entries[i].value);
	}
	free(entries);
	return err;
}
