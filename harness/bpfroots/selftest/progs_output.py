"""What test_progs prints: its tests and subtests, as they finish; and the summary that it writes as JSON.

The summary has messages of what failed and counts of the rest, and is there only where the program came to
its end. So results are read off the lines, and checked by it. Formats: print_test_result(),
print_subtest_name() and calculate_summary_and_print_errors() of tools/testing/selftests/bpf/test_progs.c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

Status = Literal["ok", "skip", "fail"]

_SUBTEST = re.compile(r"^#\d+/\d+ +(\w+)/(.*):(OK|SKIP|FAIL)$")
_TEST = re.compile(r"^#\d+ +(\w+):(OK|SKIP|FAIL)(?: \((.*)\))?$")
_KILLED = re.compile(r"^WATCHDOG: test case (\S.*) executes for (\d+) seconds, terminating")
# It tests how subtests are counted, with some that fail, and takes them back: they are no results.
_COUNTS = "prog_tests_framework"
# What tests have failed with is printed once more at the end, results and all.
_AGAIN = "All error logs:"
_STATUS: dict[str, Status] = {"OK": "ok", "SKIP": "skip", "FAIL": "fail"}
# The line that says what went wrong, in what a test prints (test_progs.h, CHECK and ASSERT).
_WHY = re.compile(r"^\S+:FAIL:\S")
_LONGEST = 200
_CONTROL = re.compile(r"[\x00-\x1f]")


class Subtest(msgspec.Struct, frozen=True):
    """``lines`` is what it printed where it failed, without its result."""

    name: str
    status: Status
    lines: list[str] = []


class Test(msgspec.Struct, frozen=True):
    """A test that came to its end; subtests in order. ``note`` is what the program says of a skip."""

    name: str
    status: Status
    subtests: list[Subtest] = []
    lines: list[str] = []
    note: str = ""


class _Listed(msgspec.Struct):
    name: str
    failed: bool
    subtests: list[_Listed] = []


class Summary(msgspec.Struct):
    """The file that -J names. 6.12 does not count subtests that failed."""

    success: int
    success_subtest: int
    failed: int
    results: list[_Listed]
    failed_subtest: int | None = None


def summary(written: bytes) -> Summary:
    """What the file that -J names says. Control characters in messages are not escaped (json_writer.c).
    Raises msgspec.MsgspecError."""
    text = _CONTROL.sub(" ", written.decode(errors="replace"))
    return msgspec.json.decode(text, type=Summary)


class Reader:
    """Takes lines as they come. ``killed``: the test that the program's own watchdog ended, and after how
    many seconds. ``rest``: what was printed since the last result."""

    def __init__(self, expected: Sequence[str]) -> None:
        """``expected`` are the tests that were asked for: no other line is taken for a result."""
        self._expected = set(expected)
        self._subtests: list[Subtest] = []
        self._over = False
        self.rest: list[str] = []
        self.killed: tuple[str, int] | None = None

    def feed(self, line: str) -> Test | None:
        """The test that ``line`` is the end of."""
        if line == _AGAIN:
            self._over = True
        if match := _KILLED.match(line):
            self.killed = match[1], int(match[2])
        if not self._over and (match := _SUBTEST.match(line)) and match[1] in self._expected:
            self._subtests.append(Subtest(match[2], _STATUS[match[3]], self._taken(match[3])))
            return None
        if not self._over and (match := _TEST.match(line)) and match[1] in self._expected:
            self._expected.discard(match[1])
            subtests, self._subtests = self._subtests, []
            if match[1] == _COUNTS:
                subtests = []
            return Test(match[1], _STATUS[match[2]], subtests, self._taken(match[2]), match[3] or "")
        self.rest.append(line)
        return None

    def _taken(self, word: str) -> list[str]:
        lines, self.rest = self.rest, []
        return lines if word == "FAIL" else []


def why(lines: Sequence[str], says: re.Pattern[str] = _WHY) -> str:
    """The line of what a failed test printed that ``says`` most; the last one where none does."""
    said = next((line for line in lines if says.search(line)), "")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return (said or last).strip()[:_LONGEST]


def disagreement(tests: Sequence[Test], summary: Summary) -> str:
    """Where the lines and the summary do not say the same; empty where they do."""
    failed = {test.name for test in tests if test.status == "fail"}
    listed = {one.name for one in summary.results if one.failed}
    if failed != listed:
        return f"the summary has other failures: {', '.join(sorted(failed ^ listed))}"
    below = [subtest.status for test in tests for subtest in test.subtests]
    counted = [sum(test.status != "fail" for test in tests), below.count("ok"), len(failed)]
    said = [summary.success, summary.success_subtest, summary.failed]
    if summary.failed_subtest is not None:
        counted.append(below.count("fail"))
        said.append(summary.failed_subtest)
    return "" if counted == said else f"the summary counts {said}, the lines {counted}"
