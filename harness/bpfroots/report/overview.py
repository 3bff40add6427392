"""What `doctor`, `cases` and `run` print for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from bpfroots.report import failure
from bpfroots.report.terminal import console
from bpfroots.report.text import plural
from bpfroots.results.model import BAD, Cell

_SHOWN = 5


def print_checks(ok: bool, checks: Sequence[tuple[str, bool, str, str]]) -> None:
    """One line per check (name, ok, detail, fix), and what to do about one that is not."""
    out = console()
    for name, good, detail, fix in checks:
        mark = Text("ok      " if good else "not ok  ", style="green" if good else "bold red")
        out.print(mark + Text(f"{name:12} {detail}", style=""))
        if fix:
            out.print(f"          try: {fix}")
    out.print("able to run" if ok else "not able to run")


def print_cases(cases: Sequence[dict[str, Any]]) -> None:
    """Cases, their roots, and what is expected under each mechanism."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("case", "roots", "expected"):
        table.add_column(head, overflow="fold")
    for case in cases:
        table.add_row(case["name"], ", ".join(case["roots"]), _expected(case))
    console().print(table)


def _expected(case: dict[str, Any]) -> str:
    verdicts: dict[str, list[str]] = {}
    for mechanism, expectation in case["mechanisms"].items():
        verdicts.setdefault(expectation["expect"], []).append(mechanism)
    parts = [f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items()]
    parts += [f"{name} fails: {said['xfail']}" for name, said in case["mechanisms"].items() if said["xfail"]]
    parts += [f"{name}: {reason}" for name, reason in case["not_expressible"].items()]
    return "; ".join(parts)


def print_run(cells: Sequence[Cell], path: Path) -> None:
    """Outcomes in one line, then the first cells that are not as expected."""
    out = console()
    counts = Counter(cell.outcome for cell in cells)
    words = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in counts.most_common())
    out.print(f"{plural(len(cells), 'cell')}: {words or 'none'}")
    bad = [cell for cell in cells if cell.outcome in BAD]
    for cell in bad[:_SHOWN]:
        # No line is folded: a command in it is there to be pasted.
        out.print(Text(failure.failure(cell, path), style="red" if out.is_terminal else ""), soft_wrap=True)
    if len(bad) > _SHOWN:
        out.print(f"and {len(bad) - _SHOWN} more that are not as expected: see the report")
