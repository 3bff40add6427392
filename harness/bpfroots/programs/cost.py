"""The programs and steps that measure what a run costs.

A cell's figure is its root's, minus that of an empty program of the same kind: what is left is the
program alone, without the way to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bpfroots.programs.packets import PACKETS
from bpfroots.programs.protocol import Attach, Detach, Load, MeasureEvents, MeasureRuns, Step
from bpfroots.programs.roots import KINDS, RootKind

EMPTY_ROOT = "empty"


@dataclass(frozen=True)
class Sampling:
    """How often a root is run for a figure: ``samples`` times ``runs`` runs."""

    runs: int
    samples: int


#: For a machine that counts instructions: each run by itself, so that one that an interrupt has met, or that
#: took a rarer way (the end of a queue, the first time), differs from the others instead of being in a mean.
SINGLY = Sampling(1, 11)
#: For time, which nothing but a mean is any good for.
MEANS = Sampling(100, 7)

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


def steps(names: Sequence[str], kinds: Sequence[RootKind], sampling: Sampling = SINGLY) -> list[Step]:
    """Measure every root that can be: by test runs on every packet, or by events, attached alone: what
    others do on the same event would be in the maps that they share."""
    found: list[Step] = []
    for name, kind in zip(names, kinds, strict=True):
        if kind.test_run:
            found += [
                MeasureRuns(name, data.hex(), sampling.runs, sampling.samples) for data in PACKETS.values()
            ]
        elif kind.exact:
            event = kind.trigger
            found += [
                Attach(root=name),
                MeasureEvents(name, event.kind, sampling.runs, event.size, sampling.samples),
                Detach(root=name),
            ]
    return found


def load(order: Load, todo: list[Step]) -> Load:
    """The runner's ``order`` with other steps, from which nothing but figures comes back."""
    return msgspec.structs.replace(order, steps=todo, collect=())


def input_name(step: Step) -> str:
    """What a Measure step fed: a packet's name, or the kind of event."""
    if isinstance(step, MeasureEvents):
        return step.kind
    assert isinstance(step, MeasureRuns)  # noqa: S101
    return next(name for name, data in PACKETS.items() if data.hex() == step.data)
