"""JUnit XML: one suite per kernel, one test case per result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import junitparser

from bpfroots.analysis.compare import unexpected_reason
from bpfroots.escape import visible
from bpfroots.results.model import BAD, TestResult

# What XML 1.0 cannot hold beside what `visible` has made an escape of.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", visible(text))


def write(path: Path, results: Sequence[TestResult]) -> None:
    """Write ``path``. Refused as expected is passed; unsupported and not expressible are skipped."""
    document = junitparser.JUnitXml(name="bpfroots")
    for kernel in dict.fromkeys(result.kernel for result in results):
        suite = junitparser.TestSuite(_clean(kernel))
        suite.add_testcases([_case(result) for result in results if result.kernel == kernel])
        document.add_testsuite(suite)
    document.write(str(path), pretty=True)


def _case(result: TestResult) -> junitparser.TestCase:
    case = junitparser.TestCase(
        _clean(f"{result.case}[{result.key.how}]" if result.key.how else result.case),
        _clean(f"{result.kernel}.{result.case.replace('/', '.')}"),
        result.duration_s,
    )
    detail = _clean(
        "\n".join(
            line
            for line in (result.in_full, f"again: {result.reproduce}" if result.reproduce else "")
            if line
        )
    )
    if result.outcome in ("error", "infra_error", "timeout"):
        case.result = [
            _with_text(junitparser.Error(_clean(unexpected_reason(result)), result.outcome), detail)
        ]
    elif result.outcome in BAD:
        case.result = [
            _with_text(junitparser.Failure(_clean(unexpected_reason(result)), result.outcome), detail)
        ]
    elif result.outcome in ("skip", "unsupported", "xfail"):
        case.result = [junitparser.Skipped(_clean(result.reason or result.outcome), result.outcome)]
    return case


def _with_text(
    result: junitparser.Error | junitparser.Failure, text: str
) -> junitparser.Error | junitparser.Failure:
    result.text = text
    return result
