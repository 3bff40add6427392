"""Results of test_progs and test_maps: a line of selftests/KERNEL/PROGRAM.jsonl for each test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import msgspec

from bpfroots.errors import Where
from bpfroots.results.model import Outcome, TestResult
from bpfroots.selftest import progs_output

TEST_PROGS = "test_progs"
_OUTCOMES: dict[progs_output.Status, Outcome] = {"ok": "pass", "skip": "skip", "fail": "fail"}


class Subtest(msgspec.Struct, omit_defaults=True):
    """``reason`` says why it is not a pass, where that is known."""

    name: str
    outcome: Outcome
    reason: str = ""


class Allowed(msgspec.Struct, frozen=True):
    """A splat that line ``by`` (FILE:LINE) of a SPLAT_ALLOWLIST says is none, and where it is."""

    title: str
    by: str
    console: Where


class Tested(msgspec.Struct, omit_defaults=True):
    """A test on a kernel. ``seconds`` is what it took in the guest, subtests included; 0 if it was not run.

    ``log`` is a path within the run folder: what a test that failed has printed. ``console`` and ``note``: as
    in `TestResult`. ``allowed`` are splats that are no failure, since a list says so.
    """

    __test__: ClassVar[bool] = False  # nothing for pytest to collect

    name: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    subtests: list[Subtest] = []
    log: str = ""
    console: Where | None = None
    note: str = ""
    allowed: list[Allowed] = []


def judged(test: progs_output.Test, seconds: float) -> Tested:
    """What a test that came to its end is worth."""
    subtests = [
        Subtest(one.name, _OUTCOMES[one.status], progs_output.why(one.lines)) for one in test.subtests
    ]
    failed = next((one for one in subtests if one.outcome == "fail"), None)
    reason = progs_output.why(test.lines) or (f"{failed.name}: {failed.reason}" if failed else "")
    return Tested(
        test.name,
        _OUTCOMES[test.status],
        reason if test.status == "fail" else test.note if test.status == "skip" else "",
        round(seconds, 2),
        subtests,
    )


def read(path: Path) -> list[Tested]:
    """What a run folder has; a torn last line (killed while writing) is no result."""
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [msgspec.json.decode(line, type=Tested) for line in lines]


def results(program: str, kernel: str, tests: Iterable[Tested]) -> Iterator[TestResult]:
    """Tests and subtests of ``program`` as results: test_progs/TEST, test_progs/TEST/SUBTEST. Where several
    subtests have one name they are counted."""
    for test in tests:
        case = f"{program}/{test.name}"
        yield TestResult(
            case=case,
            kernel=kernel,
            outcome=test.outcome,
            reason=test.reason,
            console=test.console,
            note=test.note,
            reproduce=_again(program, test.name, kernel),
            duration_s=test.seconds,
        )
        for name, subtest in named(test.subtests):
            yield TestResult(
                case=f"{case}/{name}",
                kernel=kernel,
                outcome=subtest.outcome,
                reason=subtest.reason,
                reproduce=_again(program, f"{test.name}/{subtest.name}", kernel),
            )


def named(subtests: Iterable[Subtest]) -> Iterator[tuple[str, Subtest]]:
    """Subtests by names of which there is one each: the second "x" is "x 2"."""
    seen: Counter[str] = Counter()
    for subtest in subtests:
        seen[subtest.name] += 1
        again = f" {seen[subtest.name]}" if seen[subtest.name] > 1 else ""
        yield f"{subtest.name}{again}", subtest


def _again(program: str, name: str, kernel: str) -> str:
    if program != TEST_PROGS:  # only that one takes names
        return f"bpfroots selftest {program} --kernel {kernel}"
    quoted = f"'{name}'" if set(name) & set(" *?#()[]$&|;<>\"'") else name
    return f"bpfroots selftest {program} -t {quoted} --kernel {kernel}"
