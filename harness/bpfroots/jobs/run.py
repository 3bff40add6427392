"""One run: cells on kernels, a folder, reports."""

from __future__ import annotations

import contextlib
import functools
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bpfroots import exitcodes
from bpfroots.errors import BpfrootsError, InfraError, KernelError, UserError
from bpfroots.jobs import ahead
from bpfroots.jobs.compiled import Compiled, compile_cells
from bpfroots.jobs.engine import Engine
from bpfroots.jobs.kit import Kit, prepare, roomy
from bpfroots.jobs.objects import object_cells
from bpfroots.jobs.reuse import Reuse, inputs
from bpfroots.jobs.site import Executor, Site
from bpfroots.jobs.spec import CellSpec, case_cells
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel, Machine, choose_accel
from bpfroots.machine.accel import qemu_version
from bpfroots.programs import cases, clang
from bpfroots.progress import Progress, Task
from bpfroots.report.text import plural
from bpfroots.results.model import Cell, KernelInfo, RunInfo
from bpfroots.results.request import Cases, Kind, Objects, Request, Together, What
from bpfroots.results.store import RunStore
from bpfroots.settings import jobs


@dataclass(frozen=True)
class Programs:
    """The cells of a request, and their objects, compiled once: when they are first asked for."""

    specs: list[CellSpec]
    kit: Kit
    progress: Progress | None = None

    @functools.cached_property
    def compiled(self) -> Compiled:
        """Raises UserError for programs that do not compile."""
        return compile_cells(self.kit, self.specs, self.progress)


class Run:
    """Cells on kernels: asked for once, opened, run, and closed with its reports.

    ``failed`` are kernels that do not boot, or that costs cannot be measured on: the others still run.
    """

    def __init__(
        self,
        request: Request,
        site: Site,
        programs: Programs,
        progress: Progress,
        report: Callable[[RunStore, Sequence[Cell]], object] | None = None,
    ) -> None:
        """``report`` writes what is written at the end, in place of the usual reports."""
        self.request = request
        self.site = site
        self.store = site.store
        self.failed: list[BpfrootsError] = []
        self.cells: list[Cell] = self.store.cells()
        self._progress = progress
        self._programs = programs
        self._report = report or _write_reports
        self._reuse = Reuse(site.kit, site.accel) if request.reuse else None
        self._engine = Engine(site, self._reuse)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(cell.outcome for cell in self.cells))

    @property
    def exit_code(self) -> int:
        """The worst of all, as docs/reference.md has it."""
        codes = [error.exit_code for error in self.failed]
        return exitcodes.worst([*codes, *(exitcodes.of_outcome(cell.outcome) for cell in self.cells)])

    def run(self) -> None:
        """Every cell that is missing, and then costs, kernel after kernel."""
        for kernel in self.site.kit.kernels:
            specs = self.specs_on(kernel)
            count = plural(len(specs), "cell")
            title = f"guests    {kernel.name} ({kernel.release}, {self.site.accel.name}): {count}"
            with self._progress.task(title, "cells") as task:
                try:
                    for _ in self.stream(kernel, task):
                        pass
                except KernelError as error:
                    error.kernel = kernel.name
                    self.failed.append(error)
                task.summary = self._summary(kernel)
            if self.request.cost:
                self.measure(kernel)
        if self._reuse:
            self._reuse.prune()

    def stream(self, kernel: Kernel, task: Task | None = None) -> Iterator[Cell]:
        """The cells of a kernel that are missing, as they are finished; each is in the run folder before.

        Closing the iterator ends all guests. Raises BootError for a kernel that does not boot.
        """
        specs = self.specs_on(kernel)
        wanted = {spec.key.on(kernel.name) for spec in specs}
        known = [cell for cell in self.cells if cell.key in wanted]
        finished = {cell.key.anywhere for cell in known}
        missing = [spec for spec in specs if spec.key not in finished]
        done = len(known)
        for cell in self._engine.submit(kernel, missing, known, self._programs.compiled):
            self.cells.append(cell)
            done += 1
            if task:
                task.update(done, len(specs))
            yield cell

    def specs_on(self, kernel: Kernel) -> list[CellSpec]:
        """The cells that are wanted on a kernel."""
        only = self.request.what.only if isinstance(self.request.what, Cases) else ()
        return [spec for spec in self._programs.specs if not only or spec.key.on(kernel.name) in only]

    def measure(self, kernel: Kernel) -> None:
        """Instructions per run of what was accepted; what prevents that is in ``failed``."""
        from bpfroots.jobs import cost

        meter = cost.Meter(self.site, self._programs.compiled.objects, self._reuse)
        if not cost.ways(kernel, meter.accel):
            self._progress.say(f"cost      {kernel.name}: not measured; its definition has icount = false")
            return
        with self._progress.task(f"cost      {kernel.name}: instructions per run", "figures") as task:
            try:
                meter.measure(kernel, self.specs_on(kernel), self.cells, task)
            except (KernelError, InfraError) as error:
                self.failed.append(error)

    def compile(self) -> None:
        """Compile all programs, and meanwhile start the first guest, where it is certain to be needed.

        Raises UserError for programs that do not compile.
        """
        if self._reuse is None and self.site.executor is None:
            self._engine.start(self.site.kit.kernels[0])
        ahead.import_libraries()
        try:
            _ = self._programs.compiled
        except BaseException:
            self._engine.close()
            raise

    def close(self) -> None:
        """Costs go to their cells, and the reports are written."""
        self._engine.close()
        self.store.finish()
        self.cells = self.store.cells()
        self._report(self.store, self.cells)

    def _summary(self, kernel: Kernel) -> str:
        cells = [cell for cell in self.cells if cell.kernel == kernel.name]
        counts = Counter(cell.outcome for cell in cells)
        reused = sum(1 for cell in cells if cell.reused)
        note = f"; {reused} of them known" if reused else ""
        return ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) + note


def _write_reports(store: RunStore, cells: Sequence[Cell]) -> None:
    from bpfroots.report import html

    html.write_reports(store.path, store.run, cells)


def specs_of(request: Request) -> list[CellSpec]:
    """All cells that a run is asked for. Raises UserError where there are none."""
    return _specs(request.what)


def _specs(what: What) -> list[CellSpec]:
    match what:
        case Together(parts, names):
            specs = [spec for part in parts for spec in _specs(part)]
            return [spec for spec in specs if not names or spec.name in names]
        case Objects():
            return object_cells(what)
        case Cases(expression, chosen, full, only):
            specs = case_cells(cases.select(expression or None, full=full), cases.mechanisms(chosen))
            wanted = {key.anywhere for key in only}
            return [spec for spec in specs if not only or spec.key in wanted]


@dataclass(frozen=True)
class RunOptions:
    """What decides how a run proceeds here and now, and is no part of what it was asked for. ``report``: see
    `Run`."""

    command: list[str] = field(default_factory=list)
    keep: Callable[[Machine], None] | None = None
    executor: Executor | None = None
    report: Callable[[RunStore, Sequence[Cell]], object] | None = None


@contextlib.contextmanager
def opened(
    request: Request, progress: Progress, options: RunOptions = RunOptions(), resume: RunStore | None = None
) -> Iterator[Run]:
    """The run of a request, or of one that was interrupted; its reports are written at the end.

    What was finished is on disk whatever happens, KeyboardInterrupt included. Raises UserError, KernelError
    or InfraError where nothing could be started.
    """
    executor = options.executor
    accel = executor.accel(request.accel) if executor else choose_accel(request.accel)
    specs = specs_of(request)  # before a kernel is built for what there is not
    if executor:
        executor.build(["baseline", *request.kernels], progress)
    kit = prepare(request.kernels, progress, types=any(spec.is_source for spec in specs))
    if not isinstance(request.what, Cases):
        kit = roomy(kit)
    if request.accel == "auto" and accel.reason:
        progress.say(f"guests    {accel.reason}")
    if resume:
        reopen(resume, kit)
    store = resume or open_store(kit, accel, request.kind, options.command, request)
    guests = 1 if options.keep else request.guests
    site = Site(kit, store, accel, guests, options.keep, executor)
    run = Run(request, site, Programs(specs, kit, progress), progress, options.report)
    try:
        run.compile()
    except BaseException:
        if not resume:
            store.discard()
        raise
    progress.say(f"results   {store.path}")
    try:
        yield run
    except BaseException:
        progress.say(f"kept      finished cells, in {store.path}{_rest(store)}")
        raise
    finally:
        run.close()


def _rest(store: RunStore) -> str:
    """How to have the other cells."""
    request = store.run.request
    if request is not None and request.kind == "ab":
        return "; the same command takes them from there"
    resumable = request is not None and request.kind in ("run", "compare", "load")
    return f"; for the others: bpfroots run --resume {store.run.run}" if resumable else ""


def describe(kernel: Kernel) -> KernelInfo:
    """How a kernel was made, for run.json."""
    return KernelInfo(
        name=kernel.name,
        argument=kernel.argument,
        release=kernel.release,
        source_id=kernel.made.source_id,
        commit=kernel.made.commit,
        prebuilt=kernel.made.prebuilt,
        series_id=kernel.made.series_id,
        config_hash=kernel.made.config_hash,
        compiler=kernel.made.compiler,
        key=kernel.key,
    )


def open_store(
    kit: Kit, accel: Accel, kind: Kind, command: list[str], request: Request | None = None
) -> RunStore:
    """A new run folder that says what runs where."""
    store = RunStore.create(kind, command)
    store.run.request = request
    describe_run(store, kit, accel)
    return store


def describe_run(store: RunStore, kit: Kit, accel: Accel) -> None:
    """Write into run.json what runs where."""
    run = store.run
    run.kernels = [describe(kernel) for kernel in kit.kernels]
    run.image = {"digest": kit.image.digest, "runner_sha256": kit.runner_sha256}
    run.inputs = inputs(kit, accel)
    run.clang = clang.find().version
    describe_host(run, accel)
    store.save()


def describe_host(run: RunInfo, accel: Accel) -> None:
    """Put this machine, its QEMU and the accelerator into ``run``."""
    run.qemu = qemu_version()
    run.accel, run.accel_reason = accel.name, accel.reason
    run.host = {"cores": jobs(), "machine": platform.machine(), "release": platform.release()}


def reopen(store: RunStore, kit: Kit) -> None:
    """Make a run ready to be resumed. Raises UserError where what it runs on is not what it was."""
    now = [describe(kernel) for kernel in kit.kernels]
    changed = [info.name for info in now if info not in store.run.kernels]
    if kit.image.digest != store.run.image.get("digest"):
        changed.append("the guest image")
    if changed:
        msg = f"{store.run.run}: {', '.join(changed)} has changed since"
        raise UserError(msg, hint=shlex.join(store.run.command))
    store.repair()
