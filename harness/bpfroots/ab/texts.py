"""Logs and code of two kernels: where they first differ, and both side by side."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from bpfroots.analysis import diff, verifier_log

# A line's place in the log, in translated code and in an image: it moves with every line before it.
_PLACE = re.compile(r"^(?:(?:from \d+ to )?\d+: |\s*\d+: | *[0-9a-f]+:  )")
# Lines kept around a difference, and what is compared of two texts beyond what they have in common at both
# ends: difflib takes the square of it.
_CONTEXT = 3
_MOST = 1200


def first_difference(a: Path, b: Path) -> str | None:
    """The first line that differs by more than ids, addresses and times, in words; None where none does.

    Lines are read side by side and only those that differ are normalised: a log may have 150 MB.
    """
    with a.open("rb") as left, b.open("rb") as right:
        for number, (one, other) in enumerate(zip_longest(left, right, fillvalue=b""), 1):
            if one == other:
                continue
            lines = [
                verifier_log.normalise(line.decode(errors="replace").rstrip("\n")) for line in (one, other)
            ]
            if lines[0] != lines[1]:
                return f"line {number}: {_short(lines[0])} | {_short(lines[1])}"
    return None


def _short(line: str) -> str:
    line = " ".join(line.split())
    return f"{line[:57]}..." if len(line) > 60 else line or "(none)"


@dataclass(frozen=True)
class Row:
    """One line of each text, None where the other has no counterpart; or ``fold`` equal lines left out."""

    a: str | None = None
    b: str | None = None
    changed: bool = False
    fold: int = 0


@dataclass(frozen=True)
class Beside:
    """``cut``: texts continue after ``rows``."""

    rows: list[Row]
    cut: bool

    @property
    def changed(self) -> int:
        return sum(row.changed for row in self.rows)


def log_key(line: str) -> str:
    """What two lines of a log, or of translated code, are compared by."""
    return _PLACE.sub("", verifier_log.normalise(line))


def code_key(line: str) -> str:
    """What two instructions are compared by: how far a jump within its image goes is no difference."""
    return diff.LOCAL.sub(r"\1", _PLACE.sub("", line))


def beside(a: Sequence[str], b: Sequence[str], key: Callable[[str], str]) -> Beside:
    """Both texts, equal lines next to each other, those far from a difference folded."""
    left, right = [key(line) for line in a], [key(line) for line in b]
    head = next((n for n, (x, y) in enumerate(zip(left, right, strict=False)) if x != y), min(len(a), len(b)))
    rest = min(len(a), len(b)) - head
    tail = next((n for n in range(rest) if left[-1 - n] != right[-1 - n]), rest)
    middle = [(len(a) - tail - head), (len(b) - tail - head)]
    cut = max(middle) > _MOST
    ends = [head + min(size, _MOST) for size in middle]
    rows = [Row(x, y) for x, y in zip(a[:head], b[:head], strict=True)]
    rows += _aligned(a[head : ends[0]], b[head : ends[1]], left[head : ends[0]], right[head : ends[1]])
    if not cut:
        rows += [Row(x, y) for x, y in zip(a[len(a) - tail :], b[len(b) - tail :], strict=True)]
    return Beside(_folded(rows), cut)


def _aligned(a: Sequence[str], b: Sequence[str], left: Sequence[str], right: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    # autojunk takes lines that occur often, as in every loop, for noise.
    for word, i, i_end, j, j_end in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        pairs = zip_longest(a[i:i_end], b[j:j_end])
        rows += [Row(x, y, changed=word != "equal") for x, y in pairs]
    return rows


def _folded(rows: Sequence[Row]) -> list[Row]:
    near = {n for at, row in enumerate(rows) if row.changed for n in range(at - _CONTEXT, at + _CONTEXT + 1)}
    found: list[Row] = []
    for at, row in enumerate(rows):
        if at in near:
            found.append(row)
        elif found and found[-1].fold:
            found[-1] = Row(fold=found[-1].fold + 1)
        else:
            found.append(Row(fold=1))
    return found
