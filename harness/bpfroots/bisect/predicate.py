"""What every kernel of a bisection is asked, and asking one of them once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from bpfroots.bisect import expect, own_tree
from bpfroots.bisect.expect import Condition, Judged
from bpfroots.errors import GuestError, InfraError, KernelError, UserError
from bpfroots.jobs import cost
from bpfroots.jobs.compiled import compile_cells
from bpfroots.jobs.engine import Engine
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.objects import object_cells
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellSpec, case_cells
from bpfroots.kernels import Kernel, Request, require_options
from bpfroots.machine import Accel
from bpfroots.programs import cases
from bpfroots.progress import Progress
from bpfroots.results.figures import INSNS_PER_RUN
from bpfroots.results.model import Cell, Step, TestResult
from bpfroots.results.request import Objects
from bpfroots.results.store import RunStore, add_costs
from bpfroots.selftest import run as selftest


class PredicateOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The predicate as it was put on the command line. One of ``case``, ``object`` and ``selftest`` is given;
    paths are absolute. Without ``expect`` a case has to pass, an object to be accepted. ``tests_from`` is the
    kernel whose tree has the test for all of them, as ``--kernel`` has it."""

    case: str = ""
    object: str = ""
    selftest: str = ""
    mechanism: str = "duplicate"
    library: str = ""
    expect: tuple[str, ...] = ()
    tests_from: str = ""


@dataclass(frozen=True)
class Predicate:
    """One program, or one test of the kernel's tree (``selftest``), and what a good kernel makes of it. With
    ``signature`` only a failure that has it makes a kernel bad; any other says nothing."""

    name: str
    spec: CellSpec | None
    expectations: tuple[Condition, ...]
    signature: str = ""
    selftest: own_tree.Asked | None = None
    tests_from: str = ""

    @property
    def steady(self) -> float:
        """The chance, before any run, that a bad kernel fails every time."""
        return min(e.steady for e in self.expectations)

    @property
    def case(self) -> str:
        """What its results are called."""
        return self.spec.name if self.spec else f"selftest/{self.name}"

    @property
    def is_relative(self) -> bool:
        """Whether the good end has a say in what is good."""
        return any(e.is_relative for e in self.expectations)

    def bound(self, good: Mapping[str, str]) -> Predicate:
        """With the `expect.values` of the good end."""
        return replace(self, expectations=tuple(e.bound(good) for e in self.expectations))

    def judge(self, result: TestResult) -> Judged:
        return expect.judge(self.expectations, result, self.signature)


def understand(asked: PredicateOptions) -> Predicate:
    """The predicate behind a command line. Raises UserError for one that cannot be asked."""
    if len([given for given in (asked.case, asked.object, asked.selftest) if given]) != 1:
        msg = "one of --case, --object and --selftest is needed"
        raise UserError(msg, hint="bpfroots cases lists cases; --object takes a .bpf.o or .bpf.c")
    texts = asked.expect or (("accept",) if asked.object else ("pass",))
    expectations = tuple(expect.parse(text) for text in texts)
    name, spec = asked.selftest, None
    if not asked.selftest:
        spec = _spec(asked)
        name = spec.name
    elif any(e.left not in ("pass", "clean") for e in expectations):
        msg = "a selftest only tells whether it passes and whether its kernel stays clean"
        raise UserError(msg, hint="--expect pass, --expect clean, or --object with the test's program")
    if any(e.left == INSNS_PER_RUN for e in expectations) and (spec is None or spec.case is None):
        msg = f"{INSNS_PER_RUN} is measured for cases only"
        raise UserError(msg, hint="bpfroots cases; docs/cases.md says how to write one")
    test = own_tree.parse(asked.selftest) if asked.selftest else None
    if asked.tests_from and not (test and test.own_tree):
        msg = "--tests-from is for tests of test_progs and test_maps"
        raise UserError(msg, hint="--selftest test_progs:TEST")
    return Predicate(name, spec, expectations, selftest=test, tests_from=asked.tests_from)


def _spec(asked: PredicateOptions) -> CellSpec:
    (mechanism,) = cases.mechanisms([asked.mechanism])
    if asked.object:
        return object_cells(Objects((asked.object,), (mechanism,), asked.library))[0]
    found = [case for case in cases.all_cases(full=True) if case.name == asked.case]
    found = found or [case for case in cases.all_cases() if asked.case in case.name]
    if len(found) != 1:
        listed = f"{len(found)} cases match: {found[0].name}, ..." if found else "no such case"
        msg = f"--case {asked.case}: {listed}"
        raise UserError(msg, hint="bpfroots cases; give the whole name of one")
    (spec,) = case_cells(found, [mechanism])
    if spec.skip:
        msg = f"--case {spec.name}: not as {mechanism}: {spec.skip}"
        raise UserError(msg)
    # When a known fault came is a good question: here it is one like any other.
    return replace(spec, expected=msgspec.structs.replace(spec.expected, xfail=""))


class PredicateRunner:
    """Asks kernels; each run has a fresh guest, and leaves a cell with its artefacts, or a step."""

    def __init__(
        self,
        predicate: Predicate,
        kit: Kit,
        store: RunStore,
        accel: Accel,
        progress: Progress,
        *,
        as_is: bool = False,
    ) -> None:
        self.store = store
        self.predicate = predicate
        self._spec = predicate.spec
        self._kit = kit
        self._accel = accel
        self._progress = progress
        self._wants_cost = any(e.left == INSNS_PER_RUN for e in predicate.expectations)
        self._guests = Guests(kit, accel)
        if self._spec:
            self._objects = compile_cells(kit, [self._spec]).objects[self._spec.key]
        self._numbers: list[int] = []
        test = predicate.selftest
        self._own = None
        if test and test.own_tree:
            own, tests = own_tree.OwnTree, predicate.tests_from
            self._own = own(test, store, accel, progress, as_is=as_is, tests_from=tests)

    def configured(self, wanted: Request) -> Request:
        """The kernel to be built for ``wanted``: the tests of a tree may ask for options. Raises UserError
        for one whose tree is not known, KernelError for a tree without tests."""
        return self._own.configured(wanted) if self._own else wanted

    def prepare(self, wanted: Request) -> str:
        """Build what is asked of a kernel that is built, where that comes from its own tree; a digest of
        that, empty where all are asked the same. Raises KernelError where there is no such test."""
        return self._own.prepare(wanted) if self._own else ""

    def discard(self, kernel: Kernel) -> None:
        """Forget what `prepare` has built for a kernel."""
        if self._own:
            self._own.discard(kernel)

    def ask(self, kernel: Kernel, number: int = 1) -> TestResult:
        """The run ``number`` of a kernel. One that does not boot is tried once more, since a busy host may be
        why.

        Raises KernelError for one that does not boot or has not what a guest needs, InfraError where the
        kernel is not why.
        """
        require_options(kernel)
        try:
            result = self._once(kernel, number)
        except KernelError:
            result = self._once(kernel, number)
        if result.outcome == "infra_error":
            msg = f"{result.case} on {kernel.name}: {result.reason}"
            raise InfraError(msg)
        return result

    def _once(self, kernel: Kernel, number: int) -> TestResult:
        if spec := self._spec:
            return self._load(kernel, replace(spec, attempt=number))
        if self._own:
            step = self._own.ask(kernel, self.predicate.case, number)
            self.store.add_step(step)
            return step
        return self._selftest(kernel, number)

    def _load(self, kernel: Kernel, spec: CellSpec) -> Cell:
        # An engine of its own: nothing is compared with what another kernel gave.
        site = Site(self._kit, self.store, self._accel, guests=1)
        (cell,) = Engine(site).submit(kernel, [spec])
        if self._wants_cost and cell.verdict == "accept":
            with self._progress.task(f"cost      {kernel.name}", "figures") as task:
                figures = cost.Meter(site, {spec.key: self._objects}).measure(kernel, [spec], [cell], task)
            add_costs(cell, figures)
        return cell

    def _selftest(self, kernel: Kernel, number: int) -> TestResult:
        suite = selftest.Suite(self._guests, self.store, self._accel, self._progress)
        assert self.predicate.selftest is not None  # noqa: S101
        name = self.predicate.selftest.test
        if not self._numbers:
            self._numbers = _numbers(name, suite.names())
        step = Step(case=self.predicate.case, kernel=kernel.name, outcome="pass", attempt=number)
        try:
            tests = suite.ask(kernel, (self._numbers[0], self._numbers[-1]), number).tests
            failed = [test for test in tests if test.name == name and test.status != "ok"]
            if failed:
                step.outcome = "skip" if all(test.status == "skip" for test in failed) else "fail"
                first = failed[0]
                step.reason = f"#{first.id} {first.name}: {first.status}: {first.lines[-1].strip()}"
        except selftest.SelftestError as error:
            step.outcome, step.reason = "skip", error.message
        except GuestError as error:
            step.outcome, step.reason, step.console = error.outcome, error.message, error.console
        self.store.add_step(step)
        return step


def _numbers(name: str, names: dict[int, str]) -> list[int]:
    """The numbers of the tests called ``name``. Raises UserError where there is none."""
    found = [number for number, known in names.items() if known == name]
    if not found:
        near = difflib.get_close_matches(name, set(names.values()), 1, 0.4)
        msg = f"--selftest {name}: test_verifier has no test of that name"
        raise UserError(msg, hint=f"--selftest '{near[0]}'" if near else "bpfroots selftest test_verifier")
    return sorted(found)


def runs(asker: PredicateRunner, kernel: Kernel, count: int) -> Iterable[Judged]:
    """What each of ``count`` runs of a kernel says. Raises as `PredicateRunner.ask`."""
    for number in range(1, count + 1):
        yield asker.predicate.judge(asker.ask(kernel, number))
