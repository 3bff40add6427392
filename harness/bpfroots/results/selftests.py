"""Results of the kernel tree's own tests: a line of selftests/KERNEL/PROGRAM.jsonl for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from bpfroots.errors import Where
from bpfroots.results import old
from bpfroots.results.model import BAD, Outcome, Step, TestResult

TEST_PROGS, TEST_MAPS = "test_progs", "test_maps"

User = Literal["p", "u"]
Status = Literal["ok", "skip", "fail", "unknown"]
_OF_STATUS: dict[str, Outcome] = {"ok": "pass", "fail": "fail", "skip": "skip", "unknown": "infra_error"}


class Subtest(msgspec.Struct, omit_defaults=True):
    """``reason`` says why it is not a pass, where that is known. ``again``: see `Tested`."""

    name: str
    outcome: Outcome
    reason: str = ""
    again: str = ""


class Allowed(msgspec.Struct, frozen=True):
    """A splat that line ``by`` (FILE:LINE) of a SPLAT_ALLOWLIST says is none, and where it is."""

    title: str
    by: str
    console: Where


class Tested(msgspec.Struct, omit_defaults=True):
    """A test on a kernel. ``seconds`` is what it took in the guest, subtests included; 0 if it was not run.

    ``log`` is a path within the run folder: what a test that failed has printed. ``console`` and ``note``: as
    in `TestResult`. ``allowed`` are splats that are no failure, since a list says so. ``again`` is what a
    test that has failed came to when it was run again, alone in a fresh guest; empty where it was not.
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
    again: str = ""


class VerifierTest(msgspec.Struct, frozen=True):
    """One test of test_verifier, as one kind of ``user``: "p" (privileged) or "u" (unprivileged).

    ``lines`` is all it printed, as it was. ``unknown``: the output ended before a verdict.
    """

    number: int
    user: User
    name: str
    status: Status
    lines: list[str]

    @property
    def id(self) -> str:
        """As the program has it: "123/p"."""
        return f"{self.number}/{self.user}"


def of_step(step: Step, path: Path) -> Iterable[TestResult]:
    """The tests in the file of a step."""
    if step.program in (TEST_PROGS, TEST_MAPS):
        return results(step.program, step.kernel, read(path))
    return verifier_results(step.program, step.kernel, read_verifier(path))


def read(path: Path) -> list[Tested]:
    """What a run folder has; a torn last line (killed while writing) is no result."""
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    found = [msgspec.json.decode(line, type=Tested) for line in lines]
    # One that was run again has a second line.
    return list({test.name: test for test in found}.values())


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
            note=test.note or repeated(test.again),
            reproduce=_again(program, test.name, kernel),
            duration_s=test.seconds,
        )
        for name, subtest in named(test.subtests):
            yield TestResult(
                case=f"{case}/{name}",
                kernel=kernel,
                outcome=subtest.outcome,
                reason=subtest.reason,
                note=repeated(subtest.again),
                reproduce=_again(program, f"{test.name}/{subtest.name}", kernel),
            )


def note_repeat(test: Tested, second: Tested) -> None:
    """Write down what a test, and each of its subtests that has failed, came to in a ``second`` run."""
    test.again = second.outcome
    then = {name: subtest.outcome for name, subtest in named(second.subtests)}
    for name, subtest in named(test.subtests):
        if subtest.outcome in BAD:
            # A test that ended before the subtest says nothing of it.
            subtest.again = then.get(name, second.outcome if second.outcome in BAD else "")


def repeated(again: str) -> str:
    """What to say of a test that came to ``again`` in a second run; nothing where there was none."""
    if not again:
        return ""
    words = {"pass": "passes", "fail": "fails"}.get(again, again)
    return f"{words} when run again, alone in a fresh guest"


def named(subtests: Iterable[Subtest]) -> Iterator[tuple[str, Subtest]]:
    """Subtests by names of which there is one each: the second "x" is "x 2"."""
    found = list(subtests)
    return zip(_counted(subtest.name for subtest in found), found, strict=True)


def _counted(names: Iterable[str]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield f"{name} {seen[name]}" if seen[name] > 1 else name


def _again(program: str, name: str, kernel: str) -> str:
    if program != TEST_PROGS:  # only that one takes names
        return f"bpfroots selftest {program} --kernel {kernel}"
    quoted = f"'{name}'" if set(name) & set(" *?#()[]$&|;<>\"'") else name
    return f"bpfroots selftest {program} -t {quoted} --kernel {kernel}"


def read_verifier(path: Path) -> list[VerifierTest]:
    """The tests of test_verifier that a run folder has, of an earlier version too."""
    found = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    for test in found:
        old.selftest(test)
    return msgspec.convert(found, list[VerifierTest])


def verifier_results(program: str, kernel: str, tests: Iterable[VerifierTest]) -> Iterator[TestResult]:
    """The tests of ``program`` (test_verifier) on a kernel.

    A test goes by its name, as its number is another one in the next tree; one that was not allowed to
    end says nothing. Where several have one name they are counted.
    """
    found = list(tests)
    names = _counted(f"{program}/{test.name} [{test.user}]" for test in found)
    for name, test in zip(names, found, strict=True):
        failed = test.status == "fail"
        yield TestResult(
            case=name,
            kernel=kernel,
            outcome=_OF_STATUS[test.status],
            reason=test.lines[-1].strip() if failed else "",
        )
