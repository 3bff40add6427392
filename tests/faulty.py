"""Guests whose runner does harm as soon as it begins a certain load."""

from __future__ import annotations

from dataclasses import dataclass

from bpfroots.jobs.engine import Engine
from bpfroots.jobs.spec import CellSpec, ProgramFile
from bpfroots.kernels import Kernel
from bpfroots.machine import Machine
from bpfroots.programs.protocol import TestRun

SOURCE = b"""
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("xdp") int fine(struct xdp_md *ctx) { return XDP_PASS; }
"""
#: Runs of the poisoned cell's program: some seconds, so that the harm is done in their midst.
_REPEAT = 30_000_000

# In place of the runner: passes its lines on and, at the start of the load, does the harm.
_WRAPPER = """#!/bin/sh
/usr/bin/real-runner "$@" | while read -r line; do
\tprintf '%s\\n' "$line"
\tcase "$line" in '{"type": "start", "id": "POISON'*|'{"type":"start","id":"POISON'*) HARM ;; esac
done
"""


def cell(name: str, steps: list[TestRun] | None = None) -> CellSpec:
    """A cell of a program that does nothing."""
    return CellSpec(name, "duplicate", ["fine"], steps=list(steps or []), program=ProgramFile(SOURCE))


def poison(name: str = "poison/cell", repeat: int = _REPEAT) -> CellSpec:
    """A cell that takes long enough for the harm to come in its midst."""
    return cell(name, [TestRun("fine", data="00" * 64, repeat=repeat)])


@dataclass(frozen=True)
class Harm:
    """``command`` is a line of the guest's shell. ``hangs``: it may leave a guest that never answers."""

    command: str
    load: str = "poison/cell"
    hangs: bool = True

    def plant(self, machine: Machine) -> Machine:
        script = _WRAPPER.replace("POISON", self.load).replace("HARM", self.command)
        done = machine.output(
            "mv /usr/bin/bpfroots-runner /usr/bin/real-runner && cat > /usr/bin/bpfroots-runner"
            " && chmod +x /usr/bin/bpfroots-runner",
            stdin=script.encode(),
        )
        assert done.status == 0, done.stderr
        return machine


class FaultyEngine(Engine):
    """All of whose guests have the harm planted; they are counted."""

    harm: Harm
    booted: int

    def _boot(self, kernel: Kernel) -> Machine:
        self.booted += 1
        return self.harm.plant(super()._boot(kernel))
