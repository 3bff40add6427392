"""What the command ends with, in one place; docs/reference.md has the table. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable

OK = 0
#: A cell is not as expected.
UNEXPECTED = 1
#: Usage and bad input.
USAGE = 2
#: A kernel does not apply, configure, build or boot.
KERNEL = 3
#: Our side: a missing tool, a lost guest, a full disk, a bug.
INFRA = 4
INTERRUPTED = 130
#: The reader of stdout is gone, as a shell shows SIGPIPE.
PIPE = 141

_OUTCOMES = {"error": USAGE, "infra_error": INFRA}
_GOOD = frozenset({"pass", "xfail", "skip", "unsupported"})

# ``git bisect run`` reads 0 as good, 125 as skip, anything else below 128 as bad, and stops at 128 and above.
GOOD, BAD, SKIP = 0, 1, 125
#: A bug in bpfroots, in a bisect step.
STEP_BUG = 255
_STEP = {USAGE: 129, INFRA: 132, INTERRUPTED: INTERRUPTED, PIPE: PIPE}


class StepVerdict(SystemExit):
    """What a bisect step ends with: GOOD, BAD or SKIP. Nothing else does."""


def of_outcome(outcome: str) -> int:
    """What a cell with this outcome makes a command end with."""
    return OK if outcome in _GOOD else _OUTCOMES.get(outcome, UNEXPECTED)


def worst(codes: Iterable[int]) -> int:
    """What a command ends with where several apply."""
    return max(codes, default=OK)


def of_step(code: int | str | None) -> int:
    """What git is told of a bisect step that ended without a verdict; ``--help`` is none either."""
    if not isinstance(code, int):
        return STEP_BUG
    return _STEP.get(code, _STEP[USAGE] if code == OK else STEP_BUG)
