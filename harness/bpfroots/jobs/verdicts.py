"""From what guests say to cells in the run folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from bpfroots.analysis import cell as analysis
from bpfroots.errors import GuestError
from bpfroots.jobs import judge
from bpfroots.jobs.reuse import Reuse
from bpfroots.jobs.spec import CellFiles, CellSpec
from bpfroots.kernels import Kernel
from bpfroots.programs import protocol
from bpfroots.results.key import Key
from bpfroots.results.model import Cell, Outcome
from bpfroots.results.store import RunStore


class Verdicts:
    """The cells of one kernel. Safe between threads."""

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

    def skipped(self, spec: CellSpec) -> Cell:
        """The cell of a spec that has ``skip``."""
        return self.keep(judge.skipped(spec, self.kernel))

    def blank(self, spec: CellSpec, outcome: Outcome, reason: str) -> Cell:
        """The cell of what is not loaded at all."""
        return self.keep(judge.blank(spec, self.kernel, outcome, reason))

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
