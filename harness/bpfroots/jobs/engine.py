"""Runs cells in guests: submit(kernel, cells) → judged cells, one by one as they finish.

Whatever a guest does, every cell comes back: a cell that took its guest down is recorded with that
outcome, and the rest continue in a fresh guest.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence

from bpfroots import kernels
from bpfroots.analysis import cell as analysis
from bpfroots.errors import GuestError
from bpfroots.jobs import crew, judge, schedule
from bpfroots.jobs.compiled import Compiled, compile_cells
from bpfroots.jobs.guests import Guests, require_btf
from bpfroots.jobs.pool import Pool
from bpfroots.jobs.reuse import Reuse
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellFiles, CellSpec
from bpfroots.jobs.worker import Worker
from bpfroots.kernels import Kernel
from bpfroots.machine import Machine
from bpfroots.programs import protocol
from bpfroots.results.key import Key
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore


class Engine:
    """Guests of this process, or others. Every cell handed in comes back, whatever becomes of its guest."""

    def __init__(self, site: Site, reuse: Reuse | None = None) -> None:
        """``reuse``: take cells that are finished from there, and leave new ones there."""
        self._site = site
        self._reuse = reuse
        self._guests = Guests(site.kit, site.accel)
        self._started: tuple[Kernel, Pool] | None = None
        # What each case gave first, on the first kernel: kernels have to agree as well.
        self._references: dict[str, Cell] = {}

    def start(self, kernel: Kernel) -> None:
        """Start a guest for the first cells of this kernel that will be submitted. Close the engine then."""
        self._started = (kernel, self._pool(kernel))
        self._started[1].warm(1)

    def close(self) -> None:
        """End the guest of `start`, if no cell has asked for it."""
        started, self._started = self._started, None
        if started:
            started[1].close()

    def submit(
        self,
        kernel: Kernel,
        specs: Sequence[CellSpec],
        known: Iterable[Cell] = (),
        compiled: Compiled | None = None,
    ) -> Iterator[Cell]:
        """Run cells on a kernel; they come as they are finished, and are in the run folder before.

        ``known`` are cells of the same cases that were finished before. ``compiled`` has their programs;
        without it they are compiled now. Closing the iterator ends all guests. Raises UserError for a program
        that does not compile (before anything boots), BootError for a kernel that does not boot.
        """
        compiled = compiled or compile_cells(self._site.kit, specs)
        # Of a bare bzImage that takes a moment, and only cases ask.
        options = kernels.options(kernel) if any(spec.case for spec in specs) else None
        specs = [spec.on(kernel.release, options) for spec in specs]
        verdicts = Verdicts(kernel, compiled.objects, self._site.store, self._reuse, self._references)
        for cell in known:
            verdicts.refer_to(cell)
        for spec in specs:
            if spec.skip:
                yield verdicts.keep(judge.skipped(spec, kernel))
            elif spec.missing:
                reason = f"this kernel does not have {spec.missing}, which the case needs"
                yield verdicts.keep(judge.blank(spec, kernel, "skip", reason))
            elif why := compiled.unusable.get(spec.key):
                yield verdicts.keep(judge.blank(spec, kernel, "error", why))
        pending = {spec.id: spec for spec in specs if spec.key in compiled.objects and not spec.missing}
        for cell in verdicts.reused(pending):
            yield verdicts.keep(cell)
        if pending:
            yield from self._run(kernel, list(pending.values()), verdicts)

    def _run(self, kernel: Kernel, specs: list[CellSpec], verdicts: Verdicts) -> Iterator[Cell]:
        site = self._site
        if site.executor:
            yield from site.executor.run(site.kit.image, site.accel, specs, verdicts)
            return
        slowdown = site.accel.slowdown_of(kernel.shape.cpus)
        count = schedule.guests_at_once(kernel.shape, site.guests)
        batches = schedule.batches(specs, count)
        with contextlib.closing(self._pool(kernel)) as pool:
            workers = [
                Worker(pool, verdicts, verdicts.objects, slowdown, site.keep)
                for _ in range(min(count, len(batches)))
            ]
            yield from crew.spread(workers, batches)

    def _pool(self, kernel: Kernel) -> Pool:
        """The pool that was started for this kernel, else a new one."""
        if self._started and self._started[0] is kernel:
            (_, pool), self._started = self._started, None
            return pool
        return Pool(lambda: self._boot(kernel))

    def _boot(self, kernel: Kernel) -> Machine:
        machine = self._guests.boot(kernel, self._site.store.console(kernel.name))
        if kernel.image.has_btf is None:
            try:
                require_btf(machine, kernel)
            except BaseException:
                machine.close()
                raise
        return machine


class Verdicts:
    """From what guests say to cells in the run folder; for one kernel. Safe between threads."""

    def __init__(
        self,
        kernel: Kernel,
        objects: dict[Key, CellFiles],
        store: RunStore,
        reuse: Reuse | None,
        references: dict[str, Cell],
    ) -> None:
        self.objects = objects
        self.kernel = kernel
        self.store = store
        self._reuse = reuse
        self._first: dict[str, Cell] = {}
        self._references = references
        # The disassembler is one for all, and the interpreter runs one thread at a time anyway.
        self._lock = threading.Lock()

    def finished(self, spec: CellSpec, hello: protocol.Hello, loaded: protocol.Loaded) -> Cell:
        """The cell of a load that came to its end, and its artefacts."""
        with self._lock:
            kernel = self.kernel
            code = analysis.Code(loaded)
            cell = judge.judge(spec, kernel, hello, code, self._reference(spec.name))
            cell.program = self.objects[spec.key].digest
            self._save_artefacts(cell, code, spec)
            self.refer_to(cell)
            if self._reuse:
                self._reuse.keep(kernel, spec, self.objects[spec.key], self.store, cell)
            return self.keep(cell)

    def lost(self, spec: CellSpec, error: GuestError, note: str) -> Cell:
        """The cell a guest was lost in; see `judge.lost`."""
        return self.keep(judge.lost(spec, self.kernel, error, note))

    def reused(self, pending: dict[str, CellSpec]) -> Iterator[Cell]:
        """Cells that need not run. All of a case whose first cell has to run, its reference, run."""
        if self._reuse is None:
            return
        run: set[str] = set()
        for spec in list(pending.values()):
            if spec.name in run:
                continue
            cell = self._reuse.find(self.kernel, spec, self.objects[spec.key], self.store)
            if cell is None or judge.differs(spec, cell, self._reference(spec.name)):
                run.add(spec.name)
                continue
            del pending[spec.id]
            self.refer_to(cell)
            yield cell

    def keep(self, cell: Cell) -> Cell:
        self.store.add(cell)
        return cell

    def refer_to(self, cell: Cell) -> None:
        """Later cells of its case are compared with the first that came to its end."""
        if cell.verdict:
            self._first.setdefault(cell.case, cell)
            self._references.setdefault(cell.case, cell)

    def _reference(self, case: str) -> Cell | None:
        return self._first.get(case) or self._references.get(case)

    def _save_artefacts(self, cell: Cell, code: analysis.Code, spec: CellSpec) -> None:
        parts = {"source": spec.program, "library": spec.library, "target": spec.target}
        for name, part in parts.items():
            if part and part.is_source:
                self.store.artefact(cell, f"{name}.bpf.c", part.source)
        for program in code.loaded.programs:
            for name, data in analysis.artefacts(program, code).items():
                self.store.artefact(cell, name, data)
