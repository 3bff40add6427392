"""What the history knows of tests: which are not the same twice, and how often they fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from bpfroots.history.database import History, Timeline
from bpfroots.history.trend import WINDOW, Aspect, standing, unsteady
from bpfroots.results.key import Key


class Rate(msgspec.Struct, frozen=True):
    """A flaky cell: ``bad`` of its last ``runs`` runs were not as expected. ``why`` it is not taken for a
    change."""

    bad: int
    runs: int
    why: str

    def __str__(self) -> str:
        return f"fails in {self.bad} of {self.runs} runs"


def flaky(history: History, cases: Iterable[str]) -> dict[Key, Rate]:
    """Those cells of ``cases`` whose outcome is flaky, as docs/history.md says, within the last `WINDOW` runs
    that each took part in."""
    runs = {run.id: run for run in history.runs()}
    found = {}
    for case in cases:
        for key, line in history.of_case(case).items():
            recent = _told(line)[-WINDOW:]
            if why := unsteady(Aspect(), key.kernel, [(runs[run], state) for run, state in recent]):
                counts = Counter(standing(state) for _, state in recent)
                found[key] = Rate(counts["bad"], len(recent), why)
    return found


def _told(line: Timeline) -> Timeline:
    """Without runs that say nothing about the cell: lost to the host, or skipped."""
    return [(run, state) for run, state in line if standing(state) in ("good", "bad")]
