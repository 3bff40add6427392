"""Programs against kernels: the words of the page and of the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bpfroots.analysis.by_kernel import KernelColumn, KernelMatrix, NumberedReason, ProgramVerdict
from bpfroots.report import terminal, text

# Of more programs a reason names the first.
_NAMED = 3


def heads(columns: Sequence[KernelColumn]) -> list[str]:
    """A column's head: its kernel, and its mechanism where there are several."""
    several = len({column.mechanism for column in columns}) > 1
    return [f"{one.mechanism} on {one.kernel}" if several else one.kernel for one in columns]


def word(answer: ProgramVerdict | None) -> str:
    """accept, reject, or why there is no verdict; empty where the program was not there."""
    if answer is None:
        return ""
    return answer.verdict or text.verdict("", answer.outcome)


def print_matrix(shown: KernelMatrix, out: Console) -> None:
    """A line per program, a column per kernel, those programs first on which kernels differ; then each
    reason once, with its number in the table."""
    objects = len({line.object for line in shown.lines}) > 1
    table = terminal.grid(*(["object"] if objects else []), "program", "type")
    for head in heads(shown.columns):
        table.add_column(head)
        table.add_column("insns", justify="right")
    differing = True
    for line in shown.lines:
        if differing and not line.differs and table.row_count:
            table.add_section()
        differing = line.differs
        lead = [line.object] if objects else []
        answers = [line.answers.get(column) for column in shown.columns]
        table.add_row(
            *lead,
            line.program or "(none)",
            line.type,
            *(part for answer in answers for part in (_cell(answer), _insns(answer))),
        )
    table.add_section()
    totals = [
        part
        for column in shown.columns
        for part in (
            f"{shown.accepted(column):,} of {shown.asked(column):,}",
            text.number(shown.insns[column]),
        )
    ]
    table.add_row(*([""] if objects else []), "accepted", "", *totals)
    out.print(Padding(table, (0, 0, 0, 2), expand=False))
    for number, reason in enumerate(shown.reasons, 1):
        out.print(Padding(Text(f"[{number}] {reason.message}"), (0, 0, 0, 2), expand=False), soft_wrap=True)
        for where in places(reason, shown.columns):
            out.print(Text(f"      {where}", style="bright_black"), soft_wrap=True)


def _cell(answer: ProgramVerdict | None) -> Text:
    if answer is None:
        return Text("")
    note = f" [{answer.reason}]" if answer.reason else ""
    return Text(word(answer) + note, style="" if answer.verdict == "accept" else "bold red")


def _insns(answer: ProgramVerdict | None) -> str:
    return "" if answer is None or answer.insns is None else text.number(answer.insns)


def places(reason: NumberedReason, columns: Sequence[KernelColumn]) -> list[str]:
    """Where a reason applies, as ``kernel, kernel: program, program``; one line where the programs are the
    same."""
    names = dict(zip(columns, heads(columns), strict=True))
    shared: dict[tuple[str, ...], list[str]] = {}
    for column, listed in reason.programs.items():
        shared.setdefault(tuple(listed), []).append(names[column])
    lines = []
    for programs, where in shared.items():
        more = f" and {len(programs) - _NAMED} more" if len(programs) > _NAMED else ""
        lines.append(f"{', '.join(where)}: {', '.join(programs[:_NAMED])}{more}")
    return lines
