"""For each result that a series changes, the first patch that changes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from bpfroots.ab.model import Change, Comparison, What
from bpfroots.ab.pair import Wanted, changed, ran_on
from bpfroots.ab.series import Taken
from bpfroots.errors import KernelError
from bpfroots.progress import Progress

_Key = tuple[str, str, str]


@dataclass
class _Search:
    """Between which numbers of patches a program changes: it is as on the base with ``low`` of them."""

    whats: frozenset[What]
    low: int
    high: int
    skipped: set[int] = field(default_factory=set)

    def middle(self) -> int | None:
        """The number to ask for next; None where no other one can tell more."""
        open_ = [n for n in range(self.low + 1, self.high) if n not in self.skipped]
        return min(open_, key=lambda n: abs(2 * n - self.low - self.high), default=None)


def find(found: Comparison, wanted: Wanted, progress: Progress) -> None:
    """Write it into the changes of ``found``. Kernels are shared: each one answers for all programs."""
    series = wanted.series
    if series is None or not found.changes:
        return
    searches = {key: _Search(_whats(change), 0, series.count) for key, change in changed(found).items()}
    while (number := _next(searches)) is not None:
        wide = [key for key, one in searches.items() if one.high - one.low > 1]
        progress.say(f"per patch {number} of {series.count}: {series.info.patches[number - 1].subject}")
        try:
            there = changed(ran_on(wanted, series.prefix(number), [key[0] for key in wide], progress))
        except KernelError as error:
            progress.say(f"per patch {number} of {series.count}: {error.message}")
            for search in searches.values():
                search.skipped.add(number)
            continue
        for key in wide:
            _answer(searches[key], number, there.get(key))
    for at, change in enumerate(found.changes):
        search = searches[change.object, change.program, change.mechanism]
        found.changes[at] = msgspec.structs.replace(change, first_patch=_named(series, search))


def _whats(change: Change) -> frozenset[What]:
    """What has to differ for a program to be changed; a log alone only where nothing else does."""
    whats = {one.what for one in change.differences}
    return frozenset(whats - {"log"} or whats)


def _next(searches: dict[_Key, _Search]) -> int | None:
    """The middle of the widest search: what it answers halves the others, too."""
    for search in sorted(searches.values(), key=lambda one: one.low - one.high):
        if (number := search.middle()) is not None:
            return number
    return None


def _answer(search: _Search, number: int, change: Change | None) -> None:
    if not search.low < number < search.high:
        return
    differs = change is not None and not search.whats.isdisjoint(one.what for one in change.differences)
    if differs:
        search.high = number
    else:
        search.low = number


def _named(series: Taken, search: _Search) -> str:
    """The patch; several where some in between do not build."""
    patches = series.info.patches[search.low : search.high]
    return " or ".join(f"{patch.name} ({patch.subject})" for patch in patches)
