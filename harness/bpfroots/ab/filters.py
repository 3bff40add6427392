"""Filters as `veristat -C -f` has them, and the expressions of ``--fail-on``.

``GLOB`` is a program's or its file's name, ``FILE/``, ``/PROG`` and ``FILE/PROG`` tell which; ``STAT OP N``
compares a figure. A figure ends with _a, _b (as does one without an ending), _diff or _pct; between bars it
counts without its sign. ``!`` in front of a filter leaves out what it is true of. From
tools/testing/selftests/bpf/veristat.c of Linux 6.12.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpfroots.errors import UserError

#: Figure → its names; the last three are none of veristat's.
STATS: dict[str, tuple[str, ...]] = {
    "verdict": ("verdict",),
    "duration": ("duration", "dur"),
    "insns": ("total_insns", "insns"),
    "states": ("total_states", "states"),
    "peak_states": ("peak_states",),
    "max_states_per_insn": ("max_states_per_insn",),
    "mark_read": ("max_mark_read_len", "mark_read"),
    "stack": ("stack_depth", "stack"),
    "xlated": ("xlated_bytes", "xlated"),
    "jit": ("jit_bytes", "jit"),
    "insns_per_run": ("insns_per_run", "cost"),
}
_NAMES = {name: stat for stat, names in STATS.items() for name in names}
_OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_EXPRESSION = re.compile(r"(?P<stat>[^<>=!]+?)\s*(?P<op>==|!=|<>|>=|<=|>|<|=)\s*(?P<value>[^<>=!]+)")
_WORDS = (
    {"true", "t", "success", "succ", "s", "match", "m"},
    {"false", "f", "failure", "fail", "mismatch", "mis"},
)
_VARIANT = re.compile(r"(\w+?)(_a|_b|_diff|_pct)?")

#: Figure → (on A, on B), None where it is not known.
Figures = Mapping[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Subject:
    """What filters look at: one program on both kernels."""

    file: str
    program: str
    figures: Figures


@dataclass(frozen=True)
class Expression:
    """A figure against a number."""

    text: str
    stat: str
    variant: str
    unsigned: bool
    op: str
    value: float

    @property
    def relative(self) -> bool:
        """Is it of both kernels?"""
        return self.variant in ("_diff", "_pct")

    def matches(self, subject: Subject) -> bool:
        found = self._value(*subject.figures.get(self.stat, (None, None)))
        if found is None:
            return False
        return bool(_OPERATORS[self.op](abs(found) if self.unsigned else found, self.value))

    def _value(self, a: float | None, b: float | None) -> float | None:
        if self.variant in ("_a", "_b"):
            return a if self.variant == "_a" else b
        if a is None or b is None:
            return None
        if self.variant == "_diff":
            return b - a
        return (b - a) / a * 100 if a else (100.0 if b else 0.0)


@dataclass(frozen=True)
class _Glob:
    """A pattern that is empty takes anything; ``either`` is for the file or the program."""

    file: str = ""
    program: str = ""
    either: str = ""

    def matches(self, subject: Subject) -> bool:
        if self.either:
            return _match(subject.file, self.either) or _match(subject.program, self.either)
        return all(
            not pattern or _match(name, pattern)
            for name, pattern in ((subject.file, self.file), (subject.program, self.program))
        )


@dataclass(frozen=True)
class Filters:
    """As veristat: nothing that is denied; of names and of figures one that is allowed, where any is."""

    allow: tuple[_Glob | Expression, ...] = ()
    deny: tuple[_Glob | Expression, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.allow or self.deny)

    def matches(self, subject: Subject) -> bool:
        if any(one.matches(subject) for one in self.deny):
            return False
        for kind in (_Glob, Expression):
            allowed = [one for one in self.allow if isinstance(one, kind)]
            if allowed and not any(one.matches(subject) for one in allowed):
                return False
        return True


def filters(texts: Sequence[str]) -> Filters:
    """Raises UserError for a filter that makes no sense."""
    allow = [_filter(text, text) for text in texts if not text.startswith("!")]
    deny = [_filter(text[1:], text) for text in texts if text.startswith("!")]
    return Filters(tuple(allow), tuple(deny))


def fail_on(text: str) -> Expression:
    """``insns>5%`` is ``insns_pct>5``. Raises UserError for anything but an expression."""
    found = _expression(text.removesuffix("%"), text, percent=text.endswith("%"))
    if found is None:
        msg = f"--fail-on {text}: not FIGURE>NUMBER"
        raise UserError(msg, hint="--fail-on 'insns>5%', 'states_diff>100', 'jit_pct>2'")
    return found


def _filter(text: str, given: str) -> _Glob | Expression:
    if expression := _expression(text, given):
        return expression
    file, slash, program = text.partition("/")
    if not text or text == "/":
        msg = f"filter {given!r}: empty"
        raise UserError(msg, hint="-f 'xdp*', -f 'insns_pct>5', -f '!flaky*'")
    return _Glob(file, program) if slash else _Glob(either=text)


def _expression(text: str, given: str, *, percent: bool = False) -> Expression | None:
    found = _EXPRESSION.fullmatch(text.strip())
    if found is None:
        return None
    name = found["stat"]
    unsigned = len(name) > 2 and name.startswith("|") and name.endswith("|")
    name = name.strip("|") if unsigned else name
    stat, variant = _stat(name)
    if stat is None:
        msg = f"{given}: no figure {name!r}"
        raise UserError(msg, hint=f"one of {', '.join(STATS)}, with _a, _b, _diff or _pct")
    if percent and variant not in ("", "_pct"):
        msg = f"{given}: % is for {stat}, not for {name}"
        raise UserError(msg, hint=f"{stat}{found['op']}{found['value']}%")
    variant = "_pct" if percent else variant or "_b"
    return Expression(given, stat, variant, unsigned, found["op"], _number(found["value"].strip(), given))


def _stat(name: str) -> tuple[str | None, str]:
    if name in _NAMES:
        return _NAMES[name], ""
    if (found := _VARIANT.fullmatch(name)) and found[2] and found[1] in _NAMES:
        return _NAMES[found[1]], found[2]
    return None, ""


def _number(text: str, given: str) -> float:
    true, false = _WORDS
    if text.lower() in true or text.lower() in false:
        return float(text.lower() in true)
    try:
        return float(text)
    except ValueError:
        msg = f"{given}: {text!r} is no number"
    raise UserError(msg, hint="'insns_pct>5', 'verdict==failure'")


def _match(name: str, pattern: str) -> bool:
    """A file by its whole name or by the part after its directories, which veristat does not show."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)
