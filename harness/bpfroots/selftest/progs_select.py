"""Which tests are asked for: names and patterns, ALLOWLIST and DENYLIST."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from bpfroots.errors import UserError
from bpfroots.selftest.progs_lists import Entry


@dataclass(frozen=True)
class Lists:
    """What is only allowed, where there is anything, and what is denied."""

    allow: tuple[Entry, ...] = ()
    deny: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Tests of a tree, in the order in which test_progs runs them. ``subtests`` are patterns, by test, where
    it is not wanted as a whole. ``denied`` says of some of ``names`` why they are not run;
    ``denied_subtests`` are patterns, TEST/SUBTEST."""

    names: list[str]
    subtests: dict[str, list[str]] = field(default_factory=dict)
    denied: dict[str, str] = field(default_factory=dict)
    denied_subtests: list[str] = field(default_factory=list)

    @property
    def to_run(self) -> list[str]:
        return [name for name in self.names if name not in self.denied]


def select_all(
    known: Sequence[Collection[str]], wanted: Sequence[str], lists: Sequence[Lists] = ()
) -> list[Selection]:
    """What ``wanted`` are of the tests of each tree, everything where nothing is named; but for what the
    ``lists`` of the tree deny and ``wanted`` does not have by its name.

    Raises UserError for what no tree has.
    """
    for pattern in wanted:
        test = pattern.partition("/")[0]
        names = list(dict.fromkeys(name for tests in known for name in tests))
        if not any(fnmatchcase(name, test) for name in names):
            near = difflib.get_close_matches(test, names, 1)
            msg = f"-t {pattern}: test_progs has no such test"
            raise UserError(msg, hint=f"-t {near[0]}" if near else "-t 'verifier_*'")
    each = lists or [Lists()] * len(known)
    return [_select(tests, wanted, one) for tests, one in zip(known, each, strict=True)]


def _select(known: Collection[str], wanted: Sequence[str], lists: Lists) -> Selection:
    chosen = _chosen(list(known), [pattern.partition("/")[::2] for pattern in wanted])
    allowed = _chosen(list(chosen), [(entry.test, entry.subtest) for entry in lists.allow])
    # What is named on the command line counts before what a list has of its subtests.
    subtests = {name: chosen[name] or allowed[name] for name in allowed}
    denied = {
        name: f"denied by {entry}"
        for entry in reversed(lists.deny)
        for name in allowed
        if entry.covers(name) and not entry.subtest and name not in wanted
    }
    patterns = [entry.pattern for entry in lists.deny if entry.subtest and entry.pattern not in wanted]
    return Selection(list(allowed), {name: some for name, some in subtests.items() if some}, denied, patterns)


def _chosen(names: Sequence[str], parts: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Names that one of ``parts`` is about, and the patterns of their subtests; none of a whole test. All
    where there are no parts."""
    if not parts:
        return {name: [] for name in names}
    found = {
        name: [subtest for test, subtest in parts if fnmatchcase(name, test)]
        for name in names
        if any(fnmatchcase(name, test) for test, _ in parts)
    }
    return {name: subtests if all(subtests) else [] for name, subtests in found.items()}
