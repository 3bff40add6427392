"""What a good kernel does: parsed, compared with cells, and the signature of a failure."""

from __future__ import annotations

import pytest

from bpfroots.bisect import expect
from bpfroots.errors import UserError
from bpfroots.results.model import Cell, Cost, Jit, JitImage, Outcome, Root, RunResult


def _accepted(insns: int = 100, code: str = "aa", retval: int = 2) -> Cell:
    image = JitImage("f", "ffff", code, 40, 0, 0, 0)
    root = Root("on_xdp", "xdp", "accept", jit=Jit([image]), runs=[RunResult("packet", retval)])
    return Cell(
        "c/x",
        "k",
        "duplicate",
        outcome="pass",
        verdict="accept",
        roots=[root],
        cost=Cost(1, 1, 40, processed_insns=insns),
    )


def _rejected(message: str = "R6 invalid mem access 'scalar'") -> Cell:
    root = Root("on_xdp", "xdp", "reject", -13, message)
    cost = Cost(1, processed_insns=1_000_001)
    return Cell(
        "c/x",
        "k",
        "duplicate",
        outcome="fail",
        verdict="reject",
        roots=[root],
        cost=cost,
        reason=f"expected accept: {message}",
    )


def _lost(outcome: Outcome, reason: str) -> Cell:
    return Cell("c/x", "k", "duplicate", outcome=outcome, reason=reason)


_WARNED = _lost("guest_crash", "WARNING in bpf_check at kernel/bpf/verifier.c:12")
_WARNED.note = "CPU: 0 PID: 77 Comm: load"
_UNKNOWN = _lost("unsupported", "this kernel has no multi_root (refused with errno 7)")


def _judge(text: str, cell: Cell) -> str:
    return expect.judge([expect.parse(text)], cell).word


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("accept", _accepted(), _rejected()),
        ("reject", _rejected(), _accepted()),
        ("verdict!=accept", _UNKNOWN, _accepted()),
        ("pass", _accepted(), _rejected()),
        ("message~mem access", _rejected(), _rejected("unknown opcode 8d")),
        ("message!~mem access", _rejected("unknown opcode 8d"), _rejected()),
        ("processed_insns<=100", _accepted(100), _accepted(101)),
        ("processed_insns<=1000000", _accepted(), _rejected("BPF program is too large")),
        ("clean", _accepted(), _WARNED),
    ],
)
def test_good_and_bad(text: str, good: Cell, bad: Cell) -> None:
    assert _judge(text, good) == "good"
    assert _judge(text, bad) == "bad"


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("accept", _WARNED),
        ("pass", _lost("timeout", "no end after 30 s")),
        ("pass", _lost("guest_hang", "soft lockup")),
        ("clean", _lost("timeout", "no end after 30 s")),
        ("jit_bytes<=10", _rejected()),
        ("jit==0123", _UNKNOWN),
        ("results==0123", _rejected()),
        ("insns_per_run<=10", _accepted()),
        ("pass", _lost("skip", "the test program did not get to its end")),
    ],
)
def test_what_says_nothing_of_the_question_is_other(text: str, given: Cell) -> None:
    assert _judge(text, given) == "other"


def test_as_the_good_end() -> None:
    for name, other in (("jit", _accepted(code="bb")), ("results", _accepted(retval=1))):
        relative = expect.parse(f"{name}==good")
        assert relative.is_relative
        bound = relative.bound(expect.values(_accepted()))
        assert not bound.is_relative
        assert bound.failure(_accepted()) is None
        assert bound.failure(other) is not None
    assert expect.parse("processed_insns<=good").bound(expect.values(_accepted(7))).right == "7"
    assert expect.parse("accept").bound({}) == expect.parse("accept")
    with pytest.raises(UserError, match="the good end has no jit"):
        expect.parse("jit==good").bound(expect.values(_rejected()))


def test_every_condition_has_to_hold() -> None:
    both = [expect.parse("accept"), expect.parse("processed_insns<=99")]
    assert expect.judge(both, _accepted(99)).word == "good"
    assert expect.judge(both, _accepted(100)).signature == "processed_insns"
    assert expect.judge(both, _rejected()).text == "reject: R6 invalid mem access 'scalar'"


def test_the_signature_is_the_failure_and_not_its_numbers() -> None:
    looked_for = expect.judge([expect.parse("accept")], _rejected()).signature
    same = expect.judge([expect.parse("accept")], _rejected("R7 invalid mem access 'scalar'"), looked_for)
    other = expect.judge([expect.parse("accept")], _rejected("unknown opcode 8d"), looked_for)
    assert (same.word, other.word) == ("bad", "other")
    assert "unknown opcode" in other.text


def test_the_signature_of_a_splat_is_its_title() -> None:
    clean = [expect.parse("clean")]
    looked_for = expect.judge(clean, _WARNED).signature
    moved = _lost("guest_crash", "WARNING in bpf_check at kernel/bpf/verifier.c:99")
    moved.note = "again when run alone"
    elsewhere = _lost("guest_crash", "KASAN: use-after-free in bpf_prog_put")
    assert expect.judge(clean, moved, looked_for).word == "bad"
    assert expect.judge(clean, elsewhere, looked_for).word == "other"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "accepted",
        "processed_insns",
        "processed_insns<=many",
        "insns<=3",
        "message~(",
        "jit<=3",
        "verdict~x",
    ],
)
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(UserError, match="--expect"):
        expect.parse(text)


def test_what_does_not_depend_on_time_is_taken_for_steady() -> None:
    assert expect.parse("accept").steady > expect.parse("clean").steady
    assert expect.parse("jit==good").steady > expect.parse("results==good").steady


def test_values_are_what_can_be_asked_for() -> None:
    for cell in (_accepted(), _rejected()):
        for name, value in expect.values(cell).items():
            if name != "message":
                assert expect.judge([expect.parse(f"{name}=={value}")], cell).word == "good"
    assert "jit" not in expect.values(_rejected())
    assert expect.values(_WARNED) == {}
