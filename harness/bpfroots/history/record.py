"""What the history keeps of a run, cells and the tests of the kernel's tree, and what it says of a case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from bpfroots.analysis.cell import results_digest
from bpfroots.analysis.compare import figures, refusal
from bpfroots.analysis.verifier_log import normalise
from bpfroots.errors import UserError
from bpfroots.history.database import History, State
from bpfroots.results import selftests
from bpfroots.results.figures import NAMED
from bpfroots.results.key import Key, Keyed
from bpfroots.results.model import Cell, TestResult
from bpfroots.results.store import CELLS, RunStore, run_folders


class Span(msgspec.Struct, frozen=True):
    """``runs`` runs, one after the other, in which a cell was the same: from ``first`` to ``last``."""

    first: str
    last: str
    runs: int
    state: State


class CellHistory(Keyed, msgspec.Struct, frozen=True):
    """A cell over its runs, oldest first. ``artefacts`` is the newest folder of it that is still there."""

    case: str
    kernel: str
    mechanism: str
    spans: list[Span]
    artefacts: str = ""


def catch_up(history: History) -> list[str]:
    """Record every finished run in results/ that the history does not have; their names.

    A folder that cannot be read is passed over: nothing that was there before it is lost by that.
    """
    known = {run.name for run in history.runs()}
    recorded = []
    for folder in run_folders():
        if folder.name in known:
            continue
        try:
            store = RunStore.open(folder)
            seen = observe_run(store) if store.run.finished else []
        except UserError:
            continue
        if store.run.finished:
            history.record(store.run, seen)
            recorded.append(folder.name)
    return recorded


def observe_run(store: RunStore) -> list[tuple[Key, State]]:
    """What is kept of a run folder. Raises UserError where it is damaged."""
    return list(observe([*store.cells(), *beside_cells(store)]))


def beside_cells(store: RunStore) -> list[TestResult]:
    """What a run has beside cells: steps, and the tests of the kernel's tree."""
    found: list[TestResult] = []
    for step in store.steps():
        found.append(step)
        if path := store.selftest_results(step):
            found += selftests.of_step(step, path)
    return list({result.key: result for result in found}.values())


def of_case(history: History, case: str, results: Path) -> list[CellHistory]:
    """Every cell of a case; run folders are looked for in ``results``. Empty where it was never run."""
    names = {run.id: run.name for run in history.runs()}
    found = []
    for key, line in history.of_case(case).items():
        spans: list[Span] = []
        for run, state in line:
            name = names[run]
            if spans and spans[-1].state == state:
                spans[-1] = msgspec.structs.replace(spans[-1], last=name, runs=spans[-1].runs + 1)
            else:
                spans.append(Span(name, name, 1, state))
        folders = (results / names[run] / CELLS / key.path for run, _ in reversed(line))
        artefacts = next((str(folder) for folder in folders if folder.is_dir()), "")
        found.append(CellHistory(key.case, key.kernel, key.mechanism, spans, artefacts))
    return found


def observe(results: Iterable[TestResult]) -> Iterator[tuple[Key, State]]:
    """What is kept of cells and other tests; of several attempts the first."""
    for result in results:
        if result.attempt == 1:
            yield result.key, _state(result)


def _state(result: TestResult) -> State:
    state = State(
        outcome=result.outcome,
        reason=normalise(result.reason),
        splat=result.reason if result.outcome in ("guest_crash", "guest_hang") else "",
    )
    return _of_cell(result, state) if isinstance(result, Cell) else state


def _of_cell(cell: Cell, state: State) -> State:
    programs = cell.programs
    return msgspec.structs.replace(
        state,
        verdict=cell.verdict,
        message=normalise(refusal(cell)) if cell.verdict == "reject" else "",
        result=results_digest(cell),
        code=" ".join(image.sha256[:8] for root in programs for image in root.jit.images),
        figures={name: value for name, value in figures(cell).items() if NAMED[name].recorded},
    )
