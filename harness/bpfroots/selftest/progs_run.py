"""test_progs or test_maps on several kernels, each of its own tree: every test once, in fresh guests."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bpfroots import exitcodes, kernels
from bpfroots.errors import BpfrootsError, KernelError, UserError
from bpfroots.history.database import History
from bpfroots.history.flaky import flaky
from bpfroots.history.record import catch_up
from bpfroots.jobs import crew
from bpfroots.jobs.reuse import tree_inputs
from bpfroots.jobs.run import describe, describe_host
from bpfroots.jobs.schedule import guests_at_once
from bpfroots.kernels import Request, selftests
from bpfroots.machine import Accel, Machine, choose_accel
from bpfroots.machine.splats import Allowance, read_allowances
from bpfroots.progress import Progress, Task
from bpfroots.report import junit, ktap
from bpfroots.results import selftests as kept
from bpfroots.results.key import Key
from bpfroots.results.model import BAD, Step
from bpfroots.results.request import Selftests
from bpfroots.results.selftests import TEST_MAPS, TEST_PROGS, Tested, note_repeat
from bpfroots.results.store import RunStore, append_lines, cut_torn_line, run_folders
from bpfroots.selftest import progs_compare, progs_lists, progs_select, progs_site, progs_tree
from bpfroots.selftest.maps_worker import MapsWorker
from bpfroots.selftest.progs_compare import Change
from bpfroots.selftest.progs_select import Lists, Selection
from bpfroots.selftest.progs_worker import AFTER, Finished, Limits, Worker
from bpfroots.settings import jobs

# A batch costs a clone and a start of the program, together a few seconds under emulation; a test that takes
# its guest down makes none of the others run again.
_BATCH_S = 60.0
_UNKNOWN_S = 4.0


@dataclass
class ProgsRun:
    """A run of ``program`` on ``kernels``, and what it found, by kernel, in that order; kernels that could
    not be tested are in ``failed``."""

    store: RunStore
    program: str
    kernels: list[str]
    tests: dict[str, list[Tested]] = field(default_factory=dict)
    failed: list[BpfrootsError] = field(default_factory=list)
    #: How often a test that is known as flaky fails, by kernel and name.
    rates: dict[str, dict[str, str]] = field(default_factory=dict)

    def changes(self) -> dict[str, list[Change]]:
        """Of every kernel but the first to the first, by kernel."""
        (base, first), *others = self.tests.items() or [("", [])]
        if base != self.kernels[0]:
            return {}
        rates = self.rates
        return {kernel: progs_compare.changes(first, tests, rates.get(kernel)) for kernel, tests in others}

    def worse(self) -> dict[str, list[Change]]:
        """Those of `changes` that make a run fail."""
        found = {
            kernel: [c for c in all_ if c.kind in progs_compare.WORSE]
            for kernel, all_ in self.changes().items()
        }
        return {kernel: changes for kernel, changes in found.items() if changes}

    @property
    def exit_code(self) -> int:
        """4 > 3 > 1 > 0. 1: a test fails that does not on the first kernel; on a single one, that fails."""
        codes = [error.exit_code for error in self.failed]
        found = self.changes()
        if self.worse():
            codes.append(exitcodes.UNEXPECTED)
        lists = [tests for kernel, tests in self.tests.items() if kernel not in found]
        alone = lists if len(self.kernels) == 1 else []
        codes += [exitcodes.of_outcome(test.outcome) for tests in alone for test in tests]
        codes += [exitcodes.INFRA for tests in lists for test in tests if test.outcome == "infra_error"]
        return exitcodes.worst(codes)


def run(request: Selftests, command: list[str], progress: Progress) -> ProgsRun:
    """Run what is asked for; a kernel that fails is in `ProgsRun.failed`.

    Raises UserError for a kernel or a test that there is not, KernelError or InfraError where nothing could
    be started.
    """
    accel = choose_accel(request.accel)
    allowances(request)  # a list that cannot be read is seen before anything is built
    sites = _sites(request, progress)
    store = RunStore.create("selftest", command)
    _describe(store, request, [site for site, _ in sites], accel)
    return _run(store, request, sites, accel, progress)


def resume(program: str, store: RunStore, progress: Progress) -> ProgsRun:
    """Run what is missing of a run that was interrupted. Raises UserError for one that is no run of
    ``program``, or whose kernels or tests are other ones now."""
    request = store.run.selftests
    if request is None or request.program != program:
        what = request.program if request else f"of kind {store.run.kind}"
        msg = f"{store.run.run}: not a run of {program}, but {what}"
        raise UserError(msg, hint=shlex.join([*store.run.command[:3], "--resume", store.run.run]))
    accel = choose_accel(request.accel)
    sites = _sites(request, progress)
    now = [(describe(site.kernel), site.image.digest) for site, _ in sites]
    then = [(kernel, store.run.image.get(kernel.name)) for kernel in store.run.kernels]
    if changed := [kernel.name for kernel, image in now if (kernel, image) not in then]:
        msg = f"{store.run.run}: {', '.join(changed)} has changed since"
        raise UserError(msg, hint=shlex.join(store.run.command))
    store.repair()
    return _run(store, request, sites, accel, progress)


def run_in(
    store: RunStore, request: Selftests, wanted: Sequence[Request], accel: Accel, progress: Progress
) -> ProgsRun:
    """As `run`, on the kernels ``wanted`` and into a run folder that is not finished; what it has is not run
    again."""
    sites = _sites(request, progress, wanted)
    result = ProgsRun(store, request.program, [site.kernel.name for site, _ in sites])
    _test(result, request, sites, accel, progress)
    _ask_history(result, progress)
    return result


def _sites(
    request: Selftests, progress: Progress, wanted: Sequence[Request] = ()
) -> list[tuple[progs_site.Site, Selection]]:
    """What is tested where, on the kernels of ``request`` if none are ``wanted``. What there is not to test
    is seen before anything is built."""
    wanted = wanted or list(kernels.resolve_all(request.kernels).values())
    if request.program == TEST_MAPS:
        sites = [progs_site.prepare_maps(one, progress, as_is=request.as_is) for one in wanted]
        return [(site, Selection([unit.name for unit in site.units])) for site in sites]
    known, lists = [], []
    for one in wanted:
        # Read at once: two revisions of one tree share a place.
        tree = progs_site.tree_of(one, progress)
        known.append(progs_tree.tests(tree))
        lists.append(_lists(request, tree))
    chosen = progs_select.select_all(known, request.tests, lists)
    found = []
    for one, tests, selection in zip(wanted, known, chosen, strict=True):
        some = request.tests or request.allow
        # Of a tree that has none of them, or where all are denied, any one: the program has to have some.
        needed = selection.to_run or list(tests)[:1]
        files = frozenset(tests[name] for name in needed) if some else frozenset[str]()
        found.append((progs_site.prepare(one, files, progress, as_is=request.as_is), selection))
    return found


def _lists(request: Selftests, tree: Path) -> Lists:
    """What is given, and what the kernel's ``tree`` denies itself."""
    allow = [entry for path in request.allow for entry in progs_lists.read(Path(path), "ALLOWLIST")]
    deny = [entry for path in request.deny for entry in progs_lists.read(Path(path), "DENYLIST")]
    own = progs_lists.of_tree(tree / selftests.DIRECTORY)
    return Lists(tuple(allow), (*deny, *own))


def _describe(store: RunStore, request: Selftests, sites: Sequence[progs_site.Site], accel: Accel) -> None:
    """Write into run.json what runs where."""
    run = store.run
    run.selftests = request
    run.kernels = [describe(site.kernel) for site in sites]
    run.image = {site.kernel.name: site.image.digest for site in sites}
    run.clang = sites[0].report.clang
    run.inputs = tree_inputs(sites[0].base, run.clang, accel)
    describe_host(run, accel)
    store.save()


def _run(
    store: RunStore,
    request: Selftests,
    sites: Sequence[tuple[progs_site.Site, Selection]],
    accel: Accel,
    progress: Progress,
) -> ProgsRun:
    progress.say(f"results   {store.path}")
    result = ProgsRun(store, request.program, [site.kernel.name for site, _ in sites])
    try:
        _test(result, request, sites, accel, progress)
    finally:
        store.finish()
        _write_reports(result)
    _ask_history(result, progress)
    return result


def _test(
    result: ProgsRun,
    request: Selftests,
    sites: Sequence[tuple[progs_site.Site, Selection]],
    accel: Accel,
    progress: Progress,
) -> None:
    on: dict[str, _OnKernel] = {}
    for site, selection in sites:
        kernel = site.kernel.name
        on[kernel] = _OnKernel(result.store, request, site, selection, accel, progress)
        try:
            result.tests[kernel] = on[kernel].run()
        except KernelError as error:
            error.kernel = kernel
            result.failed.append(error)
    for kernel, changes in result.worse().items():
        on[kernel].repeat(result.tests[kernel], {change.name.partition("/")[0] for change in changes})


def _ask_history(result: ProgsRun, progress: Progress) -> None:
    """Which of the failures that seem new are of tests that were flaky before. What is wrong with the history
    does not take the results with it."""
    worse = result.worse()
    if not worse:
        return
    first = result.kernels[0]
    cases = {f"{result.program}/{change.name}" for changes in worse.values() for change in changes}
    try:
        with History() as history:
            catch_up(history)
            known = flaky(history, sorted(cases))
    except BpfrootsError as error:
        progress.say(f"history   not asked what is flaky: {error.message}")
        return
    for kernel, changes in worse.items():
        for change in changes:
            case = f"{result.program}/{change.name}"
            # One that is flaky on the first kernel only happened not to fail there.
            for name in (first, kernel):
                if rate := known.get(Key(case, "", name)):
                    result.rates.setdefault(kernel, {})[change.name] = f"{rate} on {name}"


def _write_reports(result: ProgsRun) -> None:
    program = result.program
    found = [one for kernel, tests in result.tests.items() for one in kept.results(program, kernel, tests)]
    junit.write(result.store.path / "junit.xml", found)
    ktap.write(result.store.path / "results.ktap", found)


class _OnKernel:
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
