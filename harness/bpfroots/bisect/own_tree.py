"""A test of test_progs or test_maps, built with each kernel's own tree: what a developer has seen fail."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass

from bpfroots import cache, kernels
from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import Definition, Kernel, Request
from bpfroots.kernels import selftests as variants
from bpfroots.machine import Accel, Machine
from bpfroots.progress import Progress
from bpfroots.results.model import BAD, Step
from bpfroots.results.selftests import TEST_MAPS, TEST_PROGS, Tested, named
from bpfroots.results.store import RunStore
from bpfroots.selftest import maps, modules, progs_build, progs_site, progs_tree
from bpfroots.selftest.maps_worker import MapsWorker
from bpfroots.selftest.progs_select import Selection
from bpfroots.selftest.progs_worker import Limits, Worker
from bpfroots.settings import cache_root

TEST_VERIFIER = "test_verifier"
_PROGRAMS = (TEST_VERIFIER, TEST_PROGS, TEST_MAPS)
# All kernels of a bisection share a place for their tests, since one follows the other.
_PLACE = "bisect"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Asked:
    """A test as ``--selftest`` names it. ``subtest`` is empty for all of the test; test_verifier has none."""

    program: str
    test: str
    subtest: str = ""

    @property
    def own_tree(self) -> bool:
        """Whether each kernel's tree has its own."""
        return self.program != TEST_VERIFIER


def parse(text: str) -> Asked:
    """PROGRAM:TEST, with /SUBTEST where tests have some; without PROGRAM a test of test_verifier. Raises
    UserError for a name that is empty."""
    program, colon, name = text.partition(":")
    if not colon or program not in _PROGRAMS:
        return Asked(TEST_VERIFIER, text)
    if program == TEST_VERIFIER:
        test, subtest = name, ""
    else:
        test, _, subtest = name.partition("/")
    if not test:
        msg = f"--selftest {text}: no test is named"
        raise UserError(msg, hint=f"--selftest {program}:TEST")
    return Asked(program, test, subtest)


class OwnTree:
    """Builds the test for kernel after kernel, and runs it. ``as_is``: kernels are configured as they are
    defined, not as the tests of their trees ask for. ``tests_from`` is the kernel whose tree has the test for
    all of them, as ``--kernel`` has it; each has its own where it is empty."""

    def __init__(
        self, asked: Asked, store: RunStore, accel: Accel, progress: Progress, *, as_is: bool, tests_from: str
    ) -> None:
        self._asked = asked
        self._store = store
        self._accel = accel
        self._progress = progress
        self._as_is = as_is
        self._sites: dict[str, progs_site.Site] = {}
        self._other = _sources(asked, tests_from, progress) if tests_from else None

    def configured(self, wanted: Request) -> Definition:
        """As `PredicateRunner.configured`."""
        tree = self._other.tree if self._other else progs_site.tree_of(wanted, self._progress)
        if not isinstance(wanted, Definition):
            msg = f"--kernel {wanted.name}: only the kernel is known, not its configuration and tree"
            raise UserError(msg, hint="--kernel TREE, or a name in kernels/")
        return wanted if self._as_is else variants.variant(wanted, variants.fragments(tree))

    def prepare(self, wanted: Request) -> str:
        """Build the program for a kernel that is built; a digest of the program. Raises KernelError where its
        tree has no such test, or it cannot be built."""
        site = self._site(wanted)
        self._sites[site.kernel.name] = site
        files = [site.files / self._asked.program, *sorted(site.files.glob("*.bpf.o"))]
        return hashlib.sha256("".join(map(cache.sha256, files)).encode()).hexdigest()

    def ask(self, kernel: Kernel, case: str, number: int) -> Step:
        """One run, in a fresh guest. Raises KernelError for a kernel that does not boot, InfraError."""
        site = self._sites[kernel.name]
        guests = site.guests(self._accel, self._progress)

        def fresh() -> Machine:
            return guests.boot(kernel, self._store.console(kernel.name), shape=site.shape)

        slowdown = max(1.0, self._accel.slowdown_of(site.shape.cpus))
        limits = Limits(_TIMEOUT_S * slowdown, slowdown, site.report.watchdog)
        test, subtest = self._asked.test, self._asked.subtest
        if site.units:
            log = self._store.selftest(kernel.name, f"{TEST_MAPS}-{number}.log")
            worker: MapsWorker | Worker = MapsWorker(fresh, limits, site.units, log)
        else:
            worker = Worker(fresh, limits, Selection([test], {test: [subtest]} if subtest else {}))
        tested = _worst([finished.tested for finished in worker.run([test])])
        return _step(tested, subtest, Step(case=case, kernel=kernel.name, outcome="pass", attempt=number))

    def discard(self, kernel: Kernel) -> None:
        """Forget what was built for a kernel: modules, program, image."""
        if site := self._sites.pop(kernel.name, None):
            selftests = cache.Cache(cache_root(), "selftests")
            selftests.discard(site.files.parent.name)
            selftests.discard(modules.cache_key(kernel))
            cache.Cache(cache_root(), "layers").discard(site.image.digest)

    def _site(self, wanted: Request) -> progs_site.Site:
        """Of a kernel that is configured already."""
        asked, other = self._asked, self._other
        if asked.program == TEST_MAPS:
            site = progs_site.prepare_maps(wanted, self._progress, as_is=True, place=_PLACE, other=other)
            _require(asked, wanted, [unit.name for unit in site.units])
            return site
        tests = progs_tree.tests(other.tree if other else progs_site.tree_of(wanted, self._progress))
        _require(asked, wanted, list(tests))
        files = frozenset({tests[asked.test]})
        site = progs_site.prepare(wanted, files, self._progress, as_is=True, place=_PLACE, other=other)
        if why := site.report.tests.get(asked.test):
            msg = f"{asked.program}:{asked.test} of {wanted.name} does not build: {why}"
            raise KernelError(msg)
        return site


def _sources(asked: Asked, name: str, progress: Progress) -> progs_build.Sources:
    """Raises UserError for a kernel whose tree is not known or has no such test."""
    request = kernels.resolve(name)
    tree = progs_site.tree_of(request, progress)
    if asked.program == TEST_MAPS:
        known = [unit.name for unit in maps.units(tree)]
    else:
        known = list(progs_tree.tests(tree))
    try:
        _require(asked, request, known)
    except KernelError as error:
        msg = f"--tests-from {name}: {error.message}"
        raise UserError(msg, hint=error.hint) from None
    assert isinstance(request, Definition)  # noqa: S101  (tree_of asked)
    return progs_build.Sources(*kernels.tools_source(request, progress))


def _require(asked: Asked, wanted: Request, known: list[str]) -> None:
    """Raises KernelError where a tree has no such test."""
    if asked.test not in known:
        near = difflib.get_close_matches(asked.test, known, 1)
        msg = f"the tree of {wanted.name} has no test {asked.program}:{asked.test}"
        raise KernelError(msg, hint=f"--selftest {asked.program}:{near[0]}" if near else "")


def _worst(found: list[Tested]) -> Tested:
    """Of a test, and of what may have gone wrong after it in its guest."""
    return next((tested for tested in found[1:] if tested.outcome in BAD), found[0])


def _step(tested: Tested, subtest: str, step: Step) -> Step:
    """What the test, or its subtest, came to. One that did not run is a skip: it says nothing."""
    step.outcome, step.reason = tested.outcome, tested.reason
    step.console, step.note = tested.console, tested.note
    if not subtest or tested.outcome not in ("pass", "fail"):
        return step
    below = dict(named(tested.subtests)).get(subtest)
    if below is None:
        step.outcome, step.reason = "skip", f"{subtest} did not run: {tested.reason or 'no such subtest'}"
    else:
        step.outcome, step.reason = below.outcome, below.reason
    return step
