"""test_progs: what two kernels differ in."""

from __future__ import annotations

from typing import Any

import pytest

from bpfroots.results import selftests as kept
from bpfroots.results.selftests import Subtest, Tested
from bpfroots.selftest import progs_compare


def _test(name: str, outcome: Any = "pass", **subtests: Any) -> Tested:
    return Tested(name, outcome, subtests=[Subtest(sub, how) for sub, how in subtests.items()])


def _changes(first: list[Tested], other: list[Tested]) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in progs_compare.changes(first, other)]


@pytest.mark.parametrize(
    ("first", "other", "expected"),
    [
        (_test("a"), _test("a"), []),
        (_test("a"), _test("a", "fail"), [("new failure", "a")]),
        (_test("a"), _test("a", "guest_crash"), [("new failure", "a")]),
        (_test("a", "fail"), _test("a", "fail"), [("still failing", "a")]),
        (_test("a", "fail"), _test("a"), [("fixed", "a")]),
        (_test("a"), _test("a", "skip"), [("not run any more", "a")]),
        (_test("a", x="pass", y="pass"), _test("a", "fail", x="fail", y="pass"), [("new failure", "a/x")]),
        (_test("a", x="pass"), _test("a", x="pass", z="pass"), []),
        (_test("a", x="pass"), _test("a", "fail", x="pass", z="fail"), [("failure of a new test", "a/z")]),
        (_test("a", x="pass", y="pass"), _test("a", x="pass"), [("gone", "a/y")]),
        # A test that took its guest down has no subtests: it is one failure, and nothing is gone.
        (_test("a", x="pass", y="pass"), _test("a", "guest_crash"), [("new failure", "a")]),
        (_test("a"), _test("b"), [("gone", "a")]),
        (_test("a"), _test("b", "fail"), [("failure of a new test", "b"), ("gone", "a")]),
    ],
)
def test_changes(first: Tested, other: Tested, expected: list[tuple[str, str]]) -> None:
    assert _changes([first], [other]) == expected


def test_new_failures_come_first() -> None:
    first = [_test("a", "fail"), _test("b", "fail"), _test("c"), _test("d")]
    other = [_test("a", "fail"), _test("b"), _test("c", "fail"), _test("e", "fail")]
    assert [kind for kind, _ in _changes(first, other)] == [
        "new failure",
        "failure of a new test",
        "still failing",
        "fixed",
        "gone",
    ]


def test_results_are_named_once_each() -> None:
    tested = Tested("a", "fail", "x: no", 2.5, [Subtest("x", "fail", "no"), Subtest("x", "pass")])
    found = list(kept.results("test_progs", "v7.3", [tested]))
    assert [result.case for result in found] == ["test_progs/a", "test_progs/a/x", "test_progs/a/x 2"]
    assert found[0].duration_s == 2.5
    assert found[1].reproduce == "bpfroots selftest test_progs -t a/x --kernel v7.3"


def test_a_test_that_ended_early_says_nothing_of_its_subtests() -> None:
    first = _test("a", "fail", x="fail", y="pass")
    kept.note_repeat(first, _test("a", "pass", y="pass"))
    assert [sub.again for sub in first.subtests] == ["", ""]
    first = _test("a", "fail", x="fail", y="pass")
    kept.note_repeat(first, _test("a", "pass", x="pass", y="pass"))
    assert [sub.again for sub in first.subtests] == ["pass", ""]
    assert [change.kind for change in progs_compare.changes([_test("a", x="pass")], [first])] == ["flaky"]
