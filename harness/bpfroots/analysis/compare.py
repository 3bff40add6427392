"""What sharing code one way costs against another."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from bpfroots.analysis.shared import Sharing, sharing
from bpfroots.analysis.verifier_log import normalise
from bpfroots.programs.protocol import MECHANISMS, Mechanism
from bpfroots.results.figures import BASELINE, FIGURES, INSNS_PER_RUN
from bpfroots.results.key import Keyed
from bpfroots.results.model import BAD, Cell, Root, TestResult

_WORSE = 2.0

_Groups: TypeAlias = "dict[tuple[str, Mechanism], list[Row]]"


class Row(Keyed, msgspec.Struct):
    """A cell in the comparison. A ratio is null where the baseline's figure is 0.

    ``ratios`` is empty where one of the two was not accepted: the cost of half a verification says nothing.
    """

    case: str
    kernel: str
    mechanism: Mechanism
    verdict: str
    outcome: str
    figures: dict[str, float] = {}
    ratios: dict[str, float | None] = {}
    reason: str = ""
    attempt: int = 1


class Total(msgspec.Struct):
    """One mechanism on one kernel, over the cases that were accepted under it and under the baseline.

    ``means`` are geometric, over the cases in which both figures are above 0. ``totals`` are sums, and
    ``total_ratios`` say what the sums are to the baseline's: for figures that are often 0.
    ``sums`` are over every accepted case.
    """

    kernel: str
    mechanism: Mechanism
    cells: int = 0
    accepted: int = 0
    rejected: int = 0
    unsupported: int = 0
    compared: int = 0
    means: dict[str, float] = {}
    totals: dict[str, float] = {}
    total_ratios: dict[str, float | None] = {}
    sums: dict[str, float] = {}

    @property
    def unknown(self) -> bool:
        """The kernel does not know the mechanism: nothing that could be expressed got a verdict."""
        return self.unsupported > 0 and not self.accepted + self.rejected


class Note(Keyed, msgspec.Struct):
    """A cell worth a line: why it is in its list, and how much where that is a figure."""

    case: str
    kernel: str
    mechanism: Mechanism
    reason: str = ""
    ratio: float | None = None
    expected: bool = True


class Reason(msgspec.Struct):
    """Why a mechanism does not do ``cases`` cases: a message without what is of one case."""

    mechanism: Mechanism
    message: str
    cases: int
    first: str


class OfType(msgspec.Struct):
    """The totals over the cases that have a root of this type; a case counts for each type it has."""

    type: str
    totals: list[Total]


class Summary(msgspec.Struct):
    """``reused`` cells come from earlier runs. ``worse``: more than twice the baseline's verified insns.
    ``refused``: by a mechanism other than the baseline, and accepted as `duplicate`. ``sharing``: roots of
    a shared body against those with a copy of it. ``not_exact``: cells with a count of instructions that is
    not what most runs took. ``unexpected``: every cell that is not as expected."""

    totals: list[Total] = []
    by_type: list[OfType] = []
    cases: int = 0
    cells: int = 0
    reused: int = 0
    not_expressible: list[Note] = []
    not_expressible_by_reason: list[Reason] = []
    refused: list[Note] = []
    refused_by_reason: list[Reason] = []
    worse: list[Note] = []
    unexpected: list[Note] = []
    unsupported: list[Note] = []
    not_exact: list[Note] = []
    sharing: list[Sharing] = []


class Comparison(msgspec.Struct):
    """The `compare` document: ``baseline`` is the mechanism that every ratio is to."""

    baseline: Mechanism
    rows: list[Row]
    summary: Summary


def compare(cells: Iterable[Cell], baseline: Mechanism = BASELINE) -> Comparison:
    """Every cell against the baseline mechanism of the same case on the same kernel."""
    ordered = sorted(cells, key=lambda cell: (cell.kernel, cell.case, MECHANISMS.index(cell.mechanism)))
    bases = {(cell.case, cell.kernel): cell for cell in ordered if cell.mechanism == baseline}
    rows = [_row(cell, bases.get((cell.case, cell.kernel))) for cell in ordered]
    return Comparison(baseline, rows, _summary(ordered, rows, baseline))


def figures(cell: Cell) -> dict[str, float]:
    """The figures of a cell (`results.figures`), in their order. Empty where nothing was loaded."""
    if not cell.verdict:
        return {}
    found = {one.name: getattr(cell.cost, one.name) for one in FIGURES if one.name != INSNS_PER_RUN}
    measured = [
        run.insns_per_run for root in cell.roots for run in root.runs if run.insns_per_run is not None
    ]
    if measured:
        found[INSNS_PER_RUN] = sum(measured) / len(measured)
    return found


def ratio_of(value: float, base: float) -> float | None:
    return value / base if base else None


def _ratios(a: dict[str, float], b: dict[str, float]) -> dict[str, float | None]:
    """``a`` as multiples of ``b``."""
    return {name: ratio_of(value, b[name]) for name, value in a.items() if name in b}


def _row(cell: Cell, base: Cell | None) -> Row:
    row = Row(
        cell.case,
        cell.kernel,
        cell.mechanism,
        cell.verdict,
        cell.outcome,
        figures(cell),
        reason=cell.reason,
        attempt=cell.attempt,
    )
    if base is not None and cell.verdict == base.verdict == "accept":
        row.ratios = _ratios(row.figures, figures(base))
    return row


def geometric_mean(values: Sequence[float]) -> float:
    """Of figures above 0, at least one."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _sum(rows: Iterable[Row]) -> dict[str, float]:
    total: dict[str, float] = {}
    for row in rows:
        for name, value in row.figures.items():
            total[name] = total.get(name, 0) + value
    return total


def _total(kernel: str, mechanism: Mechanism, rows: Sequence[Row], bases: Sequence[Row]) -> Total:
    accepted = [row for row in rows if row.verdict == "accept"]
    compared = [row for row in accepted if row.ratios]
    cases = {row.case for row in compared}
    sums, base_sums = _sum(compared), _sum(base for base in bases if base.case in cases)
    positive = {
        one.name: [ratio for row in compared if (ratio := row.ratios.get(one.name)) is not None and ratio > 0]
        for one in FIGURES
    }
    return Total(
        kernel,
        mechanism,
        cells=len(rows),
        accepted=len(accepted),
        rejected=sum(row.verdict == "reject" for row in rows),
        unsupported=sum(row.outcome == "unsupported" for row in rows),
        compared=len(compared),
        means={name: geometric_mean(ratios) for name, ratios in positive.items() if ratios},
        totals=sums,
        total_ratios=_ratios(sums, base_sums),
        sums=_sum(accepted),
    )


def _note(cell: Cell, reason: str = "", ratio: float | None = None) -> Note:
    return Note(
        cell.case, cell.kernel, cell.mechanism, reason or cell.reason, ratio, expected=cell.outcome not in BAD
    )


def refusal(cell: Cell) -> str:
    """Why a cell was rejected: the message of its first rejected program."""
    programs: list[Root] = cell.programs
    return next((root.message for root in programs if root.verdict == "reject" and root.message), cell.reason)


def unexpected_reason(result: TestResult) -> str:
    """One line on a cell or another test that is not as expected."""
    if result.reason:
        return result.in_full
    if result.outcome == "fail" and isinstance(result, Cell):
        return _failed(result)
    return result.outcome.replace("_", " ")


def _failed(cell: Cell) -> str:
    expected = cell.expected.verdict if cell.expected else "accept"
    if cell.verdict and cell.verdict != expected:
        return f"expected {expected}, got {cell.verdict}" + (f": {why}" if (why := refusal(cell)) else "")
    return "results differ"


def _not_exact(cell: Cell) -> str:
    """The roots and inputs of a cell with figures that are not exact."""
    found = (f"{root.name}, {run.input}" for root in cell.roots for run in root.runs if run.not_exact)
    return "; ".join(found)


def _by_type(cells: Sequence[Cell], groups: _Groups, baseline: Mechanism) -> list[OfType]:
    cases: dict[str, set[str]] = {}
    for cell in cells:
        for root in cell.roots:
            cases.setdefault(root.type, set()).add(cell.case)
    return [OfType(type_, _totals(groups, baseline, cases[type_])) for type_ in sorted(cases)]


def _totals(groups: _Groups, baseline: Mechanism, cases: set[str] | None = None) -> list[Total]:
    """By kernel and mechanism, over all cases or only ``cases``."""
    found = []
    for kernel, mechanism in sorted(groups, key=lambda key: (key[0], MECHANISMS.index(key[1]))):
        rows, bases = (
            [row for row in groups.get((kernel, name), []) if cases is None or row.case in cases]
            for name in (mechanism, baseline)
        )
        found.append(_total(kernel, mechanism, rows, bases))
    return found


# Of a message: where it is ("insn 22: "), which roots it names, and the numbers of the case.
_WHERE = re.compile(r"^(insn \d+|root#\d+): ")
_ROOTS = re.compile(r"[,;]? (?:for )?root#\d+\b.*$")


def _reasons(notes: Iterable[Note]) -> list[Reason]:
    """Notes by mechanism and message, the most frequent first."""
    found: dict[tuple[Mechanism, str], dict[str, None]] = {}
    for note in notes:
        message = _ROOTS.sub("", _WHERE.sub("", normalise(note.reason)))
        found.setdefault((note.mechanism, message), {})[note.case] = None
    reasons = [
        Reason(mechanism, message, len(cases), next(iter(cases)))
        for (mechanism, message), cases in found.items()
    ]
    return sorted(reasons, key=lambda reason: (MECHANISMS.index(reason.mechanism), -reason.cases))


def _summary(cells: Sequence[Cell], rows: Sequence[Row], baseline: Mechanism) -> Summary:
    groups: _Groups = {}
    for row in rows:
        groups.setdefault((row.kernel, row.mechanism), []).append(row)
    duplicates = {
        (cell.case, cell.kernel)
        for cell in cells
        if cell.mechanism == "duplicate" and cell.verdict == "accept"
    }
    worse = [
        _note(cell, ratio=ratio)
        for cell, row in zip(cells, rows, strict=True)
        if (ratio := row.ratios.get("processed_insns")) is not None and ratio > _WORSE
    ]
    refused = [
        _note(cell, refusal(cell))
        for cell in cells
        if cell.mechanism not in (baseline, "duplicate")
        and cell.verdict == "reject"
        and (cell.case, cell.kernel) in duplicates
    ]
    not_expressible = [
        _note(cell, cell.not_expressible)
        for cell in cells
        if cell.mechanism == baseline and cell.outcome == "skip"
    ]
    return Summary(
        totals=_totals(groups, baseline),
        by_type=_by_type(cells, groups, baseline),
        cases=len({cell.case for cell in cells}),
        cells=len(cells),
        reused=sum(bool(cell.reused) for cell in cells),
        not_expressible=not_expressible,
        not_expressible_by_reason=_reasons(not_expressible),
        refused=refused,
        refused_by_reason=_reasons(refused),
        worse=sorted(worse, key=lambda note: -(note.ratio or 0)),
        unexpected=[_note(cell, unexpected_reason(cell)) for cell in cells if cell.outcome in BAD],
        unsupported=[_note(cell) for cell in cells if cell.outcome == "unsupported"],
        not_exact=[_note(cell, reason) for cell in cells if (reason := _not_exact(cell))],
        sharing=sharing(cells),
    )
