"""What `selftest` prints for a person: totals per kernel, and what is not the same on all of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from rich.console import Console

from bpfroots.report.text import plural
from bpfroots.selftest.output import Difference, Ran

_TESTS_SHOWN = 10
_LINES_SHOWN = 12


def print_selftests(ran: Sequence[Ran], differences: dict[str, list[Difference]], out: Console) -> None:
    """Totals, tests that fail on the first kernel, then every difference from it."""
    width = max((len(one.kernel) for one in ran), default=0)
    for one in ran:
        out.print(f"{one.kernel:{width}}  {one.output.totals}  {one.seconds:.0f} s")
    if ran:
        _print_failing(ran[0], out)
    for kernel, found in differences.items():
        _print_differences(ran[0].kernel, kernel, found, out)


def _print_failing(first: Ran, out: Console) -> None:
    failing = [test for test in first.output.tests if test.status == "fail"]
    for test in failing[:_TESTS_SHOWN]:
        out.print(f"  fails on {first.kernel}: #{test.id} {test.name}")
    if len(failing) > _TESTS_SHOWN:
        out.print(f"  and {len(failing) - _TESTS_SHOWN} more: {first.log}")


def _print_differences(first: str, kernel: str, found: Sequence[Difference], out: Console) -> None:
    tests = [difference for difference in found if difference.test]
    if not found:
        out.print(f"{kernel} prints what {first} does, line by line, verification times left out")
        return
    out.print(f"{kernel} differs from {first} in {plural(len(tests), 'test')}:")
    for difference in (tests or found)[:_TESTS_SHOWN]:
        if difference.test:
            out.print(f"  #{difference.test} {difference.name}")
        lines = [
            line
            for line in difflib.unified_diff(
                difference.first, difference.other, first, kernel, n=0, lineterm=""
            )
            if not line.startswith(("--- ", "+++ ", " "))
        ]
        for line in lines[:_LINES_SHOWN]:
            out.print(f"    {line}")
        if len(lines) > _LINES_SHOWN:
            out.print(f"    and {plural(len(lines) - _LINES_SHOWN, 'line')} more")
    if len(tests) > _TESTS_SHOWN:
        out.print(f"  and {plural(len(tests) - _TESTS_SHOWN, 'test')} more")
