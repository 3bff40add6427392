// SPDX-License-Identifier: GPL-2.0-only
/* bpfroots-runner <JOB: Hello, then Start and Loaded for each load, then Done. */
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

/* Can a kernel, and the runner's libbpf, do what @load asks for? If not, @error says what is not known of it. */
static bool knows(const struct load *load, const struct probes *probes, const char **error)
{
	*error = "";
	if (load->multi_root) {
		if (!probes->multi_root)
			return false;
#ifdef HAVE_MULTI_ROOT
		return true;
#endif
		*error = "runner does not speak multi_root yet";
		return false;
	}
	if (strcmp(load->mechanism, "fd_name"))
		return true;
	if (!probes->fd_name)
		return false;
#ifdef HAVE_PROG_CALL
	return true;
#endif
	*error = "runner does not speak fd_name yet";
	return false;
}

/* Run load @first, and those after it that can share its process; how many it has been. */
static size_t run_some(const struct job *job, size_t first, const struct probes *probes)
{
	const struct load *load = job->loads + first;
	const char *error, *ignored;
	size_t nr = 1;

	if (!knows(load, probes, &error)) {
		say_start(load);
		emit(json_pack("{s:s, s:s, s:s, s:b}", "type", "load", "id", load->id, "error", error, "unsupported",
			       !error[0]));
		return 1;
	}
	if (load_is_brief(load))
		while (first + nr < job->nr_loads && load_is_brief(load + nr) && knows(load + nr, probes, &ignored))
			nr++;
	return run_loads(job, first, nr);
}

/* For a template: what the kernel does once, at its first load, and what is the same for every job. */
static int warm_up(void)
{
	features_probe();
	return probes_keep() || symbols_keep() ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct probes probes;
	struct job job = {};
	size_t done = 0;

	if (argc == 2 && !strcmp(argv[1], "awake"))
		return awake();
	if (argc == 2 && !strcmp(argv[1], "warm-up"))
		return warm_up();
	if (argc != 1) {
		fprintf(stderr, "usage: bpfroots-runner <JOB\n");
		return 2;
	}
	if (job_read(stdin, &job))
		return 2;
	/* Whoever reads is gone: end. */
	signal(SIGPIPE, SIG_DFL);
	messages_init();
	probe_mechanisms(&probes);
	hello(probes.json);
	while (done < job.nr_loads)
		done += run_some(&job, done, &probes);
	emit(json_pack("{s:s, s:I}", "type", "done", "loads", (json_int_t)job.nr_loads));
	return 0;
}
