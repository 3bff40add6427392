"""A comparison of two kernels inside another run: a nightly job, a session of pytest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bpfroots.ab import page
from bpfroots.ab.model import Findings
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
