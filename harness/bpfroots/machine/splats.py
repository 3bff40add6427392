"""Finding the kernel's complaints in a console log.

What is a splat is policy and lives in splat_denylist.txt and splat_allowlist.txt, in the format of
libbpf/ci's SPLAT_DENYLIST and SPLAT_ALLOWLIST, whose files can be used as they are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bpfroots import arch
from bpfroots.errors import UserError

SplatKind = Literal["crash", "hang"]

#: Lines after a splat's first one that are kept to name it and to show it.
CONTEXT = 60
#: A kernel in trouble prints without end; the first reports tell.
MAX_SPLATS = 16


@dataclass(frozen=True)
class Splat:
    """One report. ``line`` counts from 1; ``text`` are its first lines, without timestamps.

    crash: what the kernel did or found is wrong. hang: something does not get on.
    """

    kind: SplatKind
    title: str
    line: int
    text: tuple[str, ...] = ()


# What libbpf/ci's patterns begin with, as `_from_ere` spells it: timestamp, CPU or thread field.
_STAMP = r"(\[[^\]]*\] *)*"


class _Patterns:
    """Many expressions as two: those for a line's start need one try each, not one per column.

    Of these the usual ones begin alike, which is matched once for all: a guest can print a
    million lines in a few seconds.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        start = [s for s in sources if s.startswith("^") and not _splits(s)]
        stamped = [s[1 + len(_STAMP) :] for s in start if s.startswith("^" + _STAMP)]
        anchored = [s for s in start if not s.startswith("^" + _STAMP)]
        floating = [s for s in sources if s not in start]
        if stamped:
            anchored.append(f"{_STAMP}(?:{_either(stamped)})")
        self._start = re.compile(_either(anchored)) if anchored else None
        self._any = re.compile(_either(floating)) if floating else None

    def match(self, line: str) -> bool:
        if self._start is not None and self._start.match(line):
            return True
        return self._any is not None and self._any.search(line) is not None


def _either(sources: Sequence[str]) -> str:
    return "|".join(f"(?:{source})" for source in sources)


def _splits(source: str) -> bool:
    """Has it an alternative outside all groups, so that its ^ binds only the first?"""
    plain = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "", source)
    while (shorter := re.sub(r"\([^()]*\)", "", plain)) != plain:
        plain = shorter
    return "|" in plain


@dataclass(frozen=True)
class Rules:
    """What is a splat (deny) and what is none after all (allow)."""

    deny: _Patterns
    allow: _Patterns

    def is_splat(self, line: str) -> bool:
        return self.deny.match(line) and not self.allow.match(line)


# POSIX classes inside brackets, which Python's re does not know.
_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}
_BRACKET = re.compile(r"\\.|\[\^?\]?(?:\[:[a-z]+:\]|[^]])*\]")


def _from_ere(source: str) -> str:
    """A POSIX ERE as Python's re spells it: only bracket expressions differ."""

    def convert(match: re.Match[str]) -> str:
        text = match.group()
        if text[0] == "\\":
            return text
        head = "[^" if text.startswith("[^") else "["
        body = text[len(head) : -1]
        parts = re.split(r"\[:([a-z]+):\]", body)
        # Inside brackets a POSIX backslash and [ mean themselves.
        plain = [p.replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]") for p in parts[::2]]
        classes = [_CLASSES[name] for name in parts[1::2]]
        return head + "".join(a + b for a, b in zip(plain, [*classes, ""], strict=True)) + "]"

    return _BRACKET.sub(convert, source)


@dataclass(frozen=True)
class Allowance:
    """A line of a SPLAT_ALLOWLIST; ``where`` is FILE:LINE."""

    pattern: re.Pattern[str]
    where: str


@dataclass(frozen=True)
class AllowedSplat:
    """What would be a splat, if ``by`` (FILE:LINE of a list) did not say otherwise; see `Splat`."""

    title: str
    line: int
    by: str


def read_allowances(path: Path) -> list[Allowance]:
    """A SPLAT_ALLOWLIST, or the one in a directory. Raises UserError where there is none, or a line is no
    expression."""
    file = path / "SPLAT_ALLOWLIST" if path.is_dir() else path
    if not file.is_file():
        msg = f"{path}: no SPLAT_ALLOWLIST in it"
        raise UserError(msg)
    return [Allowance(re.compile(source), f"{file.name}:{number}") for number, source in _numbered(file)]


def _read(path: Path) -> list[str]:
    return [source for _, source in _numbered(path)]


def _numbered(path: Path) -> list[tuple[int, str]]:
    sources = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise UserError(msg) from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            source = _from_ere(line)
            re.compile(source)
        except (re.error, KeyError) as error:
            msg = f"{path}:{number}: not a regular expression: {error}"
            raise UserError(msg, detail=line) from None
        sources.append((number, source))
    return sources


def load_rules(deny: Path, allow: Path | None = None) -> Rules:
    """Rules from two files.

    Raises UserError where a file cannot be read or used, or ``deny`` has no pattern: a scan that
    cannot find anything must not look like a clean log.
    """
    sources = _read(deny)
    if not sources:
        msg = f"{deny}: no pattern in it"
        raise UserError(msg)
    return Rules(_Patterns(sources), _Patterns(_read(allow) if allow else []))


@functools.cache
def default_rules() -> Rules:
    """The lists of this package."""
    here = Path(__file__).parent
    return load_rules(here / "splat_denylist.txt", here / "splat_allowlist.txt")


_PREFIX = re.compile(r"^(?:\[[^]]*\] *)*")
_HANG = re.compile(
    r"soft lockup|hard LOCKUP|workqueue lockup|blocked (?:for|in I/O wait for) more than"
    r"|detected (?:expedited )?stall|^unregister_netdevice: waiting"
)
# Steps of one report, not reports of their own: die() after its cause, panic() after either.
_DIE = re.compile(r"Oops[: ]|[a-z0-9 ]+: [0-9a-f]+ \[#\d+\]|PANIC: double fault")
_CAUSE = re.compile(r"BUG: (?:kernel NULL|unable to|corrupted)|kernel BUG at ")
_DIE_DISTANCE = 8
_PANIC_AFTER = re.compile(
    r"Kernel panic - not syncing: (?:Fatal exception|Fatal hardware|Fatal machine|softlockup: hung|"
    r"hung_task: blocked|RCU Stall|Hard LOCKUP|.*panic_on_warn set|corrupted stack)"
)


def strip_prefix(line: str) -> str:
    """A console line without timestamp and CPU or thread field."""
    return line[_PREFIX.match(line).end() :] if line.startswith("[") else line  # type: ignore[union-attr]


@dataclass
class _Report:
    line: int
    text: list[str] = field(default_factory=list)

    def continued_by(self, text: str, line: int) -> bool:
        if _PANIC_AFTER.match(text):
            return True
        near = line - self.line <= _DIE_DISTANCE
        return near and _DIE.match(text) is not None and _CAUSE.match(self.text[0]) is not None


class Scanner:
    """Finds splats in lines as they come. Memory is bounded, whatever the guest prints.

    What a line of ``allow`` matches is none; the first of these are in ``allowed``.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.allow: Sequence[Allowance] = ()
        self.allowed: list[AllowedSplat] = []
        self._rules = rules or default_rules()
        self._reports: list[_Report] = []

    def feed(self, line: str, number: int) -> bool:
        """Take line ``number``; true where it begins a report."""
        last = self._reports[-1] if self._reports else None
        text = line
        if self._rules.is_splat(line):
            text = strip_prefix(line)
            if entry := next((one for one in self.allow if one.pattern.search(line)), None):
                if len(self.allowed) < MAX_SPLATS:
                    self.allowed.append(AllowedSplat(title([text]), number, entry.where))
                return False
            if last is None or not last.continued_by(text, number):
                if len(self._reports) >= MAX_SPLATS:
                    return False
                self._reports.append(_Report(number, [text]))
                return True
        if last is not None and len(last.text) < CONTEXT:
            last.text.append(strip_prefix(text))
        return False

    def splats(self) -> list[Splat]:
        """The reports so far, in order. A title gets better as its report grows."""
        return [
            Splat("hang" if _HANG.search(r.text[0]) else "crash", title(r.text), r.line, tuple(r.text))
            for r in list(self._reports)
        ]


def classify(lines: Iterable[str], rules: Rules | None = None) -> list[Splat]:
    """The splats of a whole log, in order."""
    scanner = Scanner(rules)
    for number, line in enumerate(lines, 1):
        scanner.feed(line.rstrip("\r\n"), number)
    return scanner.splats()


# What a first line is called. {f}: the function the CPU was in.
_TITLES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"BUG: (K[A-Z]+SAN|KFENCE): (.+?) in ([\w.]+)", r"\1: \2 in \3"),
        (r"BUG: (K[A-Z]+SAN|KFENCE): (.+)", r"\1: \2"),
        (r"WARNING: CPU: \d+ PID: \d+ at (\S+:\d+) ([\w.]+)", r"WARNING in \2 at \1"),
        (r"WARNING: CPU: \d+ PID: \d+ at ([\w.]+)\+", r"WARNING in \1"),
        (r"kernel BUG at (.+?)!?$", r"kernel BUG at \1{f}"),
        (r"BUG: (kernel NULL pointer dereference|unable to handle [\w ]+? for address)\b.*", r"BUG: \1{f}"),
        (r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - .*\[(.+):\d+\]", r"soft lockup of \1{f}"),
        (r"(?:NMI )?watchdog: .*hard LOCKUP.*", r"hard lockup{f}"),
        (r"INFO: task (.+):\d+ blocked .*", r"hung task \1"),
        (r"(?:rcu: )?INFO: ([a-z_]+) .*detected .*stall.*", r"\1 stall{f}"),
        (r"Kernel panic - not syncing: (.+)", r"panic: \1"),
        (r"Oops: (general protection fault|[a-z][a-z0-9 ]+?)[,:].*", r"Oops: \1{f}"),
        (r"Oops[: ].*", r"Oops{f}"),
        (r"((?:[a-z0-9]+ )*[a-z0-9]+)[^:]*: [0-9a-f]+ \[#\d+\].*", r"Oops: \1{f}"),
    )
)
_COUNTER = re.compile(arch.GUEST.program_counter)
_ADDRESS = re.compile(r"\b(?:0x)?[0-9a-f]{12,16}\b")
_MAX_TITLE = 160


def title(report: Sequence[str]) -> str:
    """One line that says what happened and where; without addresses, so that equal faults read equal."""
    first = report[0].strip()
    for pattern, name in _TITLES:
        if match := pattern.match(first):
            at = next((m.group(1) for line in report[1:] if (m := _COUNTER.search(line))), "")
            first = match.expand(name).replace("{f}", f" in {at}" if at else "")
            break
    return _ADDRESS.sub("ADDR", first)[:_MAX_TITLE].strip()
