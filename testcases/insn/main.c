// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * insn [--alone | --twin]
 *
 * One line per check, see result.c; "group NAME" before those of a group, and at the very end
 * "done N" with the number of checks. --alone loads nothing but the roots of accepted loads,
 * each by itself, for kernels without multi-root loads.
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
	} else {
		for (i = 0; i < nr_groups; i++) {
			if (!strcmp(option, "--alone"))
				run_alone(groups[i]);
			else
				run_group(groups[i]);
		}
	}
	printf("done %d\n", passed + failed);
	return failed != 0;
}
