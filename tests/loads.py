"""What a runner says of loads, for tests that judge or show it."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bpfroots.kernels import BootImage, Kernel
from bpfroots.programs.protocol import Loaded, LoadedProgram, ProgLoad


def kernel(name: str = "baseline", **changes: Any) -> Kernel:
    """A kernel of which nothing but its name matters."""
    made = Kernel(name, argument=name, key=name, release="", image=BootImage(Path("bzImage"), missing=()))
    return dataclasses.replace(made, **changes)


def loaded(
    programs: Sequence[LoadedProgram],
    *,
    groups: Sequence[Sequence[str]] = (),
    insns: Mapping[str, int] | int = 10,
    logs: Mapping[str, str] | None = None,
    **rest: Any,
) -> Loaded:
    """A load in which each program with a verdict has a BPF_PROG_LOAD of its own, but for those in a group.

    ``insns`` are what a load took, ``logs`` its whole log, by the name of its first program.
    """
    together = [
        *groups,
        *([program.name] for program in programs if not any(program.name in g for g in groups)),
    ]
    members: dict[str, int] = {}
    loads: list[ProgLoad] = []
    whole: dict[int, bytes] = {}
    for number, names in enumerate(together):
        first = next(program for program in programs if program.name == names[0])
        members |= dict.fromkeys(names, number if first.verdict else -1)
        if not first.verdict:
            continue
        count = insns if isinstance(insns, int) else insns[names[0]]
        accepted = first.verdict == "accept"
        notes = f"processed {count} insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 1"
        loads.append(ProgLoad(number, notes, 0 if accepted else 13, count if accepted else 0))
        if log := (logs or {}).get(names[0]):
            whole[number] = zlib.compress(log.encode())
    told = [msgspec.structs.replace(program, load=members[program.name]) for program in programs]
    return Loaded(**{"id": "x", "loads": loads, "programs": told, "logs": whole, **rest})
