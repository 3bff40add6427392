"""KTAP version 1 (Documentation/dev-tools/ktap.rst): kernels hold cases, cases hold mechanisms.

What is no cell, such as a test of the kernel's own tree, stands beside the cases and holds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpfroots.analysis.compare import unexpected_reason
from bpfroots.escape import visible
from bpfroots.results.model import BAD, TestResult

_DIRECTIVES = {
    "skip": "SKIP",
    "unsupported": "SKIP",
    "xfail": "XFAIL",
    "error": "ERROR",
    "timeout": "TIMEOUT",
    "infra_error": "ERROR",
}


def write(path: Path, results: Sequence[TestResult]) -> None:
    """Write ``path``. A level is "ok" when all below it is."""
    path.write_text(render(results), encoding="utf-8")


def render(results: Sequence[TestResult]) -> str:
    """The document as text."""
    kernels = list(dict.fromkeys(result.kernel for result in results))
    lines = ["KTAP version 1", f"1..{len(kernels)}"]
    for number, kernel in enumerate(kernels, 1):
        lines += _kernel(number, kernel, [result for result in results if result.kernel == kernel])
    return "\n".join(lines) + "\n"


def _kernel(number: int, kernel: str, results: Sequence[TestResult]) -> list[str]:
    groups: dict[str, list[TestResult]] = {}
    for result in results:
        groups.setdefault(result.case, []).append(result)
    lines = ["  KTAP version 1", f"  1..{len(groups)}"]
    for index, (case, group) in enumerate(groups.items(), 1):
        if not any(result.key.how for result in group):
            lines += _leaf("  ", index, case, group[0])
            continue
        lines += ["    KTAP version 1", f"    1..{len(group)}"]
        for position, result in enumerate(group, 1):
            lines += _leaf("    ", position, result.key.how or "1", result)
        lines.append(_result("  ", index, case, group))
    lines.append(_result("", number, kernel, results))
    return lines


def _leaf(indent: str, number: int, name: str, result: TestResult) -> list[str]:
    bad = result.outcome in BAD
    lines = [f"{indent}# {_line(unexpected_reason(result))}"] if bad else []
    directive = _DIRECTIVES.get(result.outcome, "")
    reason = _line(result.reason) if directive and not bad else ""
    suffix = f" # {directive} {reason}".rstrip() if directive else ""
    return [*lines, f"{indent}{'not ok' if bad else 'ok'} {number} {_name(name)}{suffix}"]


def _result(indent: str, number: int, name: str, results: Sequence[TestResult]) -> str:
    bad = any(result.outcome in BAD for result in results)
    skipped = all(result.outcome in ("skip", "unsupported") for result in results)
    return f"{indent}{'not ok' if bad else 'ok'} {number} {_name(name)}{' # SKIP' if skipped else ''}"


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


def _name(text: str) -> str:
    # "#" starts a directive.
    return _line(text).replace("#", "%23")
