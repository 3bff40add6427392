"""For each result that a series changes, the first patch that changes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from bpfroots.ab.model import ChangedProgram, Findings, What
from bpfroots.ab.pair import Asked, changed, ran_on
from bpfroots.ab.series import Taken
from bpfroots.errors import KernelError
from bpfroots.progress import Progress

#: Object, program and mechanism.
_Key = tuple[str, str, str]


@dataclass
class PatchSearch:
    """Between which numbers of patches a result changes: it is the base's with ``low`` of them."""

    low: int
    high: int
    skipped: set[int] = field(default_factory=set)

    def middle(self) -> int | None:
        """The number to ask for next; None where no other one can tell more."""
        left = [n for n in range(self.low + 1, self.high) if n not in self.skipped]
        return min(left, key=lambda n: abs(2 * n - self.low - self.high), default=None)

    def answer(self, number: int, differs: bool) -> None:
        """With ``number`` patches it is another than the base's, or is not."""
        if self.low < number < self.high:
            self.low, self.high = (self.low, number) if differs else (number, self.high)


def find(found: Findings, wanted: Asked, progress: Progress) -> None:
    """Write it into the changes of ``found``. Kernels are shared: each one answers for all programs."""
    series = wanted.series
    if series is None or not found.changes:
        return
    searches = {
        (key, what): PatchSearch(0, series.count)
        for key, change in changed(found).items()
        for what in _whats(change)
    }
    while (number := _next(list(searches.values()))) is not None:
        said = f"per patch {number} of {series.count}"
        progress.say(f"{said}: {series.info.patches[number - 1].subject}")
        open_ = {key: None for (key, _), one in searches.items() if one.low < number < one.high}
        try:
            there = changed(ran_on(wanted, series.prefix(number), [key[0] for key in open_], progress))
        except KernelError as error:
            progress.say(f"{said}: {error.message}")
            for search in searches.values():
                search.skipped.add(number)
            continue
        for (key, what), search in searches.items():
            change = there.get(key)
            search.answer(number, change is not None and change.difference(what) is not None)
    found.changes = [_with_patches(change, key, searches, series) for key, change in changed(found).items()]


def _whats(change: ChangedProgram) -> list[What]:
    """Results to look for; the log differs where anything else does."""
    whats = [one.what for one in change.differences]
    return [what for what in whats if what != "log"] or whats


def _next(searches: list[PatchSearch]) -> int | None:
    """The middle of the widest search: what it answers halves the others, too."""
    for search in sorted(searches, key=lambda one: one.low - one.high):
        if (number := search.middle()) is not None:
            return number
    return None


def _with_patches(
    change: ChangedProgram, key: _Key, searches: dict[tuple[_Key, What], PatchSearch], series: Taken
) -> ChangedProgram:
    differences = [
        msgspec.structs.replace(one, first_patch=_named(series, search))
        if (search := searches.get((key, one.what)))
        else one
        for one in change.differences
    ]
    return msgspec.structs.replace(change, differences=differences)


def _named(series: Taken, search: PatchSearch) -> str:
    """The patch; several where some in between do not build."""
    return " or ".join(patch.name for patch in series.info.patches[search.low : search.high])
