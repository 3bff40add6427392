"""What a person needs to see of a cell that is not as expected."""

from __future__ import annotations

from pathlib import Path

from harness.analysis import verifier_log
from harness.escape import visible
from harness.results.model import Cell, Root

_LOG_LINES = 12


def failure(cell: Cell, run_dir: Path) -> str:
    """Verdict, roots, the end of the log, the command that does it again; safe to print (`visible`)."""
    expected: str = cell.expected.verdict if cell.expected else "accept"
    if cell.expected and cell.expected.message:
        expected += f": {cell.expected.message}"
    lines = [
        f"{cell.case} ({cell.mechanism}, {cell.kernel}): {cell.outcome}",
        _field("expected", expected),
        _field("got", cell.verdict or cell.outcome),
        _field("reason", cell.reason),
    ]
    if cell.roots:
        lines.append(_field("roots", " · ".join(_root(root) for root in cell.roots)))
    lines += _log(cell, run_dir)
    lines.append(_field("again", cell.reproduce))
    return visible("\n".join(lines))


def _field(name: str, value: str) -> str:
    return f"  {name:9} {value}"


def _root(root: Root) -> str:
    return f"{root.name} ({root.type}) {root.verdict}, processed {root.verifier.processed_insns} insns"


def _log(cell: Cell, run_dir: Path) -> list[str]:
    """The last lines of the log that matters: the first rejected program's, else the first."""
    programs = sorted([*cell.roots, *cell.targets], key=lambda root: root.verdict != "reject")
    for program in programs:
        relative = cell.artefacts.get(f"{program.name}.verifier.log")
        if relative is None:
            continue
        path = run_dir / relative
        text = path.read_text(errors="replace")
        tail = verifier_log.tail(text, _LOG_LINES).splitlines()
        return [_field("log", f"{path}:{len(text.splitlines())}"), *(f"            {line}" for line in tail)]
    return []
