"""Logs and code of two kernels: where they first differ, and both side by side."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from bpfroots.analysis import diff, verifier_log
from bpfroots.analysis.type_ids import TypeIds

# A line's place in the log, in translated code and in an image: it moves with every line before it.
_PLACE = re.compile(r"^(?:(?:from \d+ to )?\d+: |\s*\d+: | *[0-9a-f]+:  )")
# Lines kept around a difference, and what is compared of two texts beyond what they have in common at both
# ends: difflib takes the square of it.
_CONTEXT = 3
_MOST = 1200
_NUMBER = re.compile(r"\b(?:0x[0-9a-f]+|\d+)\b")


def first_difference(a: Path, b: Path, types: TypeIds | None = None) -> str | None:
    """The first line that differs by more than ids, addresses and times, in words; None where none does.
    ``types``: a number may be the id of a type, which two kernels number differently.

    Lines are read side by side and only those that differ are normalised: a log may have 150 MB.
    """
    with a.open("rb") as left, b.open("rb") as right:
        for number, (one, other) in enumerate(zip_longest(left, right, fillvalue=b""), 1):
            if one == other:
                continue
            lines = [
                verifier_log.normalise(line.decode(errors="replace").rstrip("\n")) for line in (one, other)
            ]
            if lines[0] != lines[1] and not (types and _same_types(lines[0], lines[1], types)):
                return f"line {number}: {_short(lines[0])} | {_short(lines[1])}"
    return None


def _same_types(a: str, b: str, types: TypeIds) -> bool:
    """Do they differ in ids of types only, and in the space that these take?"""
    texts = [_NUMBER.sub("#", " ".join(line.split())) for line in (a, b)]
    numbers = zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=False)
    return texts[0] == texts[1] and all(x == y or types.same(_value(x), _value(y)) for x, y in numbers)


def _value(number: str) -> int:
    return int(number, 16 if number.startswith("0x") else 10)


def _short(line: str) -> str:
    line = " ".join(line.split())
    return f"{line[:57]}..." if len(line) > 60 else line or "(none)"


@dataclass(frozen=True)
class TextRow:
    """One line of each text, None where the other has no counterpart; or ``fold`` equal lines left out."""

    a: str | None = None
    b: str | None = None
    changed: bool = False
    fold: int = 0


@dataclass(frozen=True)
class Beside:
    """``cut``: texts continue after ``rows``."""

    rows: list[TextRow]
    cut: bool

    @property
    def changed(self) -> int:
        return sum(row.changed for row in self.rows)


def log_keys(lines: Sequence[str]) -> list[str]:
    """What lines of a log, or of translated code, are compared by."""
    # All at once: a pattern costs more to begin than to apply.
    return [_PLACE.sub("", line) for line in verifier_log.normalise("\n".join(lines)).split("\n")]


def code_keys(lines: Sequence[str]) -> list[str]:
    """What instructions are compared by: how far a jump within its image goes is no difference."""
    return [diff.LOCAL.sub(r"\1", _PLACE.sub("", line)) for line in lines]


def beside(a: Sequence[str], b: Sequence[str], keys: Callable[[Sequence[str]], list[str]]) -> Beside:
    """Both texts, equal lines next to each other, those far from a difference folded."""
    head, tail = _ends(a, b)
    left, right = ([*lines[head : len(lines) - tail]] for lines in (a, b))
    # Lines that are equal where they are need no normalising, which takes longer than all else.
    differ = [n for n, (x, y) in enumerate(zip_longest(left, right)) if x != y]
    one, other = (_keyed(lines, differ, keys) for lines in (left, right))
    more_head, more_tail = _ends(one, other)
    sizes = [len(lines) - more_head - more_tail for lines in (one, other)]
    cut = max(sizes) > _MOST
    parts = [slice(more_head, more_head + min(size, _MOST)) for size in sizes]
    rows = [TextRow(x, y) for x, y in zip(a[: head + more_head], b[: head + more_head], strict=True)]
    rows += _aligned(left[parts[0]], right[parts[1]], one[parts[0]], other[parts[1]])
    if not cut:
        rest = tail + more_tail
        rows += [TextRow(x, y) for x, y in zip(a[len(a) - rest :], b[len(b) - rest :], strict=True)]
    return Beside(_folded(rows), cut)


def _keyed(lines: list[str], differ: Sequence[int], keys: Callable[[Sequence[str]], list[str]]) -> list[str]:
    """``lines``, of which those that ``differ`` are replaced by their keys."""
    found = list(lines)
    places = [n for n in differ if n < len(lines)]
    if places:
        for place, key in zip(places, keys([lines[n] for n in places]), strict=True):
            found[place] = key
    return found


def _ends(a: Sequence[str], b: Sequence[str]) -> tuple[int, int]:
    """How many lines both begin with, and how many of the others both end with."""
    most = min(len(a), len(b))
    head = next((n for n in range(most) if a[n] != b[n]), most)
    tail = next((n for n in range(most - head) if a[-1 - n] != b[-1 - n]), most - head)
    return head, tail


def _aligned(a: Sequence[str], b: Sequence[str], left: Sequence[str], right: Sequence[str]) -> list[TextRow]:
    rows: list[TextRow] = []
    # autojunk takes lines that occur often, as in every loop, for noise.
    for word, i, i_end, j, j_end in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        pairs = zip_longest(a[i:i_end], b[j:j_end])
        rows += [TextRow(x, y, changed=word != "equal") for x, y in pairs]
    return rows


def _folded(rows: Sequence[TextRow]) -> list[TextRow]:
    near = {n for at, row in enumerate(rows) if row.changed for n in range(at - _CONTEXT, at + _CONTEXT + 1)}
    found: list[TextRow] = []
    for at, row in enumerate(rows):
        if at in near:
            found.append(row)
        elif found and found[-1].fold:
            found[-1] = TextRow(fold=found[-1].fold + 1)
        else:
            found.append(TextRow(fold=1))
    return found
