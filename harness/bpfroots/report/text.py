"""Words and numbers as every report writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpfroots.results.figures import BASELINE, FIGURES, Figure

if TYPE_CHECKING:
    from bpfroots.analysis.compare import Row, Total
    from bpfroots.analysis.groups import Groups
    from bpfroots.analysis.shared import Sharing


def number(value: float) -> str:
    """A count or a mean: thousands separated, at most one decimal."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def ratio(value: float | None) -> str:
    """Two digits; "-" where the baseline's figure is 0 and no ratio exists."""
    return "-" if value is None else f"{value:,.2f}"


def groups(found: Groups) -> list[str]:
    """Which programs were loaded together, and which functions they share; a line each."""
    lines = [f"one load: {', '.join(programs)}" for programs in found.groups]
    if found.alone:
        lines.append(f"loaded alone: {', '.join(found.alone)}")
    lines += [f"shared function: {name}, called by {', '.join(by)}" for name, by in found.shared.items()]
    return lines if found.shared else [*lines, "no function is shared"]


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def columns(rows: Iterable[Row]) -> list[Figure]:
    """The figures of a table of cases: those that any row has."""
    known = {name for row in rows for name in row.figures}
    return [figure for figure in FIGURES if figure.column and figure.name in known]


def headlines(totals: Iterable[Total]) -> list[Figure]:
    """The figures of the headline table: those that any total has."""
    known = {name for total in totals for name in total.sums}
    return [figure for figure in FIGURES if figure.headline and figure.name in known]


def share(total: Total, figure: Figure) -> float | None:
    """A mechanism's figure to the baseline's, as the headline table has it (`Figure.headline`)."""
    shares = total.means if figure.headline == "mean" else total.total_ratios
    return shares.get(figure.name)


def headline(total: Total, figure: Figure) -> str:
    """The same in words; a ratio of sums is followed by the sum."""
    if total.mechanism != BASELINE and not total.compared:
        return "-"
    found = share(total, figure)
    # 0 against 0 is no ratio; the count says all there is to say.
    if figure.headline == "mean" or not found:
        return ratio(found)
    own = total.sums if total.mechanism == BASELINE else total.totals
    return f"{ratio(found)} ({number(own.get(figure.name, 0))})"


def sharing(total: Sharing) -> str:
    """What roots of a shared body take against the same roots with a copy of it, in one sentence."""
    other = total.roots - total.same_code
    least = min((held.more[0] for held in total.listed if not held.same_code), default=0)
    most = max((held.more[1] for held in total.listed if not held.same_code), default=0)
    helpers, unexplained = (total.findings.get(name, 0) for name in ("helpers", "unexplained"))
    parts = [f"{plural(total.roots, 'root')}: {total.same_code:,} run the copy's code"]
    differing = helpers + unexplained
    parts.append(f", {total.same_code - differing:,} of them in exactly as many insns")
    if helpers:
        parts.append(f" ({helpers:,} call helpers that went another way)")
    if other:
        parts.append(f"; {other:,} run other code, {least:+g} to {most:+g} insns per run")
    if unexplained:
        parts.append(f"; {unexplained:,} differ without a reason: one of the figures is wrong")
    return "".join(parts)


def verdict(word: str, outcome: str) -> str:
    """What a table says of a cell: accept or reject, else why there is no verdict."""
    if outcome in ("pass", "xfail", "fail") and word:
        return word
    if outcome == "fail":
        return "not as expected"
    return "not expressible" if outcome == "skip" else outcome.replace("_", " ")
