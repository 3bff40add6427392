"""test_verifier's output, as real guests printed it: verdicts, differences, and ends that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.selftest.output import differences, parse, without_module

_GOLDEN = Path(__file__).parent / "golden/selftest"
_FAILING = ["118/p", "119/p", "120/p", "121/p"]


def _read(name: str) -> str:
    return (_GOLDEN / f"{name}.log").read_text()


def test_verdicts() -> None:
    output = parse(_read("testmod"))
    assert output.totals == "6 passed, 0 skipped, 0 failed"
    assert output.complaint == ""
    assert (output.tests[1].id, output.tests[1].name) == ("117/p", "calls: invalid kfunc call unreachable")


def test_failures_with_what_they_print() -> None:
    output = parse(_read("no-testmod"))
    assert [test.id for test in output.tests if test.status == "fail"] == _FAILING
    assert "Unexpected verifier log!" in output.tests[2].lines


def test_failures_for_want_of_the_module_are_skipped() -> None:
    output = parse(_read("no-testmod"))
    names = [test.name for test in output.tests if test.id in _FAILING[1:]]
    found = without_module(output, [*names, output.tests[0].name])
    assert [test.id for test in found.tests if test.status == "skip"] == _FAILING[1:]
    assert [test.id for test in found.tests if test.status == "fail"] == _FAILING[:1]
    assert without_module(output, []) == output


def test_verdicts_behind_logs() -> None:
    output = parse(_read("logs"))
    assert output.totals == "8 passed, 0 skipped, 0 failed"
    assert output.tests[0].name == "BPF_ATOMIC_AND without fetch"


def test_equal_but_for_times() -> None:
    text = _read("logs")
    assert differences(parse(text), parse(text.replace("20403 usec", "1 usec"))) == []


@pytest.mark.parametrize(
    ("was", "becomes", "test"),
    [
        ("processed 12 insns", "processed 13 insns", "0/u"),
        ("\nOK\n#0/p", "\nFAIL\n#0/p", "0/u"),
        ("#2/p BPF_ATOMIC_AND with", "#2/p BPF_ATOMIC_OR with", "2/p"),
        ("bpf_testmod.ko is already", "bpf_testmod.ko was", ""),
    ],
)
def test_differences(was: str, becomes: str, test: str) -> None:
    text = _read("logs")
    assert text.count(was) >= 1
    found = differences(parse(text), parse(text.replace(was, becomes, 1)))
    assert [difference.test for difference in found] == [test]


def test_without_and_with_the_module() -> None:
    found = differences(parse(_read("testmod")), parse(_read("no-testmod")))
    assert [difference.test for difference in found if difference.test] == _FAILING


def test_end_before_the_summary() -> None:
    text = _read("no-testmod")
    output = parse(text[: text.index("FAIL\nUnexpected verifier log!")])
    assert (output.tests[-1].id, output.tests[-1].status) == ("118/p", "unknown")
    assert "after #118/p" in output.complaint
    assert "1 without a verdict" in output.totals


def test_a_summary_that_says_another_number() -> None:
    assert "'Summary: 7 PASSED" in parse(_read("testmod").replace("Summary: 6", "Summary: 7")).complaint


@given(st.integers(min_value=0), st.sampled_from(["testmod", "no-testmod", "logs"]))
def test_any_end_is_parsed(end: int, name: str) -> None:
    text = _read(name)
    output = parse(text[: end % len(text)])
    assert differences(output, output) == []
