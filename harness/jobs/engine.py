"""Runs cells in guests: submit(kernel, cells) → judged cells, one by one as they finish.

Whatever a guest does, every cell comes back: a cell that took its guest down is recorded with that
outcome, and the rest go on in a fresh guest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness.analysis import cell as analysis
from harness.errors import GuestError, GuestLost, KernelError
from harness.jobs import judge
from harness.jobs.guests import Guests
from harness.jobs.kit import Kit
from harness.jobs.reuse import Reuse
from harness.jobs.runner import RunnerDied, stream
from harness.jobs.spec import CellSpec
from harness.kernels import Kernel
from harness.machine import Accel, Machine
from harness.programs import compile as compiling
from harness.programs import protocol
from harness.results.model import Cell
from harness.results.store import RunStore
from harness.settings import jobs

# A guest that dies before it starts a load says nothing about any cell: try again, but not for ever.
_EMPTY_ATTEMPTS = 2


@dataclass
class _Batch:
    """The state of one kernel's cells while guests come and go."""

    kernel: Kernel
    pending: dict[str, CellSpec]
    objects: dict[str, Path]
    references: dict[str, Cell] = field(default_factory=dict)
    hello: protocol.Hello | None = None
    current: CellSpec | None = None
    empty: int = 0


def compile_cells(kit: Kit, specs: Sequence[CellSpec]) -> dict[str, Path]:
    """The object of every cell, by cell id. Raises UserError for C that does not compile."""
    sources = {spec.source: spec for spec in specs if spec.source}

    def one(spec: CellSpec) -> Path:
        name, near = (spec.file.name, spec.file.parent) if spec.file else (spec.name, None)
        return compiling.compile_source(kit.toolchain, kit.objects, spec.source, name, near)

    with ThreadPoolExecutor(jobs()) as pool:
        built = dict(zip(sources, pool.map(one, sources.values()), strict=True))
    objects = {spec.id: built[spec.source] for spec in specs if spec.source}
    return objects | {spec.id: spec.object for spec in specs if spec.object}


class Engine:
    """Guests of this process. A context manager: leaving it leaves nothing running."""

    def __init__(self, kit: Kit, store: RunStore, accel: Accel, reuse: Reuse | None = None) -> None:
        """``reuse``: take cells that are finished from there, and leave new ones there."""
        self._kit = kit
        self._reuse = reuse
        self._store = store
        self._accel = accel
        self._guests = Guests(kit, accel)
        # What each case gave first, on the first kernel: kernels have to agree as well.
        self._references: dict[str, Cell] = {}

    def submit(self, kernel: Kernel, specs: Sequence[CellSpec]) -> Iterator[Cell]:
        """Run cells on a kernel, in order. Cells are in the run folder before they are yielded.

        Closing the iterator ends its guest. Raises UserError for a program that does not
        compile (before anything boots), BootError for a kernel that does not boot.
        """
        objects = compile_cells(self._kit, specs)
        for spec in specs:
            if spec.skip:
                yield self._keep(judge.blank(spec, kernel.name, "skip", spec.skip))
        runnable = {spec.id: spec for spec in specs if not spec.skip}
        batch = _Batch(kernel, runnable, objects)
        for cell in self._reused(batch):
            yield self._keep(cell)
        while batch.pending:
            with self._guests.boot(kernel, self._store.console(kernel.name)) as machine:
                if kernel.has_btf is None:
                    _require_btf(machine, kernel)
                yield from self._drain(machine, batch)

    def _drain(self, machine: Machine, batch: _Batch) -> Iterator[Cell]:
        """Feed pending cells to one guest until none is left or the guest is no longer good."""
        while batch.pending:
            batch.current = None
            try:
                yield from self._stream(machine, batch)
            except GuestError as error:
                yield from self._lose(batch, error)
                if not isinstance(error, RunnerDied):
                    return

    def _stream(self, machine: Machine, batch: _Batch) -> Iterator[Cell]:
        """One runner over all pending cells. Raises GuestError where it did not finish."""
        loads = {spec.id: spec.load(self._accel.slowdown) for spec in batch.pending.values()}
        files = {load.object: batch.objects[id_] for id_, load in loads.items()}
        for line in stream(machine, list(loads.values()), files):
            if isinstance(line, protocol.Hello):
                batch.hello = line
            elif isinstance(line, protocol.Start):
                batch.current = batch.pending[line.id]
            else:
                yield self._loaded(batch, line)
        if batch.pending:
            msg = f"the runner finished without {len(batch.pending)} of its loads"
            raise GuestLost(msg)

    def _loaded(self, batch: _Batch, loaded: protocol.Loaded) -> Cell:
        spec = batch.pending.pop(loaded.id)
        batch.current = None
        batch.empty = 0
        if batch.hello is None:
            msg = "the runner sent a load before its hello"
            raise GuestLost(msg)
        kernel = batch.kernel
        reference = self._reference(batch, spec)
        cell = judge.judge(spec, kernel.name, kernel.provides, batch.hello, loaded, reference)
        self._save_artefacts(cell, loaded, spec.source)
        self._refer_to(batch, spec, cell)
        if self._reuse:
            self._reuse.keep(kernel, spec, batch.objects[spec.id], self._store, cell)
        return self._keep(cell)

    def _reused(self, batch: _Batch) -> Iterator[Cell]:
        """Cells that need not run. All of a case whose first cell has to run, its reference, run."""
        if self._reuse is None:
            return
        run: set[str] = set()
        for spec in list(batch.pending.values()):
            if spec.name in run:
                continue
            cell = self._reuse.find(batch.kernel, spec, batch.objects[spec.id], self._store)
            if cell is None or judge.differs(spec, cell, self._reference(batch, spec)):
                run.add(spec.name)
                continue
            del batch.pending[spec.id]
            self._refer_to(batch, spec, cell)
            yield cell

    def _reference(self, batch: _Batch, spec: CellSpec) -> Cell | None:
        return batch.references.get(spec.name) or self._references.get(spec.name)

    def _refer_to(self, batch: _Batch, spec: CellSpec, cell: Cell) -> None:
        batch.references.setdefault(spec.name, cell)
        self._references.setdefault(spec.name, cell)

    def _save_artefacts(self, cell: Cell, loaded: protocol.Loaded, source: str) -> None:
        if source:
            self._store.artefact(cell, "source.bpf.c", source.encode())
        for program in loaded.programs:
            for name, data in analysis.artefacts(program, loaded).items():
                self._store.artefact(cell, name, data)

    def _lose(self, batch: _Batch, error: GuestError) -> Iterator[Cell]:
        """Record what a lost guest or runner takes with it: the cell it was in, else (at last) all."""
        guilty = [batch.current] if batch.current else []
        if not guilty:
            batch.empty += 1
            if batch.empty >= _EMPTY_ATTEMPTS:
                guilty = list(batch.pending.values())
        for spec in guilty:
            del batch.pending[spec.id]
            yield self._keep(judge.lost(spec, batch.kernel.name, error))

    def _keep(self, cell: Cell) -> Cell:
        self._store.add(cell)
        return cell


def _require_btf(machine: Machine, kernel: Kernel) -> None:
    """What only the guest can say of a kernel somebody else has built. Raises KernelError."""
    if machine.output("test -r /sys/kernel/btf/vmlinux").status:
        msg = f"kernel {kernel.name} has no BTF: no /sys/kernel/btf/vmlinux in its guest"
        raise KernelError(msg, hint="build it with CONFIG_DEBUG_INFO_BTF=y (needs pahole, package dwarves)")
