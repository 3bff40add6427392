"""JIT code of one function against another's: which instructions of one are not in the other."""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Mapping, Sequence

#: A jump or call within its image: where it leads shifts with every instruction before it. The report's
#: script takes it as well.
LOCAL = re.compile(r"^((?:j\w+|call|loop\w*) )(0x[0-9a-f]+|\d+)$")


def _matches(reference: Sequence[str], lines: Sequence[str]) -> dict[int, int]:
    """Index in ``lines`` → index of the line in ``reference`` that it stands for."""
    # difflib looks for long runs, not for the shortest way: what both begin and end with is no matter to it.
    head, tail = _common(reference, lines), 0
    if rest := min(len(reference), len(lines)) - head:
        tail = _common(reference[::-1][:rest], lines[::-1][:rest])
    a, b = reference[head : len(reference) - tail], lines[head : len(lines) - tail]
    # autojunk takes lines that occur often, as in every loop, for noise.
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    blocks = [
        (0, 0, head),
        *((head + block.a, head + block.b, block.size) for block in matcher.get_matching_blocks()),
        (len(reference) - tail, len(lines) - tail, tail),
    ]
    return {other + n: one + n for one, other, size in blocks for n in range(size)}


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """How many lines both begin with."""
    return next(
        (n for n, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b))
    )


def code_added(reference: Sequence[tuple[int, str]], code: Sequence[tuple[int, str]]) -> set[int]:
    """Indices of ``code`` that a short way from ``reference`` puts in, changed instructions included.

    Both are normalised JIT code: (offset, "MNEMONIC OPERANDS"). A jump within its image is the same
    when it leads to the same instruction, however far that is.
    """
    left, right = ([LOCAL.sub(r"\1", text) for _, text in insns] for insns in (reference, code))
    matches = _matches(left, right)
    places = _places(reference, sorted(matches.values())), _places(code, sorted(matches))
    elsewhere = {
        b for b, a in matches.items() if _target(reference[a][1], places[0]) != _target(code[b][1], places[1])
    }
    return set(range(len(code))) - matches.keys() | elsewhere


def _places(code: Sequence[tuple[int, str]], matched: Sequence[int]) -> dict[int, int]:
    """Offset → how many instructions that both have are before it: what only one has is no place."""
    return {offset: bisect.bisect_left(matched, index) for index, (offset, _) in enumerate(code)}


def _target(insn: str, places: Mapping[int, int]) -> tuple[bool, int] | None:
    """The place that a jump within its image leads to; an offset where no instruction begins there."""
    if not (match := LOCAL.match(insn)):
        return None
    offset = int(match[2], 0)
    return offset in places, places.get(offset, offset)
