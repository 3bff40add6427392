"""The programs and steps that measure what a run costs.

A cell's figure is its root's, minus that of an empty program of the same kind: what is left is the
program alone, without the way to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.programs.packets import PACKETS
from harness.programs.protocol import Attach, Detach, Load, MeasureEvents, MeasureRuns, Step
from harness.programs.roots import KINDS, RootKind

EMPTY_ROOT = "empty"
# Enough for the fixed cost of a test run to vanish in the kernel's integer mean, few enough for a
# timer tick to meet one sample of them at most.
_REPEAT = 200
_EVENTS = 50
_SAMPLES = 7

_EMPTY = """\
// SPDX-License-Identifier: GPL-2.0-only
#define BPF_NO_PRESERVE_ACCESS_INDEX
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("{section}")
int {name}({ctx})
{{
	return {ret};
}}
"""


def empty_source(kind: RootKind) -> str:
    """A program of this kind that does nothing."""
    return _EMPTY.format(section=kind.section, name=EMPTY_ROOT, ctx=kind.ctx, ret=kind.ret)


def measured_kinds() -> list[RootKind]:
    """Kinds whose cost can be told: by test run, or because their events are the runner's alone."""
    return [kind for kind in KINDS.values() if kind.test_run or kind.exact]


def steps(names: Sequence[str], kinds: Sequence[RootKind]) -> list[Step]:
    """Measure every root that can be: by events, attached; by test runs on every packet."""
    pairs = list(zip(names, kinds, strict=True))
    by_event = [(name, kind) for name, kind in pairs if kind.exact and not kind.test_run]
    triggers = {kind.trigger.kind: kind.trigger for _, kind in by_event}
    return [
        *(Attach(root=name) for name, _ in by_event),
        *(MeasureEvents(kind, _EVENTS, trigger.size, _SAMPLES) for kind, trigger in triggers.items()),
        *(Detach(root=name) for name, _ in by_event),
        *(
            MeasureRuns(name, data.hex(), _REPEAT, _SAMPLES)
            for name, kind in pairs
            if kind.test_run
            for data in PACKETS.values()
        ),
    ]


def load(order: Load, todo: list[Step]) -> Load:
    """The runner's ``order`` with other steps, from which nothing but figures comes back."""
    return msgspec.structs.replace(order, steps=todo, collect=(), log_level=0)


def input_name(step: Step) -> str:
    """What a Measure step fed: a packet's name, or the kind of event."""
    if isinstance(step, MeasureEvents):
        return step.kind
    assert isinstance(step, MeasureRuns)  # noqa: S101
    return next(name for name, data in PACKETS.items() if data.hex() == step.data)
