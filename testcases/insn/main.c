// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * insn [--alone | --alike | --twin]
 *
 * One line per check, see result.c; "group NAME" before those of a group, and at the very end
 * "done N" with the number of checks. --alone loads nothing but the roots of accepted loads,
 * each by itself, for kernels without multi-root loads. --alike runs each root in its load and
 * by itself, and compares what they do.
 */

/* a wrong expectation: must be reported as not ok */
static const struct insn_test twin = {
	.name = "twin",
	.funcs = {
		ROOT("r0", SOCKET_FILTER, RETURN(0)),
		ROOT("r1", SOCKET_FILTER, RETURN(7)),
	},
	.err = EINVAL,
};

/* Another value for each load. */
static void count_loads(void)
{
	static int loads;
	int values[16] = { ++loads };

	map_set(map_fd(MAP_ARRAY), 0, values);
}

#define RETURNS_VALUE LD_VALUE(R1, MAP_ARRAY, 0), BPF_LDX_MEM(BPF_W, R0, R1, 0), EXIT

/* roots that are not alike */
static const struct insn_test unlike = {
	.name = "unlike",
	.funcs = { ROOT("r0", TC, RETURNS_VALUE), ROOT("r1", TC, RETURN(7)) },
	.setup = count_loads,
};

static const struct insn_group unlike_group = { "unlike", &unlike, 1 };

int main(int argc, char **argv)
{
	const char *option = argc > 1 ? argv[1] : "";
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	maps_open();
	enter_cgroup();
	loopback_up();
	if (!strcmp(option, "--twin")) {
		printf("group twin\n");
		run_test(&twin);
		run_alike(&unlike_group);
	} else {
		for (i = 0; i < nr_groups; i++) {
			if (!strcmp(option, "--alone"))
				run_alone(groups[i]);
			else if (!strcmp(option, "--alike"))
				run_alike(groups[i]);
			else
				run_group(groups[i]);
		}
	}
	printf("done %d\n", passed + failed);
	return failed != 0;
}
