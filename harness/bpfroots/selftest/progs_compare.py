"""Two kernels, each with the test_progs of its own tree: which test fails that did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from bpfroots.results.model import BAD, Outcome
from bpfroots.results.selftests import Tested, named, repeated

#: In the order in which they are shown. "new": a test that the first kernel's tree does not have.
# "flaky": it fails here and not on the first kernel, but it passes when it is run again, or the history knows
# it as flaky.
Kind = Literal[
    "new failure", "failure of a new test", "flaky", "still failing", "fixed", "not run any more", "gone"
]
ORDER: tuple[Kind, ...] = (
    "new failure",
    "failure of a new test",
    "flaky",
    "still failing",
    "fixed",
    "not run any more",
    "gone",
)
#: Those that make a run fail.
WORSE: frozenset[Kind] = frozenset({"new failure", "failure of a new test"})


class Change(msgspec.Struct, frozen=True):
    """A test, or a subtest as TEST/SUBTEST, that is worth a line. ``before`` and ``now`` are outcomes; empty
    where the tree has no such test. ``log`` is that of the second kernel. ``note`` says whether it fails
    again, and how often it failed before."""

    kind: Kind
    name: str
    before: str
    now: str
    reason: str = ""
    log: str = ""
    note: str = ""


class _Line(msgspec.Struct, frozen=True):
    outcome: Outcome
    reason: str
    log: str = ""
    again: str = ""


def changes(
    first: Sequence[Tested], other: Sequence[Tested], rates: Mapping[str, str] | None = None
) -> list[Change]:
    """What is worth a line, by `ORDER`. ``rates`` are of tests that are known as flaky, by name."""
    before, now = dict(_lines(first)), dict(_lines(other))
    # A test that took its guest down has no subtests: it is compared as a whole.
    whole = {test.name: _Line(test.outcome, test.reason) for test in first}
    cut_short = {test.name for test in other if test.outcome in BAD and not test.subtests}
    found = [_change(name, before.get(name) or whole.get(name), line) for name, line in now.items()]
    gone = [name for name in before if name not in now and name.partition("/")[0] not in cut_short]
    found += [_change(name, before[name], None) for name in gone if name not in {t.name for t in other}]
    kept = [_with_rate(change, (rates or {}).get(change.name, "")) for change in found if change]
    return sorted(kept, key=lambda change: ORDER.index(change.kind))


def counts(tests: Sequence[Tested]) -> dict[str, int]:
    """Tests by outcome, passes first."""
    found = Counter(test.outcome for test in tests)
    return dict(sorted(found.items(), key=lambda item: (item[0] != "pass", item[0])))


def failures(tests: Sequence[Tested]) -> Iterator[tuple[str, str, str]]:
    """Name, reason and log of every failing test; of one with failing subtests, those."""
    for name, line in _lines(tests):
        if line.outcome in BAD:
            yield name, line.reason, line.log


def _lines(tests: Sequence[Tested]) -> Iterator[tuple[str, _Line]]:
    """Subtests, and tests that have none or that fail for themselves."""
    for test in tests:
        below = list(named(test.subtests))
        failed_below = any(subtest.outcome in BAD for _, subtest in below)
        if not below or (test.outcome in BAD and not failed_below):
            yield test.name, _Line(test.outcome, test.reason, test.log, test.again)
        for name, subtest in below:
            line = _Line(subtest.outcome, subtest.reason, test.log, subtest.again)
            yield f"{test.name}/{name}", line


def _change(name: str, before: _Line | None, now: _Line | None) -> Change | None:
    kind = _kind(before, now)
    if kind is None:
        return None
    shown = now or before
    assert shown is not None  # noqa: S101
    outcomes = (before.outcome if before else "", now.outcome if now else "")
    log, note = (now.log, repeated(now.again)) if now else ("", "")
    return Change(kind, name, *outcomes, shown.reason, log, note)


def _with_rate(change: Change, rate: str) -> Change:
    """What the history says of a failure that would be a new one."""
    if not rate or change.kind not in (*WORSE, "flaky"):
        return change
    note = "; ".join(filter(None, (f"known as flaky: {rate}", change.note)))
    return msgspec.structs.replace(change, kind="flaky", note=note)


def _kind(before: _Line | None, now: _Line | None) -> Kind | None:
    if now is None:
        return "gone"
    if now.outcome in BAD:
        if now.again == "pass" and (before is None or before.outcome not in BAD):
            return "flaky"
        if before is None:
            return "failure of a new test"
        return "still failing" if before.outcome in BAD else "new failure"
    if before is None:
        return None
    if before.outcome in BAD:
        return "fixed" if now.outcome == "pass" else "not run any more"
    return "not run any more" if before.outcome == "pass" and now.outcome == "skip" else None
