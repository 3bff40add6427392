"""A comparison of two kernels inside another run: a nightly job, a session of pytest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bpfroots.ab import page, text
from bpfroots.ab.model import WHATS, Findings
from bpfroots.ab.pair import Asked, compared
from bpfroots.jobs import run as job
from bpfroots.jobs.spec import CellSpec
from bpfroots.results.model import Cell
from bpfroots.results.request import Cases, Together
from bpfroots.results.store import RunStore


def write(
    store: RunStore, cells: Iterable[Cell], specs: Iterable[CellSpec], wanted: Asked, name: str = "ab"
) -> tuple[Findings, Path]:
    """Compare those cells of a run that are of ``specs``; the pages are in a folder of the run, ``name``."""
    keys = {spec.key for spec in specs}
    chosen = [cell for cell in cells if cell.key.anywhere in keys]
    found = compared(store, chosen, wanted)
    return found, page.write(store.path, found, chosen, name, name)


def of_cases(run: job.Run) -> tuple[Findings, Path] | None:
    """The comparison of a run of cases on two kernels; None of any other."""
    kernels = list(dict.fromkeys(info.argument for info in run.store.run.kernels))
    if len(kernels) != 2 or not isinstance(run.request.what, Cases):
        return None
    wanted = Asked((kernels[0], kernels[1]), Together((run.request.what,)), command=run.store.run.command)
    return write(run.store, run.cells, job.specs_of(run.request), wanted)


def unequal(found: Findings, cells: Iterable[Cell], mechanisms: Iterable[str]) -> list[str]:
    """Each program that is not the same on both kernels under one of ``mechanisms``, in a line: its verdict,
    work, code, log or result differs. A mechanism under which one of them passed no cell is not equal
    either: nothing was compared."""
    wanted = list(dict.fromkeys(mechanisms))
    passed = {(cell.mechanism, cell.kernel) for cell in cells if cell.outcome == "pass"}
    lines = [
        f"{mechanism}: nothing was compared"
        for mechanism in wanted
        if not {(mechanism, found.a.kernel), (mechanism, found.b.kernel)} <= passed
    ]
    for change in found.changes:
        if change.mechanism in wanted:
            said = "; ".join(f"{WHATS[one.what]} {text.value(one)}" for one in change.differences)
            lines.append(f"{change.name} ({change.mechanism}): {said}")
    return lines
