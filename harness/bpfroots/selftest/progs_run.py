"""test_progs or test_maps on several kernels, each of its own tree: every test once, in fresh guests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bpfroots import exitcodes, kernels
from bpfroots.errors import BpfrootsError, KernelError, UserError
from bpfroots.history.database import History
from bpfroots.history.flaky import flaky
from bpfroots.history.record import catch_up
from bpfroots.jobs.reuse import tree_inputs
from bpfroots.jobs.run import describe, describe_host
from bpfroots.kernels import Request, selftests
from bpfroots.machine import Accel, choose_accel
from bpfroots.progress import Progress
from bpfroots.report import junit, ktap
from bpfroots.results import selftests as kept
from bpfroots.results.key import Key
from bpfroots.results.request import Selftests
from bpfroots.results.selftests import TEST_MAPS, Tested
from bpfroots.results.store import RunStore
from bpfroots.selftest import progs_compare, progs_lists, progs_select, progs_site, progs_tree
from bpfroots.selftest.progs_compare import Change
from bpfroots.selftest.progs_kernel import OnKernel, allowances
from bpfroots.selftest.progs_select import Lists, Selection


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
    sites = prepare_sites(request, progress)
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
    sites = prepare_sites(request, progress)
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
    sites = prepare_sites(request, progress, wanted)
    result = ProgsRun(store, request.program, [site.kernel.name for site, _ in sites])
    _test(result, request, sites, accel, progress)
    _ask_history(result, progress)
    return result


def prepare_sites(
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
    on: dict[str, OnKernel] = {}
    for site, selection in sites:
        kernel = site.kernel.name
        on[kernel] = OnKernel(result.store, request, site, selection, accel, progress)
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
