"""What got worse between two runs of a history, since when, and what is not the same twice.

A cell is judged by aspects: its verdict, the results of its runs, and its figures. For each there is a
reference, which is what it was in the last good run (or, where it took no part in that, before). An
aspect that gives another answer though nothing has changed, or that goes back and forth, is flaky: it is
listed as that, and not as a regression.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from bpfroots.history.database import History, Recorded, State, Timeline
from bpfroots.results.figures import FIGURES
from bpfroots.results.key import Key, Keyed
from bpfroots.results.model import BAD

Value: TypeAlias = "str | float"

#: By how much a figure may grow, as a share of what it was.
THRESHOLDS = {figure.name: figure.threshold for figure in FIGURES if figure.threshold is not None}
# How often an aspect has to come back to what it was before, to be flaky whatever has changed: what was
# broken, fixed and broken again has done so twice.
_RETURNS = 3
#: Runs in which something flaky shows; what was flaky longer ago may have been fixed.
WINDOW = 20

_KINDS = {"guest_crash": "splat", "guest_hang": "hang", "timeout": "timeout"}
_GOOD = frozenset({"pass", "xfail"})


class Finding(Keyed, msgspec.Struct, frozen=True):
    """One aspect of a cell that is worse (or better) than in the reference.

    ``kind`` is "verdict", "result", "splat", "hang", "timeout" or the name of a figure.
    ``last_good`` and ``first_bad`` are names of runs that follow each other where the cell took part in
    both; ``changed`` says what of the kernel differs between them. ``ratio``: after to before, of a figure.
    """

    case: str
    kernel: str
    mechanism: str
    kind: str
    before: Value
    after: Value
    first_bad: str
    last_good: str
    reason: str = ""
    changed: str = ""
    ratio: float | None = None


class Flaky(Keyed, msgspec.Struct, frozen=True):
    """An aspect that is not the same twice: ``values`` with the number of runs that each was seen in.

    ``why`` that is not taken for a change. ``bad``: this time it was worse than in the reference.
    """

    case: str
    kernel: str
    mechanism: str
    kind: str
    values: dict[str, int]
    why: str
    bad: bool


class Trend(msgspec.Struct, frozen=True):
    """A run (``run``) compared with the last good one before it (``reference``, "" without one).

    ``cells`` are those of the run; ``regressions`` and ``better`` say what is not as it was. ``splats`` are
    titles that no earlier run has had. ``gone`` took part in the reference and not in this run, ``new`` the
    other way round.
    """

    run: str
    reference: str
    cells: int
    regressions: list[Finding] = []
    better: list[Finding] = []
    flaky: list[Flaky] = []
    splats: list[str] = []
    gone: list[str] = []
    new: list[str] = []


def trend(history: History, run: Recorded, thresholds: Mapping[str, float] | None = None) -> Trend:
    """``run`` compared with the last good run of its job. ``thresholds``: instead of THRESHOLDS."""
    runs = history.runs(run.job)
    before = runs[: [other.id for other in runs].index(run.id)]
    reference = reference_of(before)
    now = history.cells(run.id)
    if reference is None:
        return Trend(run.name, "", len(now), new=[str(key) for key in now])
    window = [*before[min(before.index(reference), max(0, len(before) - WINDOW + 1)) :], run]
    then = history.cells(reference.id)
    judge = _TrendJudge(window, reference, thresholds or THRESHOLDS)
    for key, line in history.changing([other.id for other in window]).items():
        judge.look_at(key, line)
    return Trend(
        run.name,
        reference.name,
        len(now),
        judge.regressions,
        judge.better,
        judge.flaky,
        splats=sorted(history.splats([run.id]) - history.splats([other.id for other in before])),
        gone=[str(key) for key in then if key not in now],
        new=[str(key) for key in now if key not in then],
    )


def reference_of(before: Sequence[Recorded]) -> Recorded | None:
    """What comes after these runs is compared with this: the last good one, else the first."""
    return next((run for run in reversed(before) if run.good), before[0] if before else None)


def standing(state: State) -> Literal["good", "bad", "none", "unknown"]:
    """none: the cell was not run. unknown: our side failed, which says nothing about it."""
    if state.outcome == "infra_error":
        return "unknown"
    if state.outcome in _GOOD:
        return "good"
    return "bad" if state.outcome in BAD else "none"


class Aspect:
    """One way to look at a cell: its verdict. A test of the kernel's tree has none, but an outcome."""

    kind: str = "verdict"

    def value(self, state: State) -> Value | None:
        """None where a state says nothing about it."""
        return state.verdict or state.outcome

    def worse(self, a: State, b: State) -> bool:
        """Is ``b`` worse than ``a``?"""
        if self.value(a) == self.value(b):
            return False
        return standing(b) == "bad" or (standing(a) == "good" and standing(b) == "none")

    def same(self, a: Value, b: Value) -> bool:
        return a == b


class _TrendResult(Aspect):
    """What its runs returned and left in maps. Where the verdict is another one, that says it all."""

    kind: str = "result"

    def value(self, state: State) -> Value | None:
        if not state.verdict:
            return None
        return "not as expected" if state.outcome == "fail" else state.result

    def worse(self, a: State, b: State) -> bool:
        if a.verdict != b.verdict or self.value(a) == self.value(b):
            return False
        return standing(b) == "bad" or standing(a) == "good"


class _TrendFigure(Aspect):
    """A figure of a cell that is accepted: half a verification, or no code, costs less."""

    def __init__(self, name: str, threshold: float) -> None:
        self.kind = name
        self._name = name
        self._threshold = threshold

    def value(self, state: State) -> Value | None:
        return state.figures.get(self._name) if state.verdict == "accept" else None

    def worse(self, a: State, b: State) -> bool:
        before, after = self.value(a), self.value(b)
        return before is not None and after is not None and not self.same(before, after) and before < after  # type: ignore[operator]

    def same(self, a: Value, b: Value) -> bool:
        return abs(float(b) - float(a)) <= float(a) * self._threshold


def aspects(thresholds: Mapping[str, float]) -> list[Aspect]:
    """All aspects that are gated; the verdict first."""
    return [
        Aspect(),
        _TrendResult(),
        *(_TrendFigure(name, threshold) for name, threshold in thresholds.items()),
    ]


def unsteady(aspect: Aspect, kernel: str, recent: Sequence[tuple[Recorded, State]]) -> str:
    """Why an aspect of a cell on ``kernel`` is flaky; "" where it is not. Each of the ``recent`` states says
    something about it."""
    seen: list[Value] = []
    returns = 0
    for (run, state), (later, after) in pairwise(recent):
        value, other = aspect.value(state), aspect.value(after)
        assert value is not None and other is not None  # noqa: S101, PT018
        if aspect.same(value, other):
            continue
        if run.same_inputs(later, kernel):
            return f"nothing had changed from {run.name} to {later.name}"
        seen.append(value)
        returns += any(aspect.same(one, other) for one in seen)
    return f"{returns} times back to what it had been before" if returns >= _RETURNS else ""


class _TrendJudge:
    """Looks at one cell after the other, in the runs of a window, of which the last is judged."""

    def __init__(
        self, window: Sequence[Recorded], reference: Recorded, thresholds: Mapping[str, float]
    ) -> None:
        self.regressions: list[Finding] = []
        self.better: list[Finding] = []
        self.flaky: list[Flaky] = []
        self._runs = {run.id: run for run in window}
        self._run = window[-1].id
        self._until_reference = {run.id for run in window[: window.index(reference) + 1]}
        self._recent = {run.id for run in window[-WINDOW:]}
        self._aspects = aspects(thresholds)

    def look_at(self, key: Key, line: Timeline) -> None:
        known = [(run, state) for run, state in line if standing(state) != "unknown"]
        if not known or known[-1][0] != self._run:
            return
        now = known[-1][1]
        reference = next((state for run, state in reversed(known) if run in self._until_reference), None)
        if reference is None:
            return
        for aspect in self._aspects:
            told = [(run, state) for run, state in known if aspect.value(state) is not None]
            if not told or told[-1][0] != self._run:
                continue
            worse = aspect.worse(reference, now)
            if why := self._flaky(key, aspect, told):
                self.flaky.append(self._unsteady(key, aspect, told, why, worse))
            elif worse:
                self.regressions.append(self._finding(key, aspect, told, reference))
            elif aspect.worse(now, reference):
                self.better.append(self._finding(key, aspect, told, reference))
            else:
                continue
            if aspect.kind == "verdict":
                return

    def _flaky(self, key: Key, aspect: Aspect, line: Timeline) -> str:
        recent = [(self._runs[run], state) for run, state in line if run in self._recent]
        return unsteady(aspect, key.kernel, recent)

    def _unsteady(self, key: Key, aspect: Aspect, line: Timeline, why: str, bad: bool) -> Flaky:
        values = Counter(_shown(aspect.value(state)) for run, state in line if run in self._recent)
        return Flaky(*_parts(key), aspect.kind, dict(values.most_common()), why, bad)

    def _finding(self, key: Key, aspect: Aspect, line: Timeline, reference: State) -> Finding:
        """``line`` ends with what is not as in ``reference``; the first of these is looked for."""
        now = line[-1][1]
        worse = aspect.worse(reference, now)
        first, last = self._run, None
        for run, state in reversed(line):
            if not (aspect.worse(reference, state) if worse else aspect.worse(state, reference)):
                last = run
                break
            first = run
        before, after = aspect.value(reference), aspect.value(now)
        kind = _KINDS.get(now.outcome, aspect.kind) if aspect.kind == "verdict" else aspect.kind
        figure = isinstance(before, float) and isinstance(after, float)
        return Finding(
            *_parts(key),
            kind=kind,
            before="" if before is None else before,
            after=now.splat or ("" if after is None else after),
            first_bad=self._runs[first].name,
            last_good="" if last is None else self._runs[last].name,
            reason=now.reason or now.message,
            changed=_changed(self._runs[last], self._runs[first], key.kernel) if last is not None else "",
            ratio=after / before if figure and before else None,  # type: ignore[operator]
        )


def _parts(key: Key) -> tuple[str, str, str]:
    return key.case, key.kernel, key.mechanism


def _shown(value: Value | None) -> str:
    return f"{value:,g}" if isinstance(value, float) else str(value)


def _changed(before: Recorded, after: Recorded, kernel: str) -> str:
    """What differs between two runs that can be the cause, in words."""
    a, b = before.kernels.get(kernel), after.kernels.get(kernel)
    if a is None or b is None:
        return ""
    if a.source_id != b.source_id:
        return f"source {_brief(a.source_id)} → {_brief(b.source_id)}"
    if a.series_id != b.series_id:
        return f"series {_brief(a.series_id)} → {_brief(b.series_id)}"
    if a.key != b.key:
        return "the kernel's configuration, compiler or definition"
    return "nothing" if before.same_inputs(after, kernel) else "cases, guest image, QEMU or the harness"


def _brief(source: str) -> str:
    """An id of a source or series as people name it: without the digest of a file, 12 digits of a commit."""
    return (
        re.sub(r"([0-9a-f]{12})[0-9a-f]{20,}", r"\1", re.sub(r" (?:sha256|changed):\S+", "", source))
        or "none"
    )
