"""What test_verifier prints: its tests and their verdicts, and where two outputs differ.

Formats: do_test() and do_test_single() of tools/testing/selftests/bpf/test_verifier.c.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from bpfroots.results.selftests import Status, User, VerifierTest

_TEST = re.compile(r"^#(\d+)/([pu]) (.*)$")
_SUMMARY = re.compile(r"^Summary: (\d+) PASSED, (\d+) SKIPPED, (\d+) FAILED$")
# A verdict ends the test's first line, or stands at the start of a later one: after the log under -v,
# or after a message that ended the first line.
_NOTES = r"(?:Did not run the program \([a-z ]+\) )*(?:\d+ cases )?"
_FIRST_LINE = re.compile(rf"^(.*?) ?{_NOTES}\b(OK|SKIP|FAIL)(?:$|[ :].*)")
_LATER_LINE = re.compile(rf"^{_NOTES}(OK|SKIP|FAIL)(?:$|[ :])")
# The only thing in the output that is another in each run of the same kernel.
_TIME = re.compile(r"^verification time \d+ usec$")


class Output(msgspec.Struct, frozen=True):
    """A whole output. ``other`` are the lines that belong to no test; the summary is one of them.

    ``complaint`` says why the output is not whole; empty where the summary is there and right.
    """

    tests: list[VerifierTest]
    other: list[str]
    complaint: str

    def count(self, status: Status) -> int:
        return sum(test.status == status for test in self.tests)

    @property
    def totals(self) -> str:
        """Counts in words."""
        counts = f"{self.count('ok')} passed, {self.count('skip')} skipped, {self.count('fail')} failed"
        return f"{counts}, 1 without a verdict" if self.count("unknown") else counts


class Ran(msgspec.Struct):
    """test_verifier on one kernel. ``log`` and ``results`` are paths within the run folder.

    ``error`` is why ``output`` is not whole, empty where it is.
    """

    kernel: str
    seconds: float
    log: str
    results: str
    output: Output
    error: str = ""


class Difference(msgspec.Struct, frozen=True):
    """A test that did not print the same twice; ``test`` is "" for lines outside of all tests."""

    test: str
    name: str
    first: list[str]
    other: list[str]


def parse(text: str) -> Output:
    """The tests in an output, which may end anywhere. Never raises."""
    other: list[str] = []
    found: list[tuple[re.Match[str], list[str]]] = []
    lines = other
    summary: re.Match[str] | None = None
    for line in text.splitlines():
        if match := _TEST.match(line):
            lines = []
            found.append((match, lines))
        elif match := _SUMMARY.match(line):
            summary, lines = match, other
        lines.append(line)
    tests = [_test(match, lines) for match, lines in found]
    return Output(tests, other, _complaint(tests, summary))


def without_module(output: Output, of_module: Collection[str]) -> Output:
    """The output where bpf_testmod is not loaded: those tests of ``of_module``, by name, that fail for that
    are skipped. They say nothing about the kernel."""
    tests = [
        msgspec.structs.replace(test, status="skip")
        if test.status == "fail" and test.name in of_module
        else test
        for test in output.tests
    ]
    return msgspec.structs.replace(output, tests=tests)


def differences(first: Output, other: Output) -> list[Difference]:
    """Where two outputs are not equal line by line, verification times left out, test by test."""
    ours = {test.id: test for test in first.tests}
    theirs = {test.id: test for test in other.tests}
    found = [_difference("", "", first.other, other.other)]
    for id_ in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(id_), theirs.get(id_)
        known = a or b
        assert known is not None  # noqa: S101
        found.append(_difference(id_, known.name, a.lines if a else [], b.lines if b else []))
    return [difference for difference in found if difference is not None]


def _test(match: re.Match[str], lines: list[str]) -> VerifierTest:
    rest, number = match[3], int(match[1])
    user: User = "p" if match[2] == "p" else "u"
    if verdict := _FIRST_LINE.match(rest):
        return VerifierTest(number, user, verdict[1], _status(verdict[2]), lines)
    name = rest.removesuffix(", verifier log:").rstrip()
    later = [verdict[1] for line in lines[1:] if (verdict := _LATER_LINE.match(line))]
    return VerifierTest(number, user, name, _status(later[-1]) if later else "unknown", lines)


def _status(word: str) -> Status:
    return {"OK": "ok", "SKIP": "skip", "FAIL": "fail"}[word]  # type: ignore[return-value]


def _complaint(tests: Sequence[VerifierTest], summary: re.Match[str] | None) -> str:
    if summary is None:
        last = f" after #{tests[-1].id} {tests[-1].name}" if tests else " before its first test"
        return f"the output ends{last}, without a summary"
    counted = [sum(test.status == status for test in tests) for status in ("ok", "skip", "fail")]
    if counted != [int(number) for number in summary.groups()]:
        return f"{summary[0]!r}, but its lines say {'/'.join(map(str, counted))}"
    return ""


def _difference(id_: str, name: str, first: list[str], other: list[str]) -> Difference | None:
    if _without_times(first) == _without_times(other):
        return None
    return Difference(id_, name, first, other)


def _without_times(lines: Sequence[str]) -> list[str]:
    return [_TIME.sub("verification time", line) for line in lines]
