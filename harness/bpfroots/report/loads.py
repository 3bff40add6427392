"""What `load` prints: every program, side by side for each kernel and mechanism."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bpfroots.analysis.by_kernel import KernelMatrix, ProgramVerdict, matrix
from bpfroots.analysis.groups import groups
from bpfroots.analysis.shared import SHARING
from bpfroots.report import failure, terminal, text
from bpfroots.report.by_kernel import print_matrix, word
from bpfroots.results.model import BAD, Cell

# Cells that are shown in full, below the table.
_IN_FULL = 5


def print_loads(cells: Sequence[Cell], run_dir: Path) -> None:
    """A table of programs, what differs between columns first; then what was not accepted, with its log.

    Of several kernels every reason, once; the logs are in the report."""
    out = terminal.console()
    shown = matrix(cells)
    if len({cell.kernel for cell in cells}) > 1:
        print_matrix(shown, out)
        _print_groups(cells, out)
        return
    _print_table(shown, out)
    _print_groups(cells, out)
    bad = [cell for cell in cells if cell.outcome in BAD]
    for cell in bad[:_IN_FULL]:
        style = "red" if out.is_terminal else ""
        out.print(Text(failure.failure(cell, run_dir), style=style), soft_wrap=True)
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


def _print_table(shown: KernelMatrix, out: Console) -> None:
    several = len({line.object for line in shown.lines}) > 1
    table = terminal.grid(*(["object"] if several else []), "program", "type")
    for column in shown.columns:
        table.add_column(column.mechanism)
        table.add_column("insns", justify="right")
    for line in shown.lines:
        lead = [line.object] if several else []
        answers = [line.answers.get(column) for column in shown.columns]
        figures = [part for answer in answers for part in (_word(answer), _insns(answer))]
        table.add_row(*lead, line.program or "(none)", line.type, *figures)
    totals = [part for column in shown.columns for part in ("", text.number(shown.insns[column]))]
    table.add_section()
    table.add_row(*([""] if several else []), "verified insns of all loads", "", *totals)
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _word(answer: ProgramVerdict | None) -> Text:
    said = word(answer)
    return Text(said, style="" if said in ("accept", "") else "bold red")


def _insns(answer: ProgramVerdict | None) -> str:
    """Verified instructions; of a load of several programs once, the others point to it."""
    if answer is None or answer.load is None:
        return ""
    first, *others = answer.load.programs
    if answer.insns is None:
        return f"with {first}"
    return text.number(answer.insns) + (f" for {len(others) + 1}" if others else "")
