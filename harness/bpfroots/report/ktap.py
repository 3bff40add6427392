"""KTAP version 1 (Documentation/dev-tools/ktap.rst): kernels hold cases, cases hold mechanisms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpfroots.analysis.compare import unexpected_reason
from bpfroots.escape import visible
from bpfroots.results.model import BAD, Cell

_DIRECTIVES = {
    "skip": "SKIP",
    "unsupported": "SKIP",
    "xfail": "XFAIL",
    "error": "ERROR",
    "timeout": "TIMEOUT",
    "infra_error": "ERROR",
}


def write(path: Path, cells: Sequence[Cell]) -> None:
    """Write ``path``. A level is "ok" when all below it is."""
    path.write_text(render(cells), encoding="utf-8")


def render(cells: Sequence[Cell]) -> str:
    """The document as text."""
    kernels = list(dict.fromkeys(cell.kernel for cell in cells))
    lines = ["KTAP version 1", f"1..{len(kernels)}"]
    for number, kernel in enumerate(kernels, 1):
        lines += _kernel(number, kernel, [cell for cell in cells if cell.kernel == kernel])
    return "\n".join(lines) + "\n"


def _kernel(number: int, kernel: str, cells: Sequence[Cell]) -> list[str]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.case, []).append(cell)
    lines = ["  KTAP version 1", f"  1..{len(groups)}"]
    for index, (case, group) in enumerate(groups.items(), 1):
        lines += ["    KTAP version 1", f"    1..{len(group)}"]
        for position, cell in enumerate(group, 1):
            lines += _cell(position, cell)
        lines.append(_result("  ", index, case, group))
    lines.append(_result("", number, kernel, cells))
    return lines


def _cell(number: int, cell: Cell) -> list[str]:
    bad = cell.outcome in BAD
    lines = [f"    # {_line(unexpected_reason(cell))}"] if bad else []
    directive = _DIRECTIVES.get(cell.outcome, "")
    reason = _line(cell.reason) if directive and not bad else ""
    suffix = f" # {directive} {reason}".rstrip() if directive else ""
    return [*lines, f"    {'not ok' if bad else 'ok'} {number} {_name(cell.key.how)}{suffix}"]


def _result(indent: str, number: int, name: str, cells: Sequence[Cell]) -> str:
    bad = any(cell.outcome in BAD for cell in cells)
    skipped = all(cell.outcome in ("skip", "unsupported") for cell in cells)
    return f"{indent}{'not ok' if bad else 'ok'} {number} {_name(name)}{' # SKIP' if skipped else ''}"


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


def _name(text: str) -> str:
    # "#" starts a directive.
    return _line(text).replace("#", "%23")
