"""The history for a person at a terminal: runs, what got worse, and one case over its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bpfroots.history.database import Recorded
from bpfroots.history.record import CellHistory, Span
from bpfroots.history.trend import Finding, Flaky, Trend, standing
from bpfroots.report import text
from bpfroots.results.figures import FIGURES, head
from bpfroots.results.model import BAD

_SHOWN = 20


def print_runs(runs: Sequence[Recorded], outcomes: Mapping[int, Mapping[str, int]], out: Console) -> None:
    """A line per run, the newest last."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("run", "job", "cells", "not as expected", "compared with"):
        table.add_column(name, justify="right" if name in ("cells", "not as expected") else "left")
    for run in runs:
        counts = outcomes.get(run.id, {})
        bad = sum(count for outcome, count in counts.items() if outcome in BAD)
        compared = {True: "yes", False: "no", None: ""}[run.good]
        shown = Text(text.number(bad), "bold red" if bad else "")
        table.add_row(run.name, run.job, text.number(sum(counts.values())), shown, compared)
    out.print(table)


def trend_lines(trend: Trend) -> list[str]:
    """What a night is worth telling, in lines of plain text; also the mail's."""
    if not trend.reference:
        return [f"{trend.run}: {text.plural(trend.cells, 'cell')}; the first run, compared with nothing"]
    counts = [
        text.plural(len(trend.regressions), "regression"),
        f"{len(trend.flaky):,} flaky",
        f"{len(trend.better):,} better",
        f"{len(trend.new):,} new",
        f"{len(trend.gone):,} gone",
    ]
    lines = [
        f"{trend.run} compared with {trend.reference}",
        f"{text.plural(trend.cells, 'cell')}: {', '.join(counts)}",
    ]
    lines += [f"new splat: {title}" for title in trend.splats]
    lines += _listed("worse", [finding_line(finding) for finding in trend.regressions])
    lines += _listed("flaky", [flaky_line(flaky) for flaky in trend.flaky])
    lines += _listed("better", [finding_line(finding) for finding in trend.better])
    lines += _listed("gone", trend.gone)
    return lines


def _listed(head: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return ["", f"{head}:", *(f"  {line}" for line in lines[:_SHOWN]), *more]


def finding_line(finding: Finding) -> str:
    """One finding in one line: what, how much, since when, and what had changed there."""
    kind = head(finding.kind)
    ratio = f" (x {finding.ratio:.3f})" if finding.ratio is not None else ""
    change = f"{kind} {value(finding.before)} → {value(finding.after)}{ratio}"
    reason = f": {finding.reason}" if finding.reason and finding.ratio is None else ""
    since = f"; since {finding.first_bad}" + (
        f", changed there: {finding.changed}" if finding.changed else ""
    )
    return f"{finding.key}: {change}{reason}{since}"


def flaky_line(flaky: Flaky) -> str:
    values = ", ".join(
        f"{value or 'none'} in {text.plural(runs, 'run')}" for value, runs in flaky.values.items()
    )
    kind = head(flaky.kind)
    now = "; worse this time" if flaky.bad else ""
    return f"{flaky.key}: {kind} {values}; {flaky.why}{now}"


def value(shown: str | float) -> str:
    """A value of an aspect."""
    return (shown or "none") if isinstance(shown, str) else text.number(shown)


def print_case(cells: Sequence[CellHistory], out: Console) -> None:
    """Each cell of a case: what it was, from which run to which."""
    for cell in cells:
        out.print(Text(str(cell.key), "bold"))
        for span in cell.spans:
            out.print(Text(f"  {_span(span)}", "red" if standing(span.state) == "bad" else ""))
        if cell.artefacts:
            out.print(f"  artefacts  {cell.artefacts}")


def _span(span: Span) -> str:
    state = span.state
    runs = f"since {span.first}, {text.plural(span.runs, 'run')}"
    words = state.outcome if not state.verdict else f"{state.outcome} ({state.verdict})"
    figures = [
        f"{figure.head} {text.number(state.figures[figure.name])}"
        for figure in FIGURES
        if figure.threshold is not None and figure.name in state.figures
    ]
    said = state.reason or state.message
    return " · ".join([runs, words, *figures, *([said] if said else [])])
