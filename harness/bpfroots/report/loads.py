"""What `load` prints: every program, side by side for each kernel and mechanism."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bpfroots.analysis.by_kernel import matrix
from bpfroots.analysis.groups import groups
from bpfroots.analysis.shared import SHARING
from bpfroots.report import failure, terminal, text
from bpfroots.report.by_kernel import print_matrix
from bpfroots.results.model import BAD, Cell, Root

# Cells that are shown in full, below the table.
_IN_FULL = 5


class _Column(NamedTuple):
    kernel: str
    mechanism: str


class _Row(NamedTuple):
    """One program of an object, or an object of which no program is known (``program`` is empty)."""

    case: str
    program: str


def print_loads(cells: Sequence[Cell], run_dir: Path) -> None:
    """A table of programs, what differs between columns first; then what was not accepted, with its log.

    Of several kernels every reason, once; the logs are in the report."""
    out = terminal.console()
    if len({cell.kernel for cell in cells}) > 1:
        print_matrix(matrix(cells), out)
        _print_groups(cells, out)
        return
    columns = list(dict.fromkeys(_Column(cell.kernel, cell.mechanism) for cell in cells))
    table = {(_Column(cell.kernel, cell.mechanism), cell.case): cell for cell in cells}
    rows = list(dict.fromkeys(row for cell in cells for row in _rows(cell)))
    rows.sort(key=lambda row: not _differs(row, columns, table))
    _print_table(rows, columns, table, out)
    _print_groups(cells, out)
    bad = [cell for cell in cells if cell.outcome in BAD]
    for cell in bad[:_IN_FULL]:
        shown = Text(failure.failure(cell, run_dir), style="red" if out.is_terminal else "")
        out.print(shown, soft_wrap=True)
    if len(bad) > _IN_FULL:
        out.print(f"and {len(bad) - _IN_FULL} more that are not accepted: see the report")


def _print_groups(cells: Sequence[Cell], out: Console) -> None:
    """Of cells whose programs may share functions: which do. Equal ones of several kernels as one."""
    wanted = [cell for cell in cells if cell.mechanism in SHARING and cell.verifications]
    objects = len({cell.case for cell in cells}) > 1
    found: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for cell in wanted:
        lines = tuple(text.groups(groups(cell)))
        found.setdefault((cell.mechanism, cell.case if objects else "", lines), []).append(cell.kernel)
    for (mechanism, case, lines), kernels in found.items():
        head = " ".join(part for part in (mechanism, f"on {', '.join(kernels)}", case) if part)
        out.print(Padding(Text(head, style="bold"), (0, 0, 0, 2), expand=False), soft_wrap=True)
        for line in lines:
            out.print(Text(f"    {line}"), soft_wrap=True)


def _rows(cell: Cell) -> list[_Row]:
    names = [root.name for root in [*cell.roots, *cell.targets]]
    return [_Row(cell.case, name) for name in names] or [_Row(cell.case, "")]


def _root(row: _Row, cell: Cell | None) -> Root | None:
    programs = [*cell.roots, *cell.targets] if cell else []
    return next((root for root in programs if root.name == row.program), None)


def _verdict(row: _Row, cell: Cell | None) -> str:
    if cell is None:
        return ""
    root = _root(row, cell)
    return (root.verdict if root else "") or text.verdict("", cell.outcome)


def _differs(row: _Row, columns: Sequence[_Column], table: dict[tuple[_Column, str], Cell]) -> bool:
    return len({_verdict(row, table.get((column, row.case))) for column in columns}) > 1


def _print_table(
    rows: Sequence[_Row], columns: Sequence[_Column], table: dict[tuple[_Column, str], Cell], out: Console
) -> None:
    several = len({row.case for row in rows}) > 1
    shown = terminal.grid(*(["object"] if several else []), "program", "type")
    for column in columns:
        shown.add_column(column.mechanism)
        shown.add_column("insns", justify="right")
    for row in rows:
        cells = [table.get((column, row.case)) for column in columns]
        kind = next((root.type for cell in cells if (root := _root(row, cell))), "")
        lead = [row.case] if several else []
        figures = [part for cell in cells for part in (_word(row, cell), _insns(row, cell))]
        shown.add_row(*lead, row.program or "(none)", kind, *figures)
    totals = [
        part
        for column in columns
        for part in (
            "",
            text.number(sum(c.cost.processed_insns for (k, _), c in table.items() if k == column)),
        )
    ]
    shown.add_section()
    shown.add_row(*([""] if several else []), "verified insns of all loads", "", *totals)
    out.print(Padding(shown, (0, 0, 0, 2), expand=False))


def _word(row: _Row, cell: Cell | None) -> Text:
    word = _verdict(row, cell)
    return Text(word, style="" if word in ("accept", "") else "bold red")


def _insns(row: _Row, cell: Cell | None) -> str:
    """Verified instructions; of a load of several programs once, the others point to it."""
    load = cell.load_of(row.program) if cell else None
    if load is None:
        return ""
    first, *others = load.programs
    if row.program != first:
        return f"with {first}"
    return text.number(load.verifier.processed_insns) + (f" for {len(others) + 1}" if others else "")
