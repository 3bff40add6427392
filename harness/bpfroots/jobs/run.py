"""One run: cells on kernels, a folder, reports."""

from __future__ import annotations

import platform
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bpfroots import exitcodes, report
from bpfroots.errors import BpfrootsError, InfraError, KernelError, UserError
from bpfroots.jobs import cost
from bpfroots.jobs.compiled import compile_cells
from bpfroots.jobs.engine import Elsewhere, Engine
from bpfroots.jobs.kit import Kit, prepare, roomy
from bpfroots.jobs.reuse import Reuse, inputs
from bpfroots.jobs.spec import CellSpec, Objects, cell_id
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel, Machine, choose_accel
from bpfroots.machine.accel import qemu_version
from bpfroots.progress import Progress, Task
from bpfroots.results.model import Cell, KernelInfo
from bpfroots.results.store import RunStore
from bpfroots.settings import jobs


@dataclass
class Result:
    """What a run left: its folder, its cells, and the kernels that could not be run."""

    store: RunStore
    cells: list[Cell] = field(default_factory=list)
    failed: list[BpfrootsError] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(cell.outcome for cell in self.cells))

    @property
    def exit_code(self) -> int:
        """The worst of all, as docs/reference.md has it."""
        codes = [error.exit_code for error in self.failed]
        return exitcodes.worst([*codes, *(exitcodes.of_outcome(cell.outcome) for cell in self.cells)])


def describe(kernel: Kernel) -> KernelInfo:
    """How a kernel was made, for run.json."""
    return KernelInfo(
        name=kernel.name,
        argument=kernel.argument,
        release=kernel.release,
        source_id=kernel.source_id,
        series_id=kernel.series_id,
        config_hash=kernel.config_hash,
        compiler=kernel.compiler,
        key=kernel.key,
    )


def open_store(kit: Kit, accel: Accel, label: str, command: list[str]) -> RunStore:
    """A new run folder that says what runs where."""
    store = RunStore.create(label, command)
    describe_run(store, kit, accel)
    return store


def describe_run(store: RunStore, kit: Kit, accel: Accel) -> None:
    """Write into run.json what runs where."""
    run = store.run
    run.kernels = [describe(kernel) for kernel in kit.kernels]
    run.image = {"digest": kit.image.digest, "runner_sha256": kit.runner_sha256}
    run.inputs = inputs(kit, accel)
    run.qemu = qemu_version()
    run.clang = kit.toolchain.clang.version
    run.accel, run.accel_reason = accel.name, accel.reason
    run.host = {"cores": jobs(), "machine": platform.machine(), "release": platform.release()}
    store.save()


def run(
    kernels: Sequence[str],
    specs: Sequence[CellSpec],
    *,
    accel: str,
    label: str,
    command: list[str],
    progress: Progress,
    on_cell: Callable[[Cell], None] | None = None,
    with_cost: bool = False,
    with_reuse: bool = False,
    guests: int | None = None,
    keep: Callable[[Machine], None] | None = None,
    resume: RunStore | None = None,
    elsewhere: Elsewhere | None = None,
) -> Result:
    """Run every cell on every kernel and write the reports. ``with_cost``: then measure what is accepted.
    ``with_reuse``: only what is not known from an earlier run. ``guests`` and ``keep``: see `Engine`.
    ``resume``: a run that was broken off; cells it has are not run again. ``elsewhere``: where cells run, in
    place of this process's guests.

    A kernel that does not boot, or that costs cannot be measured on, ends up in ``Result.failed``; the
    others still run. What was finished is on disk whatever happens, KeyboardInterrupt included. Raises
    UserError, KernelError or InfraError where nothing could be started.
    """
    chosen = elsewhere.accel(accel) if elsewhere else choose_accel(accel)
    if elsewhere:
        elsewhere.build(["baseline", *kernels], progress)
    kit = prepare(kernels, progress)
    if any(spec.case is None for spec in specs):
        kit = roomy(kit)
    objects = compile_cells(kit, specs).objects  # before a run folder is there to be left empty
    if accel == "auto" and chosen.reason:
        progress.say(f"guests    {chosen.reason}")
    if resume:
        reopen(resume, kit)
        result = Result(resume, resume.cells())
    else:
        result = Result(open_store(kit, chosen, label, command))
    progress.say(f"results   {result.store.path}")
    try:
        run_cells(
            kit,
            result,
            specs,
            chosen,
            progress,
            objects=objects,
            on_cell=on_cell,
            with_cost=with_cost,
            with_reuse=with_reuse,
            guests=guests,
            keep=keep,
            elsewhere=elsewhere,
        )
    except BaseException:
        progress.say(f"kept      finished cells, in {result.store.path}{_rest(result.store)}")
        raise
    finally:
        result.store.finish()
        result.cells = result.store.cells()
        report.write_reports(result.store.path, result.store.run, result.cells)
    return result


def _rest(store: RunStore) -> str:
    """How to have the other cells: of a `run`, which has all that it was asked for in its folder."""
    resumable = store.run.command[1:2] == ["run"]
    return f"; for the others: bpfroots run --resume {store.run.run}" if resumable else ""


def run_cells(
    kit: Kit,
    result: Result,
    specs: Sequence[CellSpec],
    accel: Accel,
    progress: Progress,
    *,
    objects: dict[str, Objects],
    on_cell: Callable[[Cell], None] | None = None,
    with_cost: bool = False,
    with_reuse: bool = False,
    guests: int | None = None,
    keep: Callable[[Machine], None] | None = None,
    elsewhere: Elsewhere | None = None,
) -> None:
    """Add every cell on every kernel of ``kit`` to ``result``, but for those that it has. See `run`.

    ``objects`` are from `compile_cells`.
    """
    reuse = Reuse(kit, accel) if with_reuse else None
    engine = Engine(kit, result.store, accel, reuse, guests=guests, keep=keep, elsewhere=elsewhere)
    # Costs are counted here: they are the same on every machine, and few.
    here = choose_accel() if elsewhere else accel
    for kernel in kit.kernels:
        title = f"guests    {kernel.name} ({kernel.release}, {accel.name}): {len(specs)} cells"
        with progress.task(title, "cells") as task:
            _run_kernel(engine, kernel, specs, result, task, on_cell)
        if with_cost and not cost.ways(kernel, here):
            progress.say(f"cost      {kernel.name}: not measured; its definition has icount = false")
        elif with_cost:
            with progress.task(f"cost      {kernel.name}: instructions per run", "figures") as task:
                try:
                    figures = cost.measure(
                        kit, result.store, kernel, specs, result.cells, objects, here, task, reuse
                    )
                    task.summary = f"{len(figures)} figures"
                except (KernelError, InfraError) as error:
                    result.failed.append(error)
    if reuse:
        reuse.prune()


def reopen(store: RunStore, kit: Kit) -> None:
    """Make a run ready to go on. Raises UserError where what it runs on is not what it was."""
    now = [describe(kernel) for kernel in kit.kernels]
    changed = [info.name for info in now if info not in store.run.kernels]
    if kit.image.digest != store.run.image.get("digest"):
        changed.append("the guest image")
    if changed:
        msg = f"{store.run.run}: {', '.join(changed)} has changed since"
        raise UserError(msg, hint=shlex.join(store.run.command))
    store.mend()


def _run_kernel(
    engine: Engine,
    kernel: Kernel,
    specs: Sequence[CellSpec],
    result: Result,
    task: Task,
    on_cell: Callable[[Cell], None] | None,
) -> None:
    wanted = {spec.id for spec in specs}
    known = [
        cell
        for cell in result.cells
        if cell.kernel == kernel.name and cell_id(cell.case, cell.mechanism) in wanted
    ]
    finished = {cell_id(cell.case, cell.mechanism) for cell in known}
    missing = [spec for spec in specs if spec.id not in finished]
    done = len(known)
    task.update(done, len(specs))
    try:
        for cell in engine.submit(kernel, missing, known):
            result.cells.append(cell)
            done += 1
            task.update(done, len(specs))
            if on_cell:
                on_cell(cell)
    except KernelError as error:
        result.failed.append(error)
    counts = Counter(cell.outcome for cell in result.cells if cell.kernel == kernel.name)
    reused = sum(1 for cell in result.cells if cell.kernel == kernel.name and cell.reused)
    note = f"; {reused} of them known" if reused else ""
    task.summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) + note
