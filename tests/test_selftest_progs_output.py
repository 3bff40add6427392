"""test_progs' output, as real guests printed it: results, messages, and ends that are none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.selftest.progs import judged
from bpfroots.selftest.progs_output import Reader, Summary, disagreement, summary, why
from bpfroots.selftest.progs_output import Test as Parsed

_GOLDEN = Path(__file__).parent / "golden/selftest"
# What was asked for, by file.
_ASKED = {
    "passes": ["attach_probe", "tailcalls"],
    "fails": ["attach_probe", "kfunc_call", "tailcalls", "xdp_noinline"],
}


def _lines(name: str) -> list[str]:
    return (_GOLDEN / f"progs-{name}.log").read_text().splitlines()


def _summary(name: str) -> Summary:
    return summary((_GOLDEN / f"progs-{name}.json").read_bytes())


def _read(lines: list[str], asked: list[str]) -> tuple[list[Parsed], Reader]:
    reader = Reader(asked)
    return [test for line in lines if (test := reader.feed(line))], reader


def test_every_test_is_read_with_its_subtests() -> None:
    tests, _ = _read(_lines("passes"), _ASKED["passes"])
    assert [(test.name, test.status, len(test.subtests)) for test in tests] == [
        ("attach_probe", "ok", 9),
        ("tailcalls", "ok", 26),
    ]
    assert tests[0].subtests[1].name == "manual-legacy"


def test_what_fails_has_what_it_printed() -> None:
    tests, _ = _read(_lines("fails"), _ASKED["fails"])
    assert {test.name: test.status for test in tests} == {
        "attach_probe": "fail",
        "kfunc_call": "fail",
        "tailcalls": "ok",
        "xdp_noinline": "ok",
    }
    probe = next(test for test in tests if test.name == "attach_probe")
    (failed,) = [subtest for subtest in probe.subtests if subtest.status == "fail"]
    assert failed.name == "manual-legacy"
    assert why(failed.lines) == "test_attach_probe_manual:FAIL:attach_kprobe unexpected error: -2"
    assert judged(probe, 1.5).reason == f"manual-legacy: {why(failed.lines)}"


def test_only_the_subtest_that_was_asked_for_is_there() -> None:
    tests, _ = _read(_lines("fails"), _ASKED["fails"])
    tailcalls = next(test for test in tests if test.name == "tailcalls")
    assert [subtest.name for subtest in tailcalls.subtests] == ["tailcall_1"]


@pytest.mark.parametrize("name", _ASKED)
def test_the_summary_says_the_same(name: str) -> None:
    tests, _ = _read(_lines(name), _ASKED[name])
    assert disagreement(tests, _summary(name)) == ""


def test_a_summary_with_control_characters_is_read() -> None:
    listed = b'[{"name":"a\x1b[31m\xff","failed":false}]'
    written = b'{"success":1,"success_subtest":2,"failed":0,"results":%s}' % listed
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(written, type=Summary)
    assert summary(written).success_subtest == 2


@pytest.mark.parametrize("name", _ASKED)
def test_a_line_that_is_not_read_is_seen(name: str) -> None:
    lines = _lines(name)
    result = next(n for n, line in enumerate(lines) if "attach_probe/auto:OK" in line)
    tests, _ = _read([*lines[:result], *lines[result + 1 :]], _ASKED[name])
    assert "the summary counts" in disagreement(tests, _summary(name))


def test_a_failure_that_is_read_as_a_pass_is_seen() -> None:
    lines = [line.replace("attach_probe:FAIL", "attach_probe:OK") for line in _lines("fails")]
    tests, _ = _read(lines, _ASKED["fails"])
    assert disagreement(tests, _summary("fails")) == "the summary has other failures: attach_probe"


def test_a_result_of_what_was_not_asked_for_is_text() -> None:
    tests, reader = _read(["#7       other:OK", "#8       mine:FAIL"], ["mine"])
    assert [(test.name, test.lines) for test in tests] == [("mine", ["#7       other:OK"])]
    assert reader.rest == []


def test_subtests_that_are_taken_back_are_no_results() -> None:
    """As 7.3 prints them; its summary has neither the pass nor the failure."""
    lines = ["test_good_subtest:OK", "test_skip_subtest:SKIP", "test_fail_subtest:FAIL"]
    printed = [f"#299/{number} prog_tests_framework/{line}" for number, line in enumerate(lines, 1)]
    printed.append("#299 prog_tests_framework:OK")
    reader = Reader(["prog_tests_framework"])
    (found,) = filter(None, map(reader.feed, printed))
    assert (found.status, found.subtests) == ("ok", [])
    assert not disagreement([found], Summary(1, 0, 0, [], 0))
    twin = Reader(["other"])
    (other,) = filter(None, (twin.feed(line.replace("prog_tests_framework", "other")) for line in printed))
    assert disagreement([other], Summary(1, 0, 0, [], 0))


def test_a_watchdog_that_ends_a_test_is_heard() -> None:
    lines = [
        "WATCHDOG: test case tailcalls/tailcall_1 executes for 10 seconds...",
        "WATCHDOG: test case tailcalls/tailcall_1 executes for 120 seconds, terminating with SIGSEGV",
    ]
    _, reader = _read(lines[:1], ["tailcalls"])
    assert reader.killed is None
    _, reader = _read(lines, ["tailcalls"])
    assert reader.killed == ("tailcalls/tailcall_1", 120)


@given(st.integers(min_value=0), st.sampled_from(sorted(_ASKED)))
def test_any_end_is_read(end: int, name: str) -> None:
    text = "\n".join(_lines(name))
    tests, _ = _read(text[: end % len(text)].split("\n"), _ASKED[name])
    whole, _ = _read(_lines(name), _ASKED[name])
    assert tests == whole[: len(tests)]
