"""A root of a group against the same root loaded alone: are both the same program?

What the verifier finds dead is left out of a program (kernel/bpf/fixups.c, bpf_opt_remove_dead_code()). A
function that several roots share keeps what any of them needs. So each instruction of the root alone has to
be in the group, in the same function and order, rewritten to the same; what the group has beyond that is dead
for this root. Jumps do not count: one that always goes the same way is another instruction, or none, and how
far it goes depends on what is between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bpfroots.analysis import verifier_log
from bpfroots.results.model import Cell

_FUNCTION = re.compile(r"^(\S+):$")
_INSN = re.compile(r"^ *\d+: (\([0-9a-f]{2}\) .*)$")
_JUMP = re.compile(r"\bgoto\b|\bgotol\b")
_DISTANCE = re.compile(r"\bpc[+-]\d+|\bsubprog\[[+-]\d+\]")


def functions(xlated: str) -> dict[str, list[str]]:
    """Translated code as the runner prints it: the instructions of each function but for jumps, without what
    differs from load to load and what depends on the place of a function."""
    found: dict[str, list[str]] = {}
    insns: list[str] = found.setdefault("", [])
    for line in verifier_log.normalise(xlated).splitlines():
        if match := _FUNCTION.match(line):
            insns = found.setdefault(match[1], [])
        elif (match := _INSN.match(line)) and not _JUMP.search(match[1]):
            insns.append(_DISTANCE.sub("", match[1]))
    return {name: insns for name, insns in found.items() if insns}


def missing(alone: str, group: str) -> Iterator[str]:
    """The first instruction of each function of the root alone that the group does not have in its place."""
    others = functions(group)
    for name, insns in functions(alone).items():
        rest = iter(others.get(name, ()))
        first = next((insn for insn in insns if insn not in rest), None)
        if first is not None:
            yield f"{name}: {first}"


def unlike(run: Path, cells: Iterable[Cell]) -> list[str]:
    """Each root of an accepted group (``multi_root``) of a run that is not what it is alone (``duplicate``),
    in a line. Where nothing was compared, the only line says so."""
    known = {(cell.case, cell.kernel, cell.mechanism): cell for cell in cells if cell.verdict == "accept"}
    lines: list[str] = []
    compared = 0
    for (case, kernel, mechanism), cell in known.items():
        copy = known.get((case, kernel, "duplicate"))
        if mechanism != "multi_root" or copy is None:
            continue
        for root in cell.roots:
            alone, group = (_read(run, one, root.name) for one in (copy, cell))
            compared += 1
            said = [f"not in the group: {it}" for it in missing(alone, group)]
            if not alone or not group:
                said = ["no translated code to compare"]
            lines += [f"{case} {root.name} on {kernel}: {it}" for it in said]
    return lines if compared else ["multi_root and duplicate: nothing was compared"]


def _read(run: Path, cell: Cell, root: str) -> str:
    path = cell.artefacts.get(f"{root}.xlated.txt")
    return (run / path).read_text(errors="replace") if path else ""
