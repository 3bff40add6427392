"""Two texts against each other: which lines of one are not in the other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from harness.analysis.verifier_log import normalise

# A jump within its image: where it leads shifts with every instruction before it.
_LOCAL = re.compile(r"^(j\w+) (?:0x)?[0-9a-f]+$")


def added(reference: Sequence[str], lines: Sequence[str]) -> set[int]:
    """Indices of ``lines`` that a shortest way from ``reference`` puts in, changed lines included."""
    matcher = difflib.SequenceMatcher(None, reference, lines, autojunk=False)
    blocks = matcher.get_matching_blocks()
    return set(range(len(lines))).difference(*(range(b.b, b.b + b.size) for b in blocks))


def code_added(reference: Sequence[str], code: Sequence[str]) -> set[int]:
    """As `added`, of normalised JIT code without offsets, "MNEMONIC OPERANDS": jumps within an image are
    equal wherever they lead, as long as what they jump over is told by other lines."""
    return added([_LOCAL.sub(r"\1", insn) for insn in reference], [_LOCAL.sub(r"\1", insn) for insn in code])


def log_difference(reference: str, log: str, context: int = 2) -> list[str]:
    """Normalised unified difference of two verifier logs, without file heads; empty where there is none."""
    lines = difflib.unified_diff(
        normalise(reference).splitlines(), normalise(log).splitlines(), n=context, lineterm=""
    )
    return [line for line in lines if not line.startswith(("---", "+++"))]
