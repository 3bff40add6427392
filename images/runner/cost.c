// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a run costs, in samples: protocol.py's MeasureRuns and MeasureEvents. In a machine with
 * -icount the kernel's nanoseconds are instructions. A timer that fires inside a sample makes that
 * one larger; the reader takes the median.
 */
#include "runner.h"

#include <errno.h>
#include <stdlib.h>

static void add(struct result *result, const char *root, int step, json_t *samples)
{
	json_array_append_new(result->costs, json_pack("{s:s, s:i, s:o}", "root", root, "step", step, "samples",
						       samples));
}

/* The kernel's own mean over @repeat runs, @samples times. Returns 0, or an errno. */
int measure_runs(const struct bpf_program *prog, struct bpf_test_run_opts *opts, int samples, int step,
		 struct result *result)
{
	json_t *found = json_array();
	int err = 0;

	while (samples-- && !err) {
		err = bpf_prog_test_run_opts(bpf_program__fd(prog), opts) ? errno : 0;
		if (!err)
			json_array_append_new(found, json_pack("[I, I]", (json_int_t)opts->duration, (json_int_t)1));
	}
	add(result, bpf_program__name(prog), step, found);
	return err;
}

/* Run time and number of runs so far. They count while statistics are enabled. */
static int read_stats(const struct bpf_program *prog, __u64 *ns, __u64 *count)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		return -1;
	*ns = info.run_time_ns;
	*count = info.run_cnt;
	return 0;
}

/* Every program in @progs over @samples triggers of @count events. Returns 0, or -1 with errno set. */
int measure_events(struct bpf_program *const *progs, size_t nr_progs, const struct events *events, int step,
		   struct result *result)
{
	__u64 *ns = calloc(nr_progs + 1, sizeof(*ns)), *count = calloc(nr_progs + 1, sizeof(*count));
	json_t **found = calloc(nr_progs + 1, sizeof(*found));
	int sample, err = -1;
	size_t i;

	if (!ns || !count || !found)
		goto out;
	for (i = 0; i < nr_progs; i++) {
		found[i] = json_array();
		if (read_stats(progs[i], &ns[i], &count[i]))
			goto out;
	}
	for (sample = 0; sample < events->samples; sample++) {
		if (trigger(events->kind, events->count, events->size))
			goto out;
		for (i = 0; i < nr_progs; i++) {
			__u64 ns_before = ns[i], count_before = count[i];

			if (read_stats(progs[i], &ns[i], &count[i]))
				goto out;
			json_array_append_new(found[i], json_pack("[I, I]", (json_int_t)(ns[i] - ns_before),
								  (json_int_t)(count[i] - count_before)));
		}
	}
	err = 0;
out:
	for (i = 0; found && i < nr_progs; i++)
		if (found[i])
			add(result, bpf_program__name(progs[i]), step, found[i]);
	free(ns);
	free(count);
	free(found);
	return err;
}
