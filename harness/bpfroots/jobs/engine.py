"""Runs cells in guests: submit(kernel, cells) → judged cells, one by one as they finish.

Whatever a guest does, every cell comes back: a cell that took its guest down is recorded with that
outcome, and the rest continue in a fresh guest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bpfroots import kernels
from bpfroots.jobs import crew, schedule
from bpfroots.jobs.compiled import Compiled, compile_cells
from bpfroots.jobs.guests import Guests, require_btf
from bpfroots.jobs.pool import Pool
from bpfroots.jobs.reuse import Reuse
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellSpec
from bpfroots.jobs.worker import Worker
from bpfroots.kernels import Kernel
from bpfroots.machine import Machine
from bpfroots.results.model import Cell

if TYPE_CHECKING:
    from bpfroots.jobs.verdicts import Verdicts


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
        # Here: all that judges is imported while the first guest starts.
        from bpfroots.jobs.verdicts import Verdicts

        compiled = compiled or compile_cells(self._site.kit, specs)
        # Of a bare bzImage that takes a moment, and only cases ask.
        options = kernels.options(kernel) if any(spec.case for spec in specs) else None
        specs = [spec.on(kernel.release, options) for spec in specs]
        verdicts = Verdicts(kernel, compiled.objects, self._site.store, self._reuse, self._references)
        for cell in known:
            verdicts.refer_to(cell)
        for spec in specs:
            if spec.skip:
                yield verdicts.skipped(spec)
            elif spec.missing:
                reason = f"this kernel does not have {spec.missing}, which the case needs"
                yield verdicts.blank(spec, "skip", reason)
            elif why := compiled.unusable.get(spec.key):
                yield verdicts.blank(spec, "error", why)
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
