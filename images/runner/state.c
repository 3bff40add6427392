// SPDX-License-Identifier: GPL-2.0-only
/*
 * What programs leave behind that may send their next run another way, and putting it back: numbers in
 * arrays and variables, how full a ring buffer is, the place in the trace buffer. Not what has an
 * identity in the kernel (timers, entries of hash maps), which a first run makes.
 */
#include "runner.h"

#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct array {
	int fd;
	__u32 count;
	void *keys, *values;
	struct array *next;
};

struct state {
	struct array *arrays;
	struct ring_buffer *rings;
};

/* Of numbers, or the program's variables: any bytes will do there. */
static bool is_plain_array(const struct bpf_object *obj, const struct bpf_map *map)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf ? btf__resolve_type(btf, bpf_map__btf_value_type_id(map)) : -1;
	const struct btf_type *type = id > 0 ? btf__type_by_id(btf, id) : NULL;

	return bpf_map__type(map) == BPF_MAP_TYPE_ARRAY && map_is_dumpable(map) &&
	       (bpf_map__is_internal(map) || (type && btf_is_int(type)));
}

static int keep_array(struct state *state, const struct bpf_map *map)
{
	struct array *array = calloc(1, sizeof(*array));
	__u32 last;

	if (!array)
		return -1;
	array->next = state->arrays;
	state->arrays = array;
	array->fd = bpf_map__fd(map);
	array->count = bpf_map__max_entries(map);
	array->keys = calloc(array->count, sizeof(__u32));
	array->values = calloc(array->count, bpf_map__value_size(map));
	if (!array->keys || !array->values)
		return -1;
	/* ENOENT: there are no more. */
	return bpf_map_lookup_batch(array->fd, NULL, &last, array->keys, array->values, &array->count, NULL) &&
	       errno != ENOENT ? -1 : 0;
}

static int ignore(void *ctx, void *data, size_t size)
{
	(void)ctx;
	(void)data;
	(void)size;
	return 0;
}

static int keep_ring(struct state *state, const struct bpf_map *map)
{
	int fd = bpf_map__fd(map);

	if (state->rings)
		return ring_buffer__add(state->rings, fd, ignore, NULL) ? -1 : 0;
	state->rings = ring_buffer__new(fd, ignore, NULL, NULL);
	return state->rings ? 0 : -1;
}

static bool prints(const struct bpf_object *obj)
{
	struct bpf_program *prog;
	size_t i;

	bpf_object__for_each_program(prog, obj) {
		const struct bpf_insn *insns = bpf_program__insns(prog);

		for (i = 0; i < bpf_program__insn_cnt(prog); i++)
			if (insns[i].code == (BPF_JMP | BPF_CALL) && !insns[i].src_reg &&
			    (insns[i].imm == BPF_FUNC_trace_printk || insns[i].imm == BPF_FUNC_trace_vprintk))
				return true;
	}
	return false;
}

/* A line costs more where it begins a page of the buffer, and less in the first one. */
static int empty_trace(void)
{
	int fd = open("/sys/kernel/tracing/trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

/* What the programs of @obj have to find again; NULL with errno set. */
struct state *state_keep(const struct bpf_object *obj)
{
	struct state *state = calloc(1, sizeof(*state));
	int err = !state || (prints(obj) && empty_trace());
	const struct bpf_map *map = NULL;

	while (!err && (map = bpf_object__next_map(obj, map))) {
		if (is_plain_array(obj, map))
			err = keep_array(state, map);
		else if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
			err = keep_ring(state, map);
	}
	if (!err)
		return state;
	state_free(state);
	return NULL;
}

/* As it was, but for a few lines more in the trace buffer. Returns 0, or -1 with errno set. */
int state_restore(struct state *state)
{
	struct array *array;

	for (array = state->arrays; array; array = array->next) {
		__u32 count = array->count;

		if (bpf_map_update_batch(array->fd, array->keys, array->values, &count, NULL))
			return -1;
	}
	return state->rings && ring_buffer__consume(state->rings) < 0 ? -1 : 0;
}

void state_free(struct state *state)
{
	struct array *array, *next;
	int err = errno;

	for (array = state ? state->arrays : NULL; array; array = next) {
		next = array->next;
		free(array->keys);
		free(array->values);
		free(array);
	}
	if (state)
		ring_buffer__free(state->rings);
	free(state);
	errno = err;
}
