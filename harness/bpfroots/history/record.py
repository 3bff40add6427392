"""What the history keeps of a run, cells and the tests of the kernel's tree, and what it says of a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import msgspec

from bpfroots.analysis.cell import results_digest
from bpfroots.analysis.compare import figures, refusal
from bpfroots.analysis.verifier_log import normalise
from bpfroots.errors import UserError
from bpfroots.history.database import History, State
from bpfroots.programs.protocol import Mechanism
from bpfroots.results.figures import NAMED
from bpfroots.results.key import Key, Keyed
from bpfroots.results.model import Cell, Outcome
from bpfroots.results.store import CELLS, RunStore, run_folders
from bpfroots.selftest.output import Test, read_tests

#: In place of a mechanism: a test of the kernel's tree, and what is done for a kernel beside cells.
SELFTEST, STEP = "selftest", "step"
_OUTCOMES = {"ok": "pass", "fail": "fail", "skip": "skip", "unknown": "infra_error"}


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
    return [*observe(store.cells()), *_observe_steps(store)]


def _observe_steps(store: RunStore) -> Iterator[tuple[Key, State]]:
    for step in store.steps():
        lost = step.outcome in ("guest_crash", "guest_hang")
        state = State(outcome=step.outcome, reason=normalise(step.reason), splat=step.reason if lost else "")
        yield Key(f"kernel/{step.what}", STEP, step.kernel), state
        if path := store.selftest_results(step):
            yield from observe_tests(step.what, step.kernel, read_tests(path))


def beside_cells(store: RunStore) -> list[Cell]:
    """What a run has beside cells, in their shape, for documents that know nothing but tests. A mechanism it
    has none of: there stands STEP or SELFTEST."""
    return [
        Cell(
            case=key.case,
            kernel=key.kernel,
            mechanism=cast(Mechanism, key.mechanism),
            outcome=cast(Outcome, state.outcome),
            reason=state.reason,
        )
        for key, state in dict(_observe_steps(store)).items()
    ]


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


def observe(cells: Iterable[Cell]) -> Iterator[tuple[Key, State]]:
    """What is kept of cells; of several attempts the first."""
    yield from ((cell.key, _state(cell)) for cell in cells if cell.attempt == 1)


def _state(cell: Cell) -> State:
    programs = [*cell.roots, *cell.targets]
    return State(
        outcome=cell.outcome,
        verdict=cell.verdict,
        reason=normalise(cell.reason),
        message=normalise(refusal(cell)) if cell.verdict == "reject" else "",
        splat=cell.reason if cell.outcome in ("guest_crash", "guest_hang") else "",
        result=results_digest(cell),
        code=" ".join(image.sha256[:8] for root in programs for image in root.jit.images),
        figures={name: value for name, value in figures(cell).items() if NAMED[name].recorded},
    )


def observe_tests(program: str, kernel: str, tests: Iterable[Test]) -> Iterator[tuple[Key, State]]:
    """What is kept of the tests of ``program`` (test_verifier) on a kernel.

    A test goes by its name, as its number is another one in the next tree; one that was not allowed to
    end says nothing. Where several have one name they are counted.
    """
    seen: Counter[str] = Counter()
    for test in tests:
        name = f"{program}/{test.name} [{test.user}]"
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name} {seen[name]}"
        failed = test.status == "fail"
        yield (
            Key(name, SELFTEST, kernel),
            State(outcome=_OUTCOMES[test.status], reason=normalise(test.lines[-1].strip()) if failed else ""),
        )
