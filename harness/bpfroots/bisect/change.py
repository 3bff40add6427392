"""What is different between the last good cell of a bisection and the first bad one."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from bpfroots.analysis.compare import refusal
from bpfroots.analysis.verifier_log import normalise
from bpfroots.bisect import expect
from bpfroots.bisect.model import FirstBad
from bpfroots.results.model import Cell, TestResult

_LINES = 80
# Longer logs are compared up to here: a loop's is hundreds of thousands of lines, and difflib is slow.
_MOST = 20_000
_NAMES = ((".verifier.log", "verifier log"), (".jited.asm", "JIT code"))
_PLACE = re.compile(r"addr=\w+ ")


def change(run_dir: Path, before: TestResult, after: TestResult) -> FirstBad:
    """Of two results of one run. What is equal is left out, and values that one of them does not have."""
    old, new = expect.values(before), expect.values(after)
    values = {name: (old[name], new[name]) for name in old if old[name] != new.get(name, old[name])}
    if before.outcome != after.outcome:
        values = {"outcome": (before.outcome, after.outcome), **values}
    if not isinstance(before, Cell) or not isinstance(after, Cell):
        return FirstBad(before.kernel, values, {}, after.reason)
    texts = {
        f"{what} of {program.name}": lines
        for suffix, what in _NAMES
        for program in (*after.roots, *after.targets)
        if (lines := _diff(run_dir, before, after, f"{program.name}{suffix}"))
    }
    return FirstBad(
        before.kernel, values, texts, refusal(after) if after.verdict == "reject" else after.reason
    )


def _diff(run_dir: Path, before: Cell, after: Cell, name: str) -> list[str]:
    if name not in before.artefacts or name not in after.artefacts:
        return []
    old, new = (_lines(run_dir / cell.artefacts[name]) for cell in (before, after))
    lines = list(difflib.unified_diff(old, new, before.kernel, after.kernel, lineterm="", n=3))
    return lines if len(lines) <= _LINES else [*lines[:_LINES], f"... {len(lines) - _LINES} more lines"]


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    return normalise(_PLACE.sub("", text)).splitlines()[:_MOST]
