// SPDX-License-Identifier: GPL-2.0-only
/* A load's steps, in order, up to the first that fails. */
#include "runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct attached {
	const char *root;
	struct attachment attachment;
	struct attached *next;
};

struct context {
	struct bpf_object *obj;
	struct result *result;
	struct attached *attached;
	int step;
};

static struct bpf_program *find_root(struct context *ctx, const char *name)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(ctx->obj, name);

	if (!prog || bpf_program__fd(prog) < 0) {
		fail(ctx->result, "step %d: no program '%s'", ctx->step, name);
		return NULL;
	}
	return prog;
}

static int step_attach(struct context *ctx, json_t *json)
{
	const char *root = "", *target = "", *op;
	struct attached *attached;
	struct bpf_program *prog;

	if (json_unpack(json, "{s:s, s:s, s?s !}", "op", &op, "root", &root, "target", &target))
		return -1;
	prog = find_root(ctx, root);
	if (!prog)
		return 0;
	attached = calloc(1, sizeof(*attached));
	attached->root = root;
	if (attach(prog, target, &attached->attachment)) {
		fail(ctx->result, "step %d: attach %s (%s): %s", ctx->step, root,
		     bpf_program__section_name(prog), errno_name(errno));
		free(attached);
		return 0;
	}
	attached->next = ctx->attached;
	ctx->attached = attached;
	return 0;
}

static int step_detach(struct context *ctx, json_t *json)
{
	struct attached **p, *found;
	const char *root, *op;
	bool any = false;

	if (json_unpack(json, "{s:s, s:s !}", "op", &op, "root", &root))
		return -1;
	for (p = &ctx->attached; (found = *p);) {
		if (strcmp(found->root, root)) {
			p = &found->next;
			continue;
		}
		any = true;
		detach(&found->attachment);
		*p = found->next;
		free(found);
	}
	if (!any)
		fail(ctx->result, "step %d: detach %s: it is not attached", ctx->step, root);
	return 0;
}

static int step_trigger(struct context *ctx, json_t *json)
{
	const char *kind, *op;
	int count = 1, size = 16;

	if (json_unpack(json, "{s:s, s:s, s?i, s?i !}", "op", &op, "kind", &kind, "count", &count, "size",
			&size) || count < 0 || size < 0)
		return -1;
	if (trigger(kind, count, size))
		fail(ctx->result, "step %d: trigger %s: %s", ctx->step, kind, errno_name(errno));
	return 0;
}

/*
 * An XDP program may move the packet's start back and its end forward, within the room
 * that net/bpf/test_run.c gives it; nothing comes back that is longer by more than this.
 */
#define DATA_OUT_ROOM 4096

/* What BPF_PROG_TEST_RUN takes: data and context in, room for data out. */
static int test_run_input(struct bpf_test_run_opts *opts, const char *data_hex, const char *ctx_hex, int repeat)
{
	void *data = NULL, *context = NULL;
	size_t data_len, context_len;

	if (json_unhex(data_hex, &data, &data_len) || json_unhex(ctx_hex, &context, &context_len)) {
		free(data);
		return -1;
	}
	if (data_len) {
		opts->data_in = data;
		opts->data_size_in = data_len;
		opts->data_size_out = data_len + DATA_OUT_ROOM;
		opts->data_out = malloc(opts->data_size_out);
	} else {
		free(data);
	}
	if (context_len) {
		opts->ctx_in = context;
		opts->ctx_size_in = context_len;
	} else {
		free(context);
	}
	/* 0 is one run as well, and all that types without repeat allow (raw_tp, syscall). */
	opts->repeat = repeat > 1 ? repeat : 0;
	return 0;
}

static void test_run_free(struct bpf_test_run_opts *opts)
{
	free((void *)opts->data_in);
	free((void *)opts->ctx_in);
	free(opts->data_out);
}

static int step_test_run(struct context *ctx, json_t *json)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	const char *root, *data = "", *context = "", *op;
	struct bpf_program *prog;
	int repeat = 1, err;

	if (json_unpack(json, "{s:s, s:s, s?s, s?s, s?i !}", "op", &op, "root", &root, "data", &data, "ctx", &context,
			"repeat", &repeat) ||
	    test_run_input(&opts, data, context, repeat))
		return -1;
	prog = find_root(ctx, root);
	if (prog) {
		err = bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) ? errno : 0;
		json_array_append_new(
			ctx->result->runs,
			json_pack("{s:s, s:i, s:I, s:I, s:o, s:i}", "root", root, "step", ctx->step, "retval",
				  (json_int_t)opts.retval, "duration_ns", (json_int_t)opts.duration, "data_out",
				  err || !opts.data_out ? json_string("") :
							  json_hex(opts.data_out, opts.data_size_out),
				  "errno", err));
	}
	test_run_free(&opts);
	return 0;
}

static int by_test_run(const struct measured *measured)
{
	return bpf_prog_test_run_opts(bpf_program__fd(measured->prog), measured->opts) ? -1 : 0;
}

static int by_event(const struct measured *measured)
{
	return trigger(measured->kind, measured->count, measured->size);
}

static void run_measured(struct context *ctx, struct measured *measured, const char *root, int samples)
{
	measured->obj = ctx->obj;
	measured->prog = find_root(ctx, root);
	if (measured->prog && measure(measured, samples, ctx->step, ctx->result))
		fail(ctx->result, "step %d: measure %s: %s", ctx->step, root, errno_name(errno));
}

static int step_measure_runs(struct context *ctx, json_t *json)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct measured measured = { .run = by_test_run, .opts = &opts };
	const char *root, *data = "", *op;
	int repeat = 1, samples = 1;

	if (json_unpack(json, "{s:s, s:s, s?s, s?i, s?i !}", "op", &op, "root", &root, "data", &data, "repeat", &repeat,
			"samples", &samples) ||
	    test_run_input(&opts, data, "", repeat))
		return -1;
	run_measured(ctx, &measured, root, samples);
	test_run_free(&opts);
	return 0;
}

static int step_measure_events(struct context *ctx, json_t *json)
{
	struct measured measured = { .run = by_event, .count = 1, .size = 16 };
	const char *root, *op;
	int samples = 1;

	if (json_unpack(json, "{s:s, s:s, s:s, s?i, s?i, s?i !}", "op", &op, "root", &root, "kind", &measured.kind,
			"count", &measured.count, "size", &measured.size, "samples", &samples))
		return -1;
	run_measured(ctx, &measured, root, samples);
	return 0;
}

static int step_read_maps(struct context *ctx, json_t *json)
{
	json_t *names = NULL, *name;
	struct bpf_map *map;
	const char *op;
	size_t i;

	if (json_unpack(json, "{s:s, s?o !}", "op", &op, "maps", &names) ||
	    (names && !json_is_array(names)))
		return -1;
	if (!json_array_size(names)) {
		bpf_object__for_each_map(map, ctx->obj)
			if (map_is_dumpable(map) && dump_map(map, ctx->step, ctx->result->maps))
				fail(ctx->result, "step %d: read map %s: %s", ctx->step, bpf_map__name(map),
				     errno_name(errno));
		return 0;
	}
	json_array_foreach(names, i, name) {
		const char *text = json_is_string(name) ? json_string_value(name) : "";

		map = bpf_object__find_map_by_name(ctx->obj, text);
		if (!map)
			fail(ctx->result, "step %d: no map '%s'", ctx->step, text);
		else if (dump_map(map, ctx->step, ctx->result->maps))
			fail(ctx->result, "step %d: read map %s: %s", ctx->step, text, errno_name(errno));
	}
	return 0;
}

static int run_step(struct context *ctx, json_t *json)
{
	static const struct {
		const char *op;
		int (*run)(struct context *ctx, json_t *json);
	} ops[] = {
		{ "attach", step_attach },
		{ "detach", step_detach },
		{ "trigger", step_trigger },
		{ "test_run", step_test_run },
		{ "read_maps", step_read_maps },
		{ "measure_runs", step_measure_runs },
		{ "measure_events", step_measure_events },
	};
	const char *op = json_string_value(json_object_get(json, "op"));
	size_t i;

	for (i = 0; op && i < ARRAY_SIZE(ops); i++)
		if (!strcmp(op, ops[i].op))
			return ops[i].run(ctx, json);
	return -1;
}

void run_steps(const struct load *load, struct bpf_object *obj, struct result *result)
{
	struct context ctx = { .obj = obj, .result = result };
	struct attached *next;
	int stats_fd = -1;
	json_t *step;
	size_t i;

	if (!json_array_size(load->steps))
		return;
	/* run_cnt counts while this is open. */
	stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	json_array_foreach(load->steps, i, step) {
		ctx.step = i;
		if (run_step(&ctx, step))
			fail(result, "step %d: not a step this runner knows", ctx.step);
		if (result->error[0])
			break;
	}
	for (; ctx.attached; ctx.attached = next) {
		next = ctx.attached->next;
		detach(&ctx.attached->attachment);
		free(ctx.attached);
	}
	if (stats_fd >= 0)
		close(stats_fd);
}
