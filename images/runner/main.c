// SPDX-License-Identifier: GPL-2.0-only
/* bpfroots-runner JOB.json: Hello, then Start and Loaded for each load, then Done. */
#include "runner.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

static void hello(json_t *probes)
{
	struct utsname uts;

	uname(&uts);
	emit(json_pack("{s:s, s:i, s:s, s:s, s:o}", "type", "hello", "version", PROTOCOL_VERSION,
		       "libbpf", libbpf_version_string(), "kernel", uts.release, "probes", probes));
}

/* True where @load asks for a mechanism that the kernel, or the runner's libbpf, does not know. */
static bool refuse(const struct load *load, const struct probes *probes)
{
	bool fd_name = !strcmp(load->mechanism, "fd_name");
	char error[128] = "";
	bool supported;

	if (!load->multi_root && !fd_name)
		return false;
	supported = load->multi_root ? probes->multi_root : probes->fd_name;
#ifdef HAVE_MULTI_ROOT
	if (load->multi_root && supported)
		return false;
#endif
	if (supported)
		snprintf(error, sizeof(error), "runner does not speak %s yet", load->mechanism);
	emit(json_pack("{s:s, s:s, s:s, s:s, s:b}", "type", "load", "id", load->id, "verdict", "reject",
		       "error", error, "unsupported", !supported));
	return true;
}

/* For a template: what the kernel does once, at its first load, and what is the same for every job. */
static int warm_up(void)
{
	struct probes probes;

	features_probe();
	probe_mechanisms(&probes);
	json_decref(probes.json);
	return symbols_keep() ? 1 : 0;
}

/*
 * Into the kernel log as well: whatever the kernel says next on its console, it says in this load. Opened
 * each time, because a file of /dev/kmsg takes ten lines in five seconds (kernel/printk/printk.c).
 */
static void started(const struct load *load)
{
	FILE *log = fopen("/dev/kmsg", "w");

	if (log) {
		fprintf(log, "<1>bpfroots: load %.200s\n", load->id);
		fclose(log);
	}
	emit(json_pack("{s:s, s:s}", "type", "start", "id", load->id));
}

int main(int argc, char **argv)
{
	struct probes probes;
	struct job job;
	size_t i;

	if (argc == 2 && !strcmp(argv[1], "awake"))
		return awake();
	if (argc == 2 && !strcmp(argv[1], "warm-up"))
		return warm_up();
	if (argc != 2) {
		fprintf(stderr, "usage: bpfroots-runner JOB.json\n");
		return 2;
	}
	if (job_read(argv[1], &job))
		return 2;
	/* Whoever reads is gone: end, rather than work for nobody. */
	signal(SIGPIPE, SIG_DFL);
	messages_init();
	features_probe();
	probe_mechanisms(&probes);
	hello(probes.json);
	for (i = 0; i < job.nr_loads; i++) {
		const struct load *load = &job.loads[i];

		started(load);
		if (!refuse(load, &probes))
			run_load(load);
	}
	emit(json_pack("{s:s, s:I}", "type", "done", "loads", (json_int_t)job.nr_loads));
	return 0;
}
