"""The comparison as tables for a terminal, or for a pipe: there nothing is ever cut or coloured."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from bpfroots.analysis.changes import Changes
from bpfroots.analysis.compare import Comparison, Note, Reason, Row, Summary
from bpfroots.escape import visible
from bpfroots.report import text
from bpfroots.results.figures import Figure
from bpfroots.results.model import BAD

# Wider than any table: without a terminal no name is folded or cut.
_UNLIMITED = 10_000
_SHOWN = 8


def console(stream: TextIO | None = None) -> Console:
    """A console for ``stream`` (stdout). rich honours NO_COLOR and colours only a terminal; what is printed
    is `visible`."""
    stream = stream or sys.stdout
    width = None if stream.isatty() else _UNLIMITED
    made = Console(
        file=stream, highlight=False, markup=False, emoji=False, width=width, soft_wrap=width is not None
    )
    made.push_render_hook(_Visible())
    return made


class _Visible(RenderHook):
    """Whatever is printed is `visible`."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(renderable) for renderable in renderables]


class _Shown:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def print_headline(comparison: Comparison, out: Console, *, title: str = "") -> None:
    """The table a person reads first, then what deserves a line."""
    summary = comparison.summary
    kernels = list(dict.fromkeys(total.kernel for total in summary.totals))
    name = title or ", ".join(kernels)
    out.print(f"\n  Sharing one body between N root programs, against a tail call ({name})\n")
    out.print(Padding(_headline(comparison, len(kernels) > 1), (0, 0, 0, 2), expand=False))
    out.print()
    for line in notes(summary):
        out.print(Padding(line, (0, 0, 0, 2), expand=False))


def grid(*heads: str) -> Table:
    """An empty table with these columns."""
    empty = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for head in heads:
        empty.add_column(head, overflow="fold")
    return empty


def _headline(comparison: Comparison, several: bool) -> Table:
    totals = comparison.summary.totals
    shown = text.headlines(totals)
    table = grid(*(["kernel"] if several else []), "")
    table.add_column("accepted", justify="right")
    for figure in shown:
        table.add_column(figure.in_full, justify="right")
    for total in totals:
        lead = [total.kernel] if several else []
        if total.unknown:
            table.add_row(*lead, total.mechanism, "unsupported", *("" for _ in shown), style="bright_black")
            continue
        figures = [text.headline(total, figure) for figure in shown]
        table.add_row(*lead, total.mechanism, text.number(total.accepted), *figures)
    return table


def _list(label: str, listed: Sequence[Note], style: str = "", *, mechanisms: bool = False) -> Text:
    line = Text(f"{label}: ", style=style)
    if not listed:
        return line.append("none")
    cases = list(dict.fromkeys(note.case for note in listed))
    first = str(listed[0].key.anywhere) if mechanisms else cases[0]
    line.append(f"{text.plural(len(cases), 'case')}, e.g. {first}")
    if listed[0].reason and len({note.reason for note in listed}) == 1:
        line.append(f" ({listed[0].reason})")
    return line


def _reasons(reasons: Iterable[Reason]) -> list[Text]:
    return [Text(f"  {reason.cases:>3}  {reason.message}", "bright_black") for reason in reasons]


def notes(summary: Summary) -> list[Text]:
    """One line for each list of the summary, then one for each cell that is not as expected."""
    lines = [_list("not expressible as a tail call", summary.not_expressible)]
    lines += _reasons(summary.not_expressible_by_reason)
    for mechanism in dict.fromkeys(note.mechanism for note in summary.refused):
        refused = [note for note in summary.refused if note.mechanism == mechanism]
        lines.append(_list(f"refused by {mechanism}, accepted as duplicate", refused))
        lines += _reasons(reason for reason in summary.refused_by_reason if reason.mechanism == mechanism)
    worse = Text(f"worse than tail_call: {text.plural(len(summary.worse), 'cell')} (verified insns > 2x)")
    if summary.worse:
        first = summary.worse[0]
        worse.append(f", first: {first.key.anywhere} {text.ratio(first.ratio)}")
    lines.append(worse)
    for total in summary.sharing:
        style = "bold red" if total.findings.get("unexplained") else ""
        lines.append(Text(f"{total.mechanism} on {total.kernel}: {text.sharing(total)}", style))
    if summary.not_exact:
        lines.append(_list("insns per run not exact", summary.not_exact))
    if summary.unsupported:
        mechanisms = ", ".join(dict.fromkeys(note.mechanism for note in summary.unsupported))
        count = text.plural(len(summary.unsupported), "cell")
        lines.append(
            Text(f"unsupported: {count} ({mechanisms}: this kernel does not know it)", "bright_black")
        )
    if summary.reused:
        known = text.plural(summary.reused, "cell")
        lines.append(Text(f"known from earlier runs, nothing changed since: {known} of {summary.cells:,}"))
    if not summary.unexpected:
        return [*lines, Text("not as expected: none")]
    lines.append(Text(f"not as expected: {text.plural(len(summary.unexpected), 'cell')}", style="bold red"))
    for note in summary.unexpected[:_SHOWN]:
        lines.append(Text(f"  {note.key}: {note.reason}", style="red"))
    if len(summary.unexpected) > _SHOWN:
        lines.append(Text(f"  and {len(summary.unexpected) - _SHOWN} more", style="red"))
    return lines


#: Of more rows than this a person reads the totals; the report has them all.
MOST_ROWS = 60


def print_table(comparison: Comparison, out: Console) -> None:
    """Every case: verdict and figures per mechanism, each with its ratio to the baseline.

    On a terminal a case is a heading and columns that do not fit are left out, by name; elsewhere every
    line is complete in itself.
    """
    shown = text.columns(comparison.rows)
    left_out: list[str] = []
    unlimited = out.options.update(max_width=_UNLIMITED)
    table = _cases(comparison, shown, headings=out.is_terminal)
    for figure in sorted((figure for figure in shown if figure.spare), key=lambda figure: figure.spare):
        if out.measure(table, options=unlimited).maximum <= out.width:
            break
        shown.remove(figure)
        left_out.append(figure.head)
        table = _cases(comparison, shown, headings=out.is_terminal)
    out.print(table)
    if left_out:
        out.print(Text(f" left out for want of width: {', '.join(left_out)}", "bright_black"))


def _cases(comparison: Comparison, shown: Sequence[Figure], *, headings: bool) -> Table:
    several = len({row.kernel for row in comparison.rows}) > 1
    heads = ["mechanism", *(["kernel"] if several else []), "verdict"]
    table = grid(*([] if headings else ["case"]), *heads)
    for figure in shown:
        table.add_column(figure.head, justify="right")
    previous = None
    for row in sorted(comparison.rows, key=lambda row: row.case):
        if headings and row.case != previous:
            if previous is not None:
                table.add_section()
            table.add_row(Text(row.case, "bold"))
        previous = row.case
        lead = [f"  {row.mechanism}"] if headings else [row.case, row.mechanism]
        kernel = [row.kernel] if several else []
        table.add_row(*lead, *kernel, _verdict(row), *(_figure(row, figure) for figure in shown))
    return table


def _verdict(row: Row) -> Text:
    word = text.verdict(row.verdict, row.outcome)
    if row.outcome in BAD:
        return Text(word if word == "not as expected" else f"{word} (not as expected)", style="bold red")
    return Text(word, style="" if row.verdict else "bright_black")


def _figure(row: Row, figure: Figure) -> Text:
    if figure.name not in row.figures:
        return Text("")
    cell = Text(text.number(row.figures[figure.name]))
    if figure.relative:
        shown = text.ratio(row.ratios[figure.name]) if figure.name in row.ratios else ""
        cell.append(f" {shown:>5}", style="bright_black")
    return cell


def print_changes(changed: Changes, out: Console) -> None:
    """What differs between two runs; verdicts and outcomes first."""
    out.print(f"\n  {changed.a}  →  {changed.b}\n")
    for kernel in changed.kernels:
        out.print(f"  kernel {kernel.name} differs: {', '.join(kernel.what)}\n")
    if changed.changes:
        table = grid("case", "kernel", "mechanism", "what")
        for head in ("before", "after", "ratio"):
            table.add_column(head, justify="right", overflow="fold")
        first = ("outcome", "verdict")
        for change in sorted(changed.changes, key=lambda change: change.what not in first):
            before, after = (
                value if isinstance(value, str) else text.number(value) for value in (change.a, change.b)
            )
            shown = "" if isinstance(change.a, str) else text.ratio(change.ratio)
            style = "bold" if change.what in first else ""
            table.add_row(
                change.case, change.kernel, change.mechanism, change.what, before, after, shown, style=style
            )
        out.print(Padding(table, (0, 0, 0, 2), expand=False))
    out.print(f"  {text.plural(changed.cells, 'cell')} in both, {changed.same:,} without a difference")
    for label, only in ((changed.a, changed.only_a), (changed.b, changed.only_b)):
        if only:
            out.print(f"  only in {label}: {', '.join(only[:_SHOWN])}{' ...' if len(only) > _SHOWN else ''}")
