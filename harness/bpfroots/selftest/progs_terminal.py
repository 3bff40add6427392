"""What `selftest test_progs` prints for a person: totals, then what got worse, then the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from bpfroots.escape import visible
from bpfroots.report.text import plural
from bpfroots.results.selftests import Tested
from bpfroots.selftest import progs_compare
from bpfroots.selftest.progs_compare import Change
from bpfroots.selftest.progs_run import ProgsRun

_SHOWN = 25
_WIDTH = 110


def print_run(run: ProgsRun, out: Console) -> None:
    """Totals by kernel, what fails on the first kernel, and what changes from there."""
    width = max((len(kernel) for kernel in run.tests), default=0)
    for kernel, tests in run.tests.items():
        _say(out, f"{kernel:{width}}  {_totals(tests)}")
    changes = run.changes()
    for kernel, tests in run.tests.items():
        if kernel not in changes:
            found = list(progs_compare.failures(tests))
            _section(out, f"fails on {kernel}", (_failure(*one) for one in found), len(found))
    for kernel, found_on in changes.items():
        _print_changes(kernel, found_on, out)
    for kernel, tests in run.tests.items():
        allowed = [(test.name, splat) for test in tests for splat in test.allowed]
        lines = (f"{name}: {splat.title} ({splat.by})\n      {splat.console}" for name, splat in allowed)
        _section(out, f"splats on {kernel} that a list allows", lines, len(allowed))


def _totals(tests: Sequence[Tested]) -> str:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in progs_compare.counts(tests).items())
    subtests = sum(len(test.subtests) for test in tests)
    seconds = sum(test.seconds for test in tests)
    return f"{outcomes}; {plural(subtests, 'subtest')}; {seconds:,.0f} s in guests"


def _print_changes(kernel: str, changes: Sequence[Change], out: Console) -> None:
    if not any(change.kind in progs_compare.WORSE for change in changes):
        _say(out, f"no new failure on {kernel}")
    for kind in progs_compare.ORDER:
        found = [change for change in changes if change.kind == kind]
        _section(
            out,
            f"{kind} on {kernel}",
            (_failure(one.name, one.reason, one.log, one.note) for one in found),
            len(found),
        )


def _section(out: Console, title: str, lines: Iterable[str], count: int) -> None:
    if not count:
        return
    _say(out, f"{title} ({count})")
    for number, line in enumerate(lines):
        if number == _SHOWN:
            _say(out, f"  and {count - _SHOWN} more: --json has all")
            break
        _say(out, f"  {line}")


def _failure(name: str, reason: str, log: str, note: str = "") -> str:
    shown = f"{name}: {reason}" if reason else name
    cut = shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 3]}..."
    return "\n      ".join(filter(None, (cut, note, log)))


def _say(out: Console, text: str) -> None:
    out.print(Text(visible(text)), soft_wrap=True)
