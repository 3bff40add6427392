"""test_maps: what it runs, read from its sources, and what its output says of that.

It prints little. main() calls its tests one after the other and the first that fails ends the program. So a
test has passed when it has printed all lines with PASS that its source has, when a later one has printed such
a line, or when the program has said that all is well.
Formats: main() of tools/testing/selftests/bpf/test_maps.c, map_tests/*.c, and CHECK() of test_maps.h.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bpfroots.errors import KernelError
from bpfroots.kernels import selftests
from bpfroots.results.selftests import Subtest, Tested
from bpfroots.selftest import progs_tree

#: The tests in test_maps.c, twice: with maps that are allocated at once, and with those that are not. Which
#: of them runs is not printed, so they are one test, and its subtests once all of them have passed.
FIRST = "run_all_tests"
#: What fails where all tests have passed, and the program has not.
EXIT = "exit after test_maps"

_SOURCE, _TESTS = "test_maps.c", "map_tests"
_FUNCTION = re.compile(r"^\w[\w *]*?\b(\w+)\([^;\n]*$", re.MULTILINE)
_BODY = r"^(?:static )?void {}\((?:void)?\)\n\{{\n(.*?)^\}}"
_PRINTED = re.compile(r'printf\("[^"\n]*: ?PASS')
_CALL = re.compile(r"^\ttest_(\w+)\(", re.MULTILINE)
_PASS = re.compile(r"^(?:test_)?(\w+): ?PASS(?: (.*))?$")
_SKIP = re.compile(r"^test_(\w+) SKIP \((.*)\)$")
_END = re.compile(r"^test_maps: OK, (\d+) SKIPPED$")
#: In the line that says what went wrong: CHECK() of test_maps.h, and assert() of the C library.
FAILED = re.compile(r"^(\w+)\(\d+\):FAIL:|: (\w+): Assertion `")


class Unit(msgspec.Struct, frozen=True):
    """A test that main() calls. ``functions`` are those of its file, without "test_" in front; ``marks`` is
    how many lines with PASS it prints; ``calls`` are the tests in `FIRST`."""

    name: str
    functions: frozenset[str] = frozenset()
    marks: int = 0
    calls: tuple[str, ...] = ()


def units(source: Path) -> list[Unit]:
    """Everything that test_maps of the tree ``source`` runs, in that order. Raises KernelError for a tree
    without."""
    directory = source / selftests.DIRECTORY
    main = directory / _SOURCE
    body = _body(FIRST, main.read_text(errors="replace")) if main.is_file() else ""
    if not body:
        msg = f"{source}: no {selftests.DIRECTORY}/{_SOURCE} with {FIRST}() there"
        raise KernelError(msg)
    found = {
        name: _unit(name, path.read_text(errors="replace"))
        for path in (directory / _TESTS).glob("*.c")
        for name in progs_tree.defined(path)
    }
    first = Unit(FIRST, calls=tuple(_CALL.findall(body)))
    return [first, *(found[name] for name in progs_tree.in_order(found))]


def _unit(name: str, text: str) -> Unit:
    functions = frozenset(_plain(function) for function in _FUNCTION.findall(text))
    # Its own function prints them, or those that it calls.
    printed = _PRINTED.findall(_body(f"test_{name}", text)) or _PRINTED.findall(text)
    return Unit(name, functions, len(printed))


def _body(function: str, text: str) -> str:
    match = re.search(_BODY.format(function), text, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


class Reader:
    """Takes lines as they come. ``rest`` is what was printed since the last line with PASS, ``wrong`` why the
    output cannot be believed."""

    def __init__(self, known: Sequence[Unit], now: float) -> None:
        """``known`` are the tree's; ``now`` is a time in seconds, as in `feed`."""
        self._left = list(known)
        self._printed: dict[str, list[str]] = {unit.name: [] for unit in known}
        self._skipped: dict[str, str] = {}
        self._last = now
        self._taken_back = ""
        self.over = False
        self.rest: list[str] = []
        self.wrong = ""

    def feed(self, line: str, now: float) -> list[Tested]:
        """The tests that have passed, as ``line`` shows."""
        if match := _END.match(line):
            self.over = True
            if int(match[1]) != len(self._skipped):
                self.wrong = f"{line!r}, but {len(self._skipped)} were printed"
        elif match := _SKIP.match(line):
            self._skipped[match[1]] = match[2]
        elif (match := _PASS.match(line)) and (unit := self._owner(match[1])):
            self.rest = []
            return self._passes(unit, " ".join(filter(None, match.groups())), now)
        self.rest.append(line)
        return []

    def finish(self, now: float) -> list[Tested]:
        """The others, of a program that has come to its end."""
        return [self._passed(unit, now) for unit in list(self._left)]

    def take_back(self, passed: Sequence[Tested]) -> None:
        """They have not passed after all: the kernel complained meanwhile."""
        self._taken_back = passed[0].name if passed else ""

    @property
    def current(self) -> str:
        """The test that is running, or `EXIT` after the last one."""
        if self._taken_back:
            return self._taken_back
        return self._left[0].name if self._left else EXIT

    def _owner(self, function: str) -> Unit | None:
        """The test that a line with PASS is of. Functions in one file may be of several."""
        if function in self._printed and function not in {unit.name for unit in self._left}:
            return None
        named = (unit for unit in self._left if unit.name == function)
        return next(named, next((unit for unit in self._left if function in unit.functions), None))

    def _passes(self, unit: Unit, mark: str, now: float) -> list[Tested]:
        printed = self._printed[unit.name]
        printed.append(mark)
        # What comes before it has ended, whether or not it prints anything.
        done = self._left[: self._left.index(unit)]
        if len(printed) == unit.marks:
            done = [*done, unit]
        return [self._passed(one, now) for one in done]

    def _passed(self, unit: Unit, now: float) -> Tested:
        self._left.remove(unit)
        seconds, self._last = now - self._last, now
        marks = self._printed[unit.name]
        subtests = [self._called(one) for one in unit.calls]
        subtests += [Subtest(mark, "pass") for mark in marks if len(marks) > 1]
        return Tested(unit.name, "pass", seconds=round(seconds, 2), subtests=subtests)

    def _called(self, name: str) -> Subtest:
        why = self._skipped.get(name, "")
        return Subtest(name, "skip" if why else "pass", why)


def _plain(function: str) -> str:
    return function.removeprefix("test_")
