/* SPDX-License-Identifier: GPL-2.0 */
#ifndef GROUPS_H
#define GROUPS_H

#include "insn.h"

extern const struct insn_group example_group;
extern const struct insn_group views_group;
extern const struct insn_group state_group;
extern const struct insn_group context_group;
extern const struct insn_group helpers_group;
extern const struct insn_group memory_group;
extern const struct insn_group globals_group;
extern const struct insn_group kfuncs_group;
extern const struct insn_group maps_group;
extern const struct insn_group returns_group;
extern const struct insn_group layout_group;
extern const struct insn_group tail_calls_group;
extern const struct insn_group limits_group;
extern const struct insn_group sound_group;
extern const struct insn_group features_group;
extern const struct insn_group fixes_group;
extern const struct insn_group packets_group;
extern const struct insn_group frags_group;
extern const struct insn_group attributes_group;
extern const struct insn_group privileges_group;
extern const struct insn_group errors_group;
extern const struct insn_group lifetime_group;
extern const struct insn_group call_code_group;
extern const struct insn_group call_arguments_group;
extern const struct insn_group call_types_group;
extern const struct insn_group call_names_group;
extern const struct insn_group call_exports_group;
extern const struct insn_group call_privileges_group;
extern const struct insn_group call_attach_group;
extern const struct insn_group call_stack_group;
extern const struct insn_group call_packets_group;
extern const struct insn_group call_sleep_group;
extern const struct insn_group call_restricted_group;
extern const struct insn_group call_exceptions_group;
extern const struct insn_group call_freplace_group;
extern const struct insn_group call_lifetime_group;
extern const struct insn_group call_groups_group;
extern const struct insn_group call_races_group;
extern const struct insn_group call_limits_group;

#endif
