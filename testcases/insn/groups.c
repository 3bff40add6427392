// SPDX-License-Identifier: GPL-2.0
#include "groups.h"

/*
 * The topics, in the order in which they run: loads with several roots, then calls of functions of
 * other programs.
 */
const struct insn_group *const groups[] = {
	&example_group,
	&views_group,
	&state_group,
	&context_group,
	&helpers_group,
	&memory_group,
	&globals_group,
	&kfuncs_group,
	&returns_group,
	&layout_group,
	&tail_calls_group,
	&limits_group,
	&sound_group,
	&features_group,
	&fixes_group,
	&packets_group,
	&frags_group,
	&maps_group,
	&attributes_group,
	&privileges_group,
	&errors_group,
	&lifetime_group,
	&call_code_group,
	&call_arguments_group,
	&call_types_group,
	&call_names_group,
	&call_exports_group,
	&call_privileges_group,
	&call_attach_group,
	&call_stack_group,
	&call_packets_group,
	&call_sleep_group,
	&call_restricted_group,
	&call_exceptions_group,
	&call_freplace_group,
	&call_lifetime_group,
	&call_groups_group,
	&call_races_group,
	&call_limits_group,
};

const int nr_groups = ARRAY_SIZE(groups);
