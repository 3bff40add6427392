"""What a night has found, as a mail: a subject and plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpfroots.escape import visible
from bpfroots.history import terminal as history
from bpfroots.history.trend import Trend
from bpfroots.nightly.state import WorkFailure
from bpfroots.report import text
from bpfroots.results.model import BAD, Cell

_SHOWN = 20


def subject(trend: Trend, failures: Sequence[WorkFailure], cells: Sequence[Cell]) -> str:
    """One line that says whether to read on."""
    bad = sum(cell.outcome in BAD for cell in cells)
    parts = [
        text.plural(len(trend.regressions), "regression") if trend.regressions else "",
        f"{text.plural(len(trend.splats), 'new splat')}" if trend.splats else "",
        f"{text.plural(len(failures), 'part')} failed" if failures else "",
        f"{text.plural(bad, 'cell')} not as expected" if bad and not trend.regressions else "",
        f"{len(trend.flaky)} flaky" if trend.flaky else "",
    ]
    return visible(f"bpfroots {trend.run}: {', '.join(filter(None, parts)) or 'nothing got worse'}")


def summary(trend: Trend, failures: Sequence[WorkFailure], cells: Sequence[Cell], path: Path) -> str:
    """What was found, what could not be done, and where to look."""
    lines = history.trend_lines(trend)
    if failures:
        lines += ["", "could not be done:"]
        lines += [f"  {failure.what}: {failure.message}" for failure in failures]
    bad = [cell for cell in cells if cell.outcome in BAD]
    if bad:
        lines += ["", f"not as expected: {text.plural(len(bad), 'cell')}"]
        lines += [f"  {cell.key}: {cell.in_full}" for cell in bad[:_SHOWN]]
        lines += [f"  and {len(bad) - _SHOWN:,} more"] if len(bad) > _SHOWN else []
    lines += ["", f"report   {path / 'report' / 'index.html'}", f"results  {path}"]
    if trend.regressions:
        lines.append(f"if this is as it should be: bpfroots history --accept {trend.run}")
    return visible("\n".join(lines) + "\n")
