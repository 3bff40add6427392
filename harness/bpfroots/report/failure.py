"""What a person needs to see of a cell that is not as expected."""

from __future__ import annotations

from pathlib import Path

from bpfroots.analysis import verifier_log
from bpfroots.escape import visible
from bpfroots.results.model import Cell

_LOG_LINES = 12


def failure(cell: Cell, run_dir: Path) -> str:
    """Verdict, programs, the end of the log, the command that does it again; safe to print (`visible`)."""
    expected: str = cell.expected.verdict if cell.expected else "accept"
    if cell.expected and cell.expected.message:
        expected += f": {cell.expected.message}"
    lines = [
        f"{cell.key}: {cell.outcome}",
        _field("expected", expected),
        _field("got", cell.verdict or cell.outcome),
        _field("reason", cell.in_full),
    ]
    lines += [_field("programs", line) for line in _programs(cell)]
    lines += [_field("remark", remark) for remark in cell.remarks]
    lines += _log(cell, run_dir)
    if cell.hint:
        lines.append(_field("try", cell.hint))
    lines.append(_field("again", cell.reproduce))
    return visible("\n".join(lines))


def _field(name: str, value: str) -> str:
    return f"  {name:9} {value}"


def _programs(cell: Cell) -> list[str]:
    """What became of each load, then of the programs that were in none."""
    types = {root.name: root.type for root in cell.programs}
    lines = []
    for load in cell.verifications:
        names = " + ".join(f"{name} ({types[name]})" for name in load.programs)
        lines.append(f"{names}: {load.verdict}, processed {load.verifier.processed_insns:,} insns")
        if load.failed:
            lines[-1] += f"; refused for {load.failed}"
    for root in cell.programs:
        if not root.verdict:
            lines.append(f"{root.name} ({root.type}): no verdict: {root.message}")
    return lines


def _log(cell: Cell, run_dir: Path) -> list[str]:
    """The last lines of the log that matters: the first rejected program's, else the first."""
    programs = sorted(cell.programs, key=lambda root: root.verdict != "reject")
    for program in programs:
        relative = cell.artefacts.get(f"{program.name}.verifier.log")
        if relative is None:
            continue
        path = run_dir / relative
        text = path.read_text(errors="replace")
        tail = verifier_log.tail(text, _LOG_LINES).splitlines()
        return [_field("log", f"{path}:{len(text.splitlines())}"), *(f"            {line}" for line in tail)]
    return []
