// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * One line per check: "ok NAME", or "not ok NAME: what was seen"; "group NAME" ahead of
 * those of a group, and at the very end "done N" with the number of checks.
 */

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "example", example_cases }, { "views", views_cases },		  { "state", state_cases },
	{ "context", context_cases }, { "helpers", helpers_cases },	  { "memory", memory_cases },
	{ "globals", globals_cases }, { "kfuncs", kfuncs_cases },	  { "maps", maps_cases },
	{ "returns", returns_cases }, { "layout", layout_cases },	  { "tail_calls", tail_calls_cases },
	{ "limits", limits_cases },   { "attributes", attributes_cases }, { "privileges", privileges_cases },
	{ "errors", errors_cases },   { "lifetime", lifetime_cases },	  { "review", review_cases },
	{ "progcall", progcall_cases },
	{ "progcall callee", progcall_callee_cases },
	{ "progcall effects", progcall_effects_cases },
	{ "progcall life", progcall_life_cases },
	{ "progcall review", progcall_review_cases },
	{ "progcall trust", progcall_trust_cases },
	{ "progcall attack", progcall_attack_cases },
	{ "progcall more", progcall_more_cases },
};

/* a wrong expectation: must be reported as not ok */
static void twin(void)
{
	struct func f[] = { ROOT("r0", SOCKET_FILTER, MOV_IMM(R0, 0), EXIT),
			    ROOT("r1", SOCKET_FILTER, MOV_IMM(R0, 7), EXIT) };

	REFUSE("twin", f, EINVAL, NULL);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	counter_map = map_create(BPF_MAP_TYPE_ARRAY, 4, 128, 1, 0);
	array_map = map_create(BPF_MAP_TYPE_ARRAY, 4, 64, 4, 0);
	enter_cgroup();
	lo_up();
	opt_alone = argc > 1 && !strcmp(argv[1], "--alone");
	if (argc > 1 && !strcmp(argv[1], "--twin")) {
		printf("group twin\n");
		twin();
	} else
		for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
			printf("group %s\n", groups[i].name);
			groups[i].run();
		}
	printf("done %d\n", passed + failed);
	return failed != 0;
}
