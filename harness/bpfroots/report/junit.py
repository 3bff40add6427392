"""JUnit XML: one suite per kernel, one test case per cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import junitparser

from bpfroots.analysis.compare import unexpected_reason
from bpfroots.escape import visible
from bpfroots.results.model import BAD, Cell

# What XML 1.0 cannot hold beside what `visible` has made an escape of.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", visible(text))


def write(path: Path, cells: Sequence[Cell]) -> None:
    """Write ``path``. Refused as expected is passed; unsupported and not expressible are skipped."""
    document = junitparser.JUnitXml(name="bpfroots")
    for kernel in dict.fromkeys(cell.kernel for cell in cells):
        suite = junitparser.TestSuite(_clean(kernel))
        suite.add_testcases([_case(cell) for cell in cells if cell.kernel == kernel])
        document.add_testsuite(suite)
    document.write(str(path), pretty=True)


def _case(cell: Cell) -> junitparser.TestCase:
    case = junitparser.TestCase(
        _clean(f"{cell.case}[{cell.key.how}]"),
        _clean(f"{cell.kernel}.{cell.case.replace('/', '.')}"),
        cell.duration_s,
    )
    detail = _clean(
        "\n".join(
            line for line in (cell.in_full, f"again: {cell.reproduce}" if cell.reproduce else "") if line
        )
    )
    if cell.outcome in ("error", "infra_error", "timeout"):
        case.result = [_with_text(junitparser.Error(_clean(unexpected_reason(cell)), cell.outcome), detail)]
    elif cell.outcome in BAD:
        case.result = [_with_text(junitparser.Failure(_clean(unexpected_reason(cell)), cell.outcome), detail)]
    elif cell.outcome in ("skip", "unsupported", "xfail"):
        case.result = [junitparser.Skipped(_clean(cell.reason or cell.outcome), cell.outcome)]
    return case


def _with_text(
    result: junitparser.Error | junitparser.Failure, text: str
) -> junitparser.Error | junitparser.Failure:
    result.text = text
    return result
