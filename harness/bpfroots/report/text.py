"""Words and numbers as every report writes them."""

from __future__ import annotations

from bpfroots.analysis.compare import BASELINE, FIGURES, Total
from bpfroots.analysis.shared import Sharing

#: Column heads of the figures.
HEADS = {
    "roots": "roots",
    "jit_images": "images",
    "jit_bytes": "JIT bytes",
    "direct_calls": "direct calls",
    "indirect_branches": "indirect",
    "retpoline_calls": "retpoline",
    "xlated_bytes": "xlated bytes",
    "processed_insns": "verified insns",
    "total_states": "states",
    "insns_per_run": "insns per run",
}


#: Figures of a table of cases; translated bytes are on a case's own page.
COLUMNS = tuple(name for name in FIGURES if name != "xlated_bytes")


def number(value: float) -> str:
    """A count or a mean: thousands separated, at most one decimal."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def ratio(value: float | None) -> str:
    """Two digits; "-" where the baseline's figure is 0 and no ratio exists."""
    return "-" if value is None else f"{value:,.2f}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def headline(total: Total, figure: str) -> str:
    """A mechanism's figure in the headline table, to the baseline's.

    Geometric mean over cases; the ratio of the sums for figures that are 0 as a rule, with the sum.
    """
    if total.mechanism != BASELINE and not total.compared:
        return "-"
    if figure != "indirect_branches":
        return ratio(total.means.get(figure))
    own = total.sums if total.mechanism == BASELINE else total.totals
    # 0 against 0 is no ratio; the count says all there is to say.
    share = total.total_ratios.get(figure)
    return f"{ratio(share)} ({number(own.get(figure, 0))})" if share else ratio(share)


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


#: Columns of the headline table; the last only where it was measured.
HEADLINE = ("processed_insns", "jit_bytes", "indirect_branches", "insns_per_run")


def verdict(word: str, outcome: str) -> str:
    """What a table says of a cell: accept or reject, else why there is no verdict."""
    if outcome in ("pass", "xfail", "fail") and word:
        return word
    if outcome == "fail":
        return "not as expected"
    return "not expressible" if outcome == "skip" else outcome.replace("_", " ")
