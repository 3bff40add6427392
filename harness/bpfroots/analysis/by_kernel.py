"""Programs against kernels and mechanisms: what each says of a program of a load, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bpfroots.analysis import wording
from bpfroots.programs.protocol import Mechanism, VerdictOrNone
from bpfroots.results.model import Cell, Outcome, Verification


class KernelColumn(NamedTuple):
    kernel: str
    mechanism: Mechanism


@dataclass(frozen=True)
class ProgramVerdict:
    """What one kernel says of one program. ``verdict`` is empty where there is none; ``outcome``, that of the
    object, then says more. ``load`` is what the program was part of, None where it was not loaded. ``reason``
    is the number of the reason in `KernelMatrix.reasons`, counted from 1; 0 for a program that is
    accepted."""

    program: str
    verdict: VerdictOrNone
    outcome: Outcome
    load: Verification | None
    reason: int

    @property
    def insns(self) -> int | None:
        """Verified instructions of its load; None where there was none, or where another program has them."""
        if self.load is None or self.load.programs[0] != self.program:
            return None
        return self.load.verifier.processed_insns


@dataclass(frozen=True)
class ProgramLine:
    """One program, or an object of which no program is known (``program`` is empty)."""

    object: str
    program: str
    type: str
    answers: dict[KernelColumn, ProgramVerdict]

    @property
    def differs(self) -> bool:
        """Do kernels and mechanisms that were asked disagree?"""
        return len({answer.verdict or answer.outcome for answer in self.answers.values()}) > 1


@dataclass
class NumberedReason:
    """Why programs were not accepted, in the words of the first kernel that says so. ``programs`` are those
    that it applies to, by column."""

    message: str
    programs: dict[KernelColumn, list[str]] = field(default_factory=dict)


@dataclass
class KernelMatrix:
    """``insns`` are the verified instructions of all loads, by column."""

    columns: list[KernelColumn]
    lines: list[ProgramLine]
    reasons: list[NumberedReason]
    insns: dict[KernelColumn, int]

    def accepted(self, column: KernelColumn) -> int:
        """Programs that this kernel accepts."""
        return sum(line.answers[column].verdict == "accept" for line in self.lines if column in line.answers)

    def asked(self, column: KernelColumn) -> int:
        """Programs that this kernel has a verdict for."""
        return sum(bool(line.answers[column].verdict) for line in self.lines if column in line.answers)


def matrix(cells: Sequence[Cell]) -> KernelMatrix:
    """A line for each program; lines on which kernels differ come first."""
    columns = list(dict.fromkeys(KernelColumn(cell.kernel, cell.mechanism) for cell in cells))
    table = {(KernelColumn(cell.kernel, cell.mechanism), cell.case): cell for cell in cells}
    made = KernelMatrix(columns, [], [], dict.fromkeys(columns, 0))
    for (column, _), cell in table.items():
        made.insns[column] += cell.cost.processed_insns
    for case, program in dict.fromkeys(row for cell in cells for row in _rows(cell)):
        found = {column: table[column, case] for column in columns if (column, case) in table}
        answers = {column: _answer(made, column, cell, program) for column, cell in found.items()}
        roots = (cell.program_named(program) for cell in found.values())
        kind = next((root.type for root in roots if root), "")
        made.lines.append(ProgramLine(case, program, kind, answers))
    made.lines.sort(key=lambda line: not line.differs)
    return made


def _rows(cell: Cell) -> list[tuple[str, str]]:
    return [(cell.case, root.name) for root in cell.programs] or [(cell.case, "")]


def _answer(made: KernelMatrix, column: KernelColumn, cell: Cell, program: str) -> ProgramVerdict:
    root = cell.program_named(program)
    verdict = root.verdict if root else ""
    message = "" if verdict == "accept" else (root.message if root else "") or cell.reason
    number = _number(made, message, column, program or cell.case) if message else 0
    return ProgramVerdict(program, verdict, cell.outcome, cell.load_of(program), number)


def _number(made: KernelMatrix, message: str, column: KernelColumn, program: str) -> int:
    at = next((n for n, known in enumerate(made.reasons) if wording.same(known.message, message)), None)
    if at is None:
        at = len(made.reasons)
        made.reasons.append(NumberedReason(message))
    made.reasons[at].programs.setdefault(column, []).append(program)
    return at + 1
