"""What a good kernel does, as a person writes it, and whether a cell is that.

    pass, accept, reject, clean, verdict!=accept, message~REGEX, jit==HASH, results==HASH, FIGURE<=N

A failure has a signature: what it has in common with the same failure on another kernel.
"""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from bpfroots.analysis.cell import readable_maps
from bpfroots.analysis.compare import figures, refusal
from bpfroots.analysis.verifier_log import normalise
from bpfroots.errors import UserError
from bpfroots.results.figures import INSNS_PER_RUN, NAMED
from bpfroots.results.model import Cell, TestResult

#: Stands for what the good end gave.
GOOD = "good"

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"([a-z_]+)\s*(!~|~|<=|>=|==|!=|<|>)\s*(.+)", re.DOTALL)
_WORDS = {"accept": ("verdict", "==", "accept"), "reject": ("verdict", "==", "reject")}
_CRASHED = ("guest_crash", "guest_hang")
_ALIASES = {"cost": INSNS_PER_RUN}
# Before anything is known: how likely it is that a bad kernel fails every time. What the verifier and the JIT
# do does not depend on time; what programs then do, or a kernel that splats, does.
_STEADY, _UNSTEADY = 0.99, 0.5


class SignedFailure(NamedTuple):
    """``text`` is for people; ``signature`` is equal where the same thing failed."""

    signature: str
    text: str


@dataclass(frozen=True)
class Condition:
    """One condition that holds on a good kernel. ``right`` is a number, a word, a hash or a pattern."""

    text: str
    left: str
    operator: str = ""
    right: str = ""

    @property
    def steady(self) -> float:
        """The chance, before any run, that a kernel that fails it fails it every time."""
        return _UNSTEADY if self.left in ("pass", "clean", "results") else _STEADY

    @property
    def is_relative(self) -> bool:
        """Whether it says "as the good end"."""
        return self.right == GOOD

    def bound(self, good: Mapping[str, str]) -> Condition:
        """With the `values` of the good end in the place of the word. Raises UserError where it has none."""
        if not self.is_relative:
            return self
        value = good.get(self.left)
        if value is None:
            msg = f"--expect {self.text}: the good end has no {self.left}"
            raise UserError(msg, hint="bpfroots load or run shows what it has")
        return replace(self, right=value)

    def failure(self, result: TestResult) -> SignedFailure | None:
        """How ``result`` fails it, None where it holds. Raises LookupError where it cannot tell."""
        if self.left == "pass":
            if result.outcome in ("pass", "xfail"):
                return None
            return SignedFailure(
                f"{result.outcome}: {_shape(result.reason)}", result.reason or result.outcome
            )
        if self.left == "clean":
            return None
        value = _value(self.left, result) if isinstance(result, Cell) else None
        if value is None:
            raise LookupError(self.left)
        if self._holds(value):
            return None
        if self.left == "verdict":
            reason = refusal(result) if isinstance(result, Cell) and value == "reject" else ""
            return SignedFailure(f"{value}: {_shape(reason)}", f"{value}: {reason}" if reason else value)
        return SignedFailure(self.left, f"{self.left} {value}, expected {self.operator} {self.right}")

    def _holds(self, value: str) -> bool:
        match self.operator:
            case "~":
                return re.search(self.right, value) is not None
            case "!~":
                return re.search(self.right, value) is None
        if self.left in NAMED:
            return _COMPARE[self.operator](float(value), float(self.right))
        return (value == self.right) == (self.operator == "==")


def parse(text: str) -> Condition:
    """An expectation out of ``--expect TEXT``. Raises UserError, which lists what there is."""
    word = text.strip()
    if word in ("pass", "clean"):
        return Condition(word, word)
    if word in _WORDS:
        return Condition(word, *_WORDS[word])
    match = _FORM.fullmatch(word)
    if match is None:
        raise _unknown(text)
    left, sign, right = _ALIASES.get(match[1], match[1]), match[2], match[3].strip()
    if left == "message" and sign in ("~", "!~"):
        try:
            re.compile(right)
        except re.error as error:
            msg = f"--expect {text}: not a regular expression: {error}"
            raise UserError(msg) from None
    elif left in NAMED and sign in _COMPARE:
        if right != GOOD and not re.fullmatch(r"-?\d+(\.\d+)?", right):
            msg = f"--expect {text}: {right} is not a number"
            raise UserError(msg, hint=f"a number, or {GOOD}: what the good end has")
    elif not (left in ("verdict", "jit", "results") and sign in ("==", "!=")):
        raise _unknown(text)
    return Condition(word, left, sign, right)


def _unknown(text: str) -> UserError:
    return UserError(
        f"--expect {text}: not understood",
        detail="pass, accept, reject, clean (no splat), verdict!=accept, message~REGEX, message!~REGEX,\n"
        f"jit==HASH, results==HASH, FIGURE<=N with one of <= >= < > == !=\nfigures: {', '.join(NAMED)}",
        hint=f"'processed_insns<=1000'; in bisect run also 'processed_insns<={GOOD}'",
    )


class Judged(NamedTuple):
    """One run of a kernel: good; bad, by the failure that is looked for; other: it says nothing of that."""

    word: Literal["good", "bad", "other"]
    signature: str = ""
    text: str = ""


def judge(expectations: Sequence[Condition], result: TestResult, signature: str = "") -> Judged:
    """What ``result`` says of its kernel. With ``signature`` only a failure that has it is bad."""
    found = _judge(expectations, result)
    if found.word == "bad" and signature and found.signature != signature:
        return found._replace(word="other")
    return found


def _judge(expectations: Sequence[Condition], result: TestResult) -> Judged:
    if result.outcome in _CRASHED and any(e.left == "clean" for e in expectations):
        return Judged("bad", f"{result.outcome}: {_shape(result.reason)}", result.reason)
    if result.outcome in (*_CRASHED, "error", "timeout", "infra_error", "skip"):
        return Judged("other", result.outcome, f"{result.outcome}: {result.reason}")
    for expectation in expectations:
        try:
            failure = expectation.failure(result)
        except LookupError as missing:
            return Judged("other", "no value", f"no {missing.args[0]}: {_why(result)}")
        if failure:
            return Judged("bad", *failure)
    return Judged("good")


def _why(result: TestResult) -> str:
    return result.reason or (refusal(result) if isinstance(result, Cell) else "")


def values(result: TestResult) -> dict[str, str]:
    """Everything that can be compared, as `parse` has it; nothing of what is no cell."""
    if not isinstance(result, Cell):
        return {}
    names = ("verdict", "message", *NAMED, "jit", "results")
    return {name: value for name in names if (value := _value(name, result)) is not None}


def _value(name: str, cell: Cell) -> str | None:
    """None where the cell has none, a figure of half a verification included."""
    if cell.outcome in _CRASHED:
        return None
    if name == "verdict":
        return cell.verdict or (cell.outcome if cell.outcome == "unsupported" else None)
    if name == "message":
        return refusal(cell) if cell.verdict == "reject" else ""
    if cell.verdict != "accept" and not (name in NAMED and NAMED[name].of_verifier):
        return None
    if name == "jit":
        images = (image for root in cell.programs for image in root.jit.images)
        return _digest(f"{image.symbol} {image.sha256}" for image in images)
    if name == "results":
        runs = (
            f"{root.name} {run.input} {run.retval} {run.data_out}" for root in cell.roots for run in root.runs
        )
        return _digest([*runs, *(f"{key} {value}" for key, value in readable_maps(cell.results).items())])
    value = figures(cell).get(name)
    return None if value is None else f"{value:.12g}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _shape(message: str) -> str:
    """A message without its numbers: registers, offsets and instructions move with every change."""
    return re.sub(r"\d+", "#", normalise(message))
