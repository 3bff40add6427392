"""Roots that call a shared body against the same roots with a copy of their own (`duplicate`).

Sharing is for nothing at run time when the code is the same: the same instructions are run. Where the
body keeps what other roots need, the difference is those instructions, and a page lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from bpfroots.programs.protocol import Mechanism
from bpfroots.results.key import Keyed
from bpfroots.results.model import Cell, JitImage, Root

SHARING: tuple[Mechanism, ...] = ("multi_root", "fd_name")

#: What a root's figures say: "equal", under any code; "kept": other code, other figures; "helpers": the
#: same code, and a kernel function that it calls went another way; "unexplained": the same code, which
#: calls nothing, and other figures: then one of them is wrong.
Finding = Literal["equal", "kept", "helpers", "unexplained"]


class Held(Keyed, msgspec.Struct):
    """One root. ``same_code``: the normalised code of all its images is that of the copy.

    ``runs`` is per input [instructions per run, those of the copy], only where both were measured.
    ``more_bytes`` is of JITed code, against the copy.
    """

    case: str
    kernel: str
    mechanism: Mechanism
    root: str
    same_code: bool
    finding: Finding
    more_bytes: int = 0
    runs: dict[str, tuple[float, float]] = {}

    @property
    def more(self) -> tuple[float, float]:
        """The least and the most that a run takes more than with the copy; negative where less."""
        differences = [ours - copy for ours, copy in self.runs.values()] or [0.0]
        return min(differences), max(differences)

    @property
    def shown(self) -> list[tuple[str, float, float]]:
        """Inputs with [instructions per run, those of the copy]; inputs with the same figures as one."""
        inputs: dict[tuple[float, float], list[str]] = {}
        for name, figures in self.runs.items():
            inputs.setdefault(figures, []).append(name)
        return [(", ".join(names), *figures) for figures, names in inputs.items()]


class Sharing(msgspec.Struct):
    """All roots of one mechanism on one kernel for which both were measured.

    ``listed`` are those with other code or other figures.
    """

    kernel: str
    mechanism: Mechanism
    roots: int = 0
    same_code: int = 0
    findings: dict[Finding, int] = {}
    listed: list[Held] = []


def sharing(cells: Iterable[Cell]) -> list[Sharing]:
    """By kernel and mechanism; empty where instructions per run were not measured."""
    found: dict[tuple[str, Mechanism], Sharing] = {}
    for held in _held(list(cells)):
        total = found.setdefault((held.kernel, held.mechanism), Sharing(held.kernel, held.mechanism))
        total.roots += 1
        total.same_code += held.same_code
        total.findings[held.finding] = total.findings.get(held.finding, 0) + 1
        if held.finding != "equal" or not held.same_code:
            total.listed.append(held)
    return list(found.values())


def _held(cells: list[Cell]) -> Iterator[Held]:
    copies = {(cell.case, cell.kernel): cell for cell in cells if cell.mechanism == "duplicate"}
    for cell in cells:
        copy = copies.get((cell.case, cell.kernel))
        if copy is None or cell.mechanism not in SHARING or cell.verdict != "accept":
            continue
        others = {root.name: root for root in copy.roots}
        for root in cell.roots:
            if (other := others.get(root.name)) and (runs := _runs(root, other)):
                yield _hold(cell, root, _images(cell, root, other), other, runs)


def _runs(root: Root, other: Root) -> dict[str, tuple[float, float]]:
    copies = {run.input: run.insns_per_run for run in other.runs}
    return {
        run.input: (run.insns_per_run, copy)
        for run in root.runs
        if run.insns_per_run is not None and (copy := copies.get(run.input)) is not None
    }


def _images(cell: Cell, root: Root, other: Root) -> list[JitImage]:
    """What a root runs. Of a library that is what has the names of the copy's functions."""
    called = {image.symbol for image in other.jit.images[1:]}
    library = [image for target in cell.targets for image in target.jit.images[1:] if image.symbol in called]
    return [*root.jit.images, *{image.addr: image for image in library}.values()]


def _hold(
    cell: Cell, root: Root, images: list[JitImage], other: Root, runs: dict[str, tuple[float, float]]
) -> Held:
    same = [image.sha256 for image in images] == [image.sha256 for image in other.jit.images]
    if all(ours == copy for ours, copy in runs.values()):
        finding: Finding = "equal"
    elif not same:
        finding = "kept"
    else:
        finding = "helpers" if _calls_kernel(images) else "unexplained"
    sizes = [sum(image.bytes for image in found) for found in (images, other.jit.images)]
    return Held(cell.case, cell.kernel, cell.mechanism, root.name, same, finding, sizes[0] - sizes[1], runs)


def _calls_kernel(images: list[JitImage]) -> bool:
    return any(not target.startswith(("bpf_prog_", "+")) for image in images for target in image.calls)
