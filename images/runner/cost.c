// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a run costs, in samples: protocol.py's MeasureRuns and MeasureEvents. In a machine with
 * -icount the kernel's nanoseconds are instructions.
 */
#include "runner.h"

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

/*
 * @samples times @measured->run, from the same state each time, and what the kernel counts for it.
 * Returns 0, or -1 with errno set.
 */
int measure(const struct measured *measured, int samples, int step, struct result *result)
{
	struct state *state = state_keep(measured->obj);
	json_t *found = json_array();
	int err = -1;

	json_array_append_new(result->costs, json_pack("{s:s, s:i, s:o}", "root", bpf_program__name(measured->prog),
						       "step", step, "samples", found));
	if (!state)
		return -1;
	while (samples--) {
		__u64 ns, count, ns_before, count_before;

		if (read_stats(measured->prog, &ns_before, &count_before) || measured->run(measured) ||
		    read_stats(measured->prog, &ns, &count) || state_restore(state))
			goto out;
		json_array_append_new(found, json_pack("[I, I]", (json_int_t)(ns - ns_before),
						       (json_int_t)(count - count_before)));
	}
	err = 0;
out:
	state_free(state);
	return err;
}
