"""The comparison as plain text: for the terminal, and for a reply to the list."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from bpfroots.ab.model import KINDS, WHATS, ChangedProgram, Findings, Problem, SideSums, WhatDiffers
from bpfroots.report.text import number, plural

# As wide as a mail is.
_COLUMNS = 76
#: Of more changes of one kind the report alone has the rest.
MOST = 10
_FOLLOW = 4
_NAME_OF_TOTAL = {
    "insns": "insns",
    "states": "states",
    "xlated": "xlated",
    "jit": "jit",
    "insns_per_run": "insns_per_run",
}


def render(found: Findings, *, most: int = MOST) -> str:
    """All of it, regressions first; ``most`` changes of each kind in full."""
    parts = [*_head(found), *_series(found), *_problems(found.problems)]
    if found.programs or not found.problems:
        parts += [*_changes(found, most), *_counts(found), *_corpora(found), *_failing(found)]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def sentence(found: Findings) -> str:
    """What came of it, in one line."""
    where = f"{plural(found.programs, 'program')} in {plural(found.objects, 'object')}"
    differ = f"{len(found.changes):,} differ" if found.changes else "none differs"
    worst = len(found.regressions)
    text = f"{where}: {differ}"
    text += f", {plural(worst, 'regression')}" if worst else ""
    known = sum(bool(one.expected) for one in found.changes)
    return text + (f", {known:,} expected" if known else "")


def value(difference: WhatDiffers) -> str:
    """``A -> B``, with what that is in per cent."""
    if difference.what in ("results", "log"):
        return difference.detail
    if isinstance(difference.a, str) or isinstance(difference.b, str):
        return f"{difference.a or '(none)'} -> {difference.b or '(none)'}"
    if difference.a == difference.b:
        return f"{number(difference.a)} on both: {difference.detail}"
    unit = " bytes" if difference.what in ("xlated", "jit", "stack") else ""
    return f"{number(difference.a)} -> {number(difference.b)}{unit} ({percent(difference.growth)})"


def percent(growth: float | None) -> str:
    """+5.3%; with as many digits as it takes to be none of zeros."""
    if growth is None:
        return ""
    share = growth * 100
    return f"{share:+.1f}%" if abs(share) >= 0.05 or not share else f"{share:+.2g}%"


def _head(found: Findings) -> Iterator[str]:
    yield f"bpfroots ab: {found.a.kernel} -> {found.b.kernel}"
    if found.programs:
        width = max(len(found.a.kernel), len(found.b.kernel))
        for letter, side in (("A", found.a), ("B", found.b)):
            yield f"  {letter}  {side.kernel:<{width}}  {side.release}"
        yield ""
        yield sentence(found)
        if found.silent:
            yield f"{plural(found.silent, 'program')} without a verdict on both"
        if found.hidden:
            yield f"{plural(found.hidden, 'program')} left out by -f"


def _series(found: Findings) -> Iterator[str]:
    if found.series is None:
        return
    series = found.series
    yield ""
    count = len(series.patches)
    yield f"series {series.name}: {count:,} patch{'' if count == 1 else 'es'} on {series.base}"
    for note in series.notes:
        yield from _wrapped(note, "  ")
    for patch in series.patches:
        if patch.applies not in ("", "exactly"):
            yield from _wrapped(f"{patch.name}: applies {patch.applies}", "  ")
    for what, why in series.left_out:
        yield from _wrapped(f"left out: {what}: {why}", "  ")


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    for problem in problems:
        yield ""
        where = f"patch {problem.patch}" if problem.patch else problem.kernel
        yield f"{where} {problem.what}"
        for line in problem.lines:
            yield f"  {line}"


def _changes(found: Findings, most: int) -> Iterator[str]:
    for kind, title in KINDS.items():
        changes = [one for one in found.changes if one.kind == kind]
        if not changes:
            continue
        yield ""
        yield f"{title} ({len(changes):,})"
        for change in changes[:most]:
            yield from _change(change)
        if len(changes) > most:
            yield f"  and {len(changes) - most:,} more"


def _change(change: ChangedProgram) -> Iterator[str]:
    types = ", ".join(
        filter(None, (change.type, "" if change.mechanism == "duplicate" else change.mechanism))
    )
    yield f"  {change.name}" + (f" ({types})" if types else "")
    shown = [(WHATS[one.what], value(one)) for one in change.differences if _is_shown(one, change)]
    for letter, message in (("A", change.message_a), ("B", change.message_b)):
        if message and change.kind in ("crash", "reject", "accept", "message"):
            shown.append((f"{letter} says", message))
    if change.expected:
        shown.append(("expected", change.expected))
    patches = change.first_patches
    for patch, whats in patches.items():
        which = f": {', '.join(WHATS[what] for what in whats)}" if len(patches) > 1 else ""
        shown.append(("first patch", patch + which))
    for name, text in shown:
        yield from _wrapped(text, f"    {name:<15} ")


def _is_shown(one: WhatDiffers, change: ChangedProgram) -> bool:
    """A log differs where anything else does."""
    return one.what != "message" and (one.what != "log" or change.kind == "log")


def _counts(found: Findings) -> Iterator[str]:
    yield ""
    yield f"{'':<16} {'compared':>8} {'equal':>7} {'differ':>7} {'sum A':>12} {'sum B':>12}"
    for what, counted in found.counts.items():
        equal = counted.compared - counted.differ
        line = f"{WHATS[what]:<16} {counted.compared:>8,} {equal:>7,} {counted.differ:>7,}"
        yield line + _total(found.totals.get(what))


def _total(total: SideSums | None) -> str:
    if total is None:
        return ""
    growth = percent(total.b / total.a - 1) if total.a and total.a != total.b else ""
    return f" {number(total.a):>12} {number(total.b):>12} {growth}"


def _corpora(found: Findings) -> Iterator[str]:
    if len(found.corpora) < 2:
        return
    yield ""
    yield f"{'corpus':<24} {'programs':>8} {'differ':>7}"
    for name, counted in found.corpora.items():
        yield f"{name or '(given)':<24} {counted.compared:>8,} {counted.differ:>7,}"


def _failing(found: Findings) -> Iterator[str]:
    for expression, names in found.failing.items():
        yield ""
        yield f"--fail-on {expression}: {plural(len(names), 'program')}"
        for name in names[:_FOLLOW]:
            yield f"  {name}"
        if len(names) > _FOLLOW:
            yield f"  and {len(names) - _FOLLOW:,} more"


def _wrapped(text: str, lead: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [lead]
