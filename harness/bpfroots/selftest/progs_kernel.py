"""test_progs or test_maps on one kernel: its batches, its results, and new failures run again."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path

import msgspec

from bpfroots.jobs import crew
from bpfroots.jobs.schedule import guests_at_once
from bpfroots.machine import Accel, Machine
from bpfroots.machine.splats import Allowance, read_allowances
from bpfroots.progress import Progress, Task
from bpfroots.results import selftests as kept
from bpfroots.results.model import BAD, Step
from bpfroots.results.request import Selftests
from bpfroots.results.selftests import TEST_MAPS, TEST_PROGS, Tested, note_repeat
from bpfroots.results.store import RunStore, append_lines, cut_torn_line, run_folders
from bpfroots.selftest import progs_compare, progs_site
from bpfroots.selftest.maps_worker import MapsWorker
from bpfroots.selftest.progs_select import Selection
from bpfroots.selftest.progs_worker import AFTER, Finished, Limits, Worker
from bpfroots.settings import jobs

# A batch costs a clone and a start of the program, together a few seconds under emulation; a test that takes
# its guest down makes none of the others run again.
_BATCH_S = 60.0
_UNKNOWN_S = 4.0


class OnKernel:
    """One kernel of a run."""

    def __init__(
        self,
        store: RunStore,
        request: Selftests,
        site: progs_site.Site,
        selection: Selection,
        accel: Accel,
        progress: Progress,
    ) -> None:
        self._store = store
        self._request = request
        self._site = site
        self._selection = selection
        self._accel = accel
        self._progress = progress
        self._allowances = allowances(request)
        self._guests = site.guests(accel, progress)
        self._results = store.selftest(site.kernel.name, results_file(site.program))

    def run(self) -> list[Tested]:
        """All its tests, those included that were done before. Raises KernelError, InfraError."""
        selection = self._selection
        kernel, names, not_built = self._site.kernel, selection.names, self._site.report.tests
        cut_torn_line(self._results)
        title = f"guests    {kernel.name} ({kernel.release}, {self._accel.name}): {self._site.program}"
        found = kept.read(self._results)
        with self._progress.task(title, "tests") as task:
            done = {test.name for test in found}
            why = {name: f"not built: {reason}" for name, reason in not_built.items()} | selection.denied
            for name in [name for name in names if name in why and name not in done]:
                found.append(self._keep(Finished(Tested(name, "skip", why[name]))))
            missing = [name for name in names if name not in {test.name for test in found}]
            for finished in self._finished(batches(missing, durations(kernel.name))):
                found.append(self._keep(finished))
                task.update(len(found), len(names))
            self._conclude(found, task)
        order = {name: number for number, name in enumerate(names)}
        return sorted(found, key=lambda test: order.get(test.name, math.inf))

    def _guest(self) -> Machine:
        kernel = self._site.kernel
        machine = self._guests.boot(kernel, self._store.console(kernel.name), shape=self._site.shape)
        if self._allowances:
            machine.allow(self._allowances)
        return machine

    def repeat(self, found: Sequence[Tested], names: Set[str]) -> None:
        """Run those of ``names`` again that have failed, each alone in a fresh guest, and note what they
        come to. What took its guest down was run again already."""
        tests = names & set(self._selection.names)  # and not what went wrong after one
        todo = {test.name: test for test in found if test.name in tests}
        todo = {name: test for name, test in todo.items() if test.outcome == "fail" and not test.again}
        if not todo:
            return
        title = f"guests    {self._site.kernel.name}: new failures again, each alone"
        with self._progress.task(title, "tests") as task:
            for done, finished in enumerate(self._finished([[name] for name in todo]), 1):
                second = finished.tested
                # What goes wrong after the test is no pass of it.
                if test := todo.get(second.name.removeprefix(AFTER)):
                    note_repeat(test, second)
                    append_lines(self._results, msgspec.json.encode(test) + b"\n")
                task.update(done, len(todo))
            passed = sum(test.again == "pass" for test in todo.values())
            task.summary = f"{passed} of {len(todo)} pass"

    def _finished(self, todo: Sequence[list[str]]) -> Iterator[Finished]:
        slowdown = max(1.0, self._accel.slowdown_of(self._site.shape.cpus))
        limits = Limits(self._request.timeout_s * slowdown, slowdown, self._site.report.watchdog)
        if self._site.program == TEST_MAPS:
            # One program, whatever is asked for.
            names = [name for batch in todo for name in batch]
            log = self._store.selftest(self._site.kernel.name, f"{TEST_MAPS}.log")
            worker = MapsWorker(self._guest, limits, self._site.units, log)
            return crew.spread([worker], [names] if names else [])
        count = min(len(todo), guests_at_once(self._site.shape, self._request.guests or jobs()))
        workers = [Worker(self._guest, limits, self._selection) for _ in range(count)]
        return crew.spread(workers, todo)

    def _keep(self, finished: Finished) -> Tested:
        """Write a result down, and what the test said."""
        tested, kernel, program = finished.tested, self._site.kernel.name, self._site.program
        if finished.lines and tested.outcome in BAD:
            log = self._store.selftest(kernel, f"{program}-{tested.name.replace('/', '_')}.log")
            log.write_text("\n".join(finished.lines) + "\n")
            tested.log = str(log.relative_to(self._store.path))
        append_lines(self._results, msgspec.json.encode(tested) + b"\n")
        return tested

    def _conclude(self, found: Sequence[Tested], task: Task) -> None:
        counts = progs_compare.counts(found)
        task.summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        bad = sum(test.outcome in BAD for test in found)
        self._store.add_step(
            Step(
                program=self._site.program,
                case=f"kernel/{self._site.program}",
                kernel=self._site.kernel.name,
                outcome="fail" if bad else "pass",
                reason=f"{bad} of {len(found)} tests failed" if bad else "",
            )
        )


def allowances(request: Selftests) -> list[Allowance]:
    """Splats that are no failure. Raises UserError for a list that cannot be read."""
    return [line for path in request.splat_allow for line in read_allowances(Path(path))]


def results_file(program: str) -> str:
    """In the folder of a kernel: a line per test."""
    return f"{program}.jsonl"


def durations(kernel: str) -> dict[str, float]:
    """Seconds that each test took the last time, on that kernel if it was run there."""
    for folder in reversed(run_folders()):
        name = results_file(TEST_PROGS)
        places = [folder / "selftests" / kernel / name, *folder.glob(f"selftests/*/{name}")]
        if found := next((tests for path in places if (tests := kept.read(path))), None):
            return {test.name: test.seconds for test in found if test.seconds}
    return {}


def batches(names: Sequence[str], seconds: dict[str, float]) -> list[list[str]]:
    """Tests that one guest runs, each batch in the program's order; those that take longest come first."""
    order = {name: number for number, name in enumerate(names)}
    cost: Callable[[str], float] = functools.partial(_cost, seconds)
    found: list[list[str]] = []
    for name in sorted(names, key=cost, reverse=True):
        # The one that is full soonest; a long test fills one by itself.
        fits = (batch for batch in found if sum(map(cost, batch)) + cost(name) <= _BATCH_S)
        if (batch := next(fits, None)) is None:
            found.append(batch := [])
        batch.append(name)
    return [sorted(batch, key=order.__getitem__) for batch in found]


def _cost(seconds: dict[str, float], name: str) -> float:
    return seconds.get(name, _UNKNOWN_S)
