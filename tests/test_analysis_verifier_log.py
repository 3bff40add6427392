"""The verifier log: golden logs of real kernels, and any text at all."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.analysis import verifier_log
from bpfroots.results.model import VerifierStats
from tests.capture_verifier import Log

GOLDEN = Path(__file__).parent / "golden" / "verifier"
EXPECTED = tomllib.loads((GOLDEN / "messages.toml").read_text())


def test_every_golden_log_is_described() -> None:
    assert {path.stem for path in GOLDEN.glob("*.log")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_log(name: str) -> None:
    log = (GOLDEN / f"{name}.log").read_text()
    stats = verifier_log.parse(log)
    assert verifier_log.message(log) == EXPECTED[name]["message"]
    for field, value in EXPECTED[name].items():
        if field != "message":
            assert getattr(stats, field) == value


_KERNELS = tomllib.loads((GOLDEN / "kernels.toml").read_text())


def _logs(kernel: str) -> dict[str, Log]:
    """What a guest of this kernel said: tests/capture_verifier.py."""
    lines = (GOLDEN / f"{kernel}.jsonl").read_bytes().splitlines()
    return {log.program: log for log in (msgspec.json.decode(line, type=Log) for line in lines)}


@pytest.mark.parametrize("kernel", _KERNELS)
def test_logs_of_each_kernel(kernel: str) -> None:
    logs = _logs(kernel)
    assert logs.keys() == _KERNELS[kernel].keys()
    for program, expected in _KERNELS[kernel].items():
        assert verifier_log.message(logs[program].log) == expected.get("message", ""), program
        stats = verifier_log.parse(logs[program].log)
        assert (stats.processed_insns, stats.stack_depth) == (expected["insns"], expected["stack"]), program
        assert logs[program].verdict == ("reject" if "message" in expected else "accept")


def test_instructions_of_each_function_on_each_kernel() -> None:
    for kernel in _KERNELS:
        work = verifier_log.work(_logs(kernel)["accept_calls"].log)
        assert [(one.function, one.insns) for one in work] == [(0, 8), (1, 8)], kernel


def test_the_report_of_a_refusal_is_not_its_message() -> None:
    log = _logs("7.3")["reject_reference"].log
    assert "\nVerification failed: Resource Lifetime Safety: Unreleased resource\n" in log
    assert "\nSuggestion:\n" in log
    assert verifier_log.complaints(log) == [
        "Unreleased reference id=2 alloc_insn=4",
        "BPF_EXIT instruction in main prog would lead to reference leak",
    ]
    # Cut off, as a log that did not fit: then it begins in the report.
    start = log.index("Verification failed: ")
    assert verifier_log.complaints(log[start:]) == [
        "BPF_EXIT instruction in main prog would lead to reference leak"
    ]


def test_all_stats_are_read() -> None:
    log = (
        "verification time 60 usec\nstack depth 8+0\nprocessed 8 insns (limit 1000000) "
        "max_states_per_insn 2 total_states 3 peak_states 4 mark_read 5\n"
    )
    assert verifier_log.parse(log, truncated=True) == VerifierStats(8, 3, 4, 2, 5, "8+0", 60, True)


def test_a_newer_kernel_may_drop_a_figure() -> None:
    stats = verifier_log.parse("processed 8 insns (limit 1000000) total_states 3 something_new 9\n")
    assert (stats.processed_insns, stats.total_states, stats.mark_read) == (8, 3, 0)


def test_complaints_keep_the_whole_block() -> None:
    log = (GOLDEN / "reject-packet.log").read_text()
    assert verifier_log.complaints(log) == [
        "invalid access to packet, off=0 size=1, R2(id=0,off=0,r=0)",
        "R2 offset is outside of the packet",
    ]


def test_the_message_has_all_lines_of_the_block() -> None:
    log = (GOLDEN / "reject-packet.log").read_text()
    assert verifier_log.message(log) == "; ".join(verifier_log.complaints(log))
    two = "global function calls are not allowed with preemption disabled,\nuse static function instead\n"
    assert verifier_log.message(two) == " ".join(two.splitlines())


def test_the_root_a_group_was_refused_for() -> None:
    log = (GOLDEN / "reject-two-roots-global.log").read_text()
    assert verifier_log.failed_root(log) == 1
    assert verifier_log.failed_root("root#3: program type 30 is not supported\n") == 3
    assert verifier_log.failed_root((GOLDEN / "reject-packet.log").read_text()) is None


def test_truncated_log_still_gives_the_message() -> None:
    log = (GOLDEN / "reject-different-pointers.log").read_text()
    # A rotating log starts in the middle of a line.
    for start in range(0, len(log) - 250, 7):
        assert verifier_log.message(log[start:]) == EXPECTED["reject-different-pointers"]["message"]
    assert verifier_log.parse(log[: len(log) // 2]) == VerifierStats()


def test_sixteen_megabytes_take_no_time() -> None:
    line = "12: (85) call bpf_map_lookup_elem#1   ; R0=map_value_or_null(id=3,map=m,ks=4,vs=8)\n"
    log = line * ((16 << 20) // len(line)) + (GOLDEN / "accept-calls.log").read_text()
    start = time.process_time()
    assert verifier_log.parse(log).processed_insns == 20
    assert verifier_log.message(log) == ""
    # Linear: about a second on a slow machine; a quadratic scan takes hours.
    assert time.process_time() - start < 20


def test_normalise_removes_what_differs_between_loads() -> None:
    first = "1: (18) r1 = 0xffff888106f8e800 ; R1=map_ptr(id=4) refs=2,3\nverification time 7 usec\n"
    second = "1: (18) r1 = 0xffff9c4246f8e800 ; R1=map_ptr(id=9) refs=5,6\nverification time 91 usec\n"
    # Translated code: where per-CPU data are.
    first += "70: (b7) r0 = -2105270224\n"
    second += "70: (b7) r0 = -2105257936\n"
    # A precise value.
    first += "R0=P0xffffffff81893e70\n"
    second += "R0=P0xffffffff8189bff0\n"
    # A message that does not end its line.
    first += "expected prog array map for tail callverification time 512 usec\n"
    second += "expected prog array map for tail callverification time 57 usec\n"
    assert first != second
    assert verifier_log.normalise(first) == verifier_log.normalise(second)


def test_normalise_keeps_what_matters() -> None:
    for text in (
        "R1=scalar(smin=5)",
        "13: (18) r3 = 0x1122334455667788",
        "grid=5",
        "call bpf_ktime_get_ns#5",
        "1: (b7) r0 = -2147483648",
        "1: (b7) r0 = -4095",
        "1: (b7) r0 = -210527022",
        "1: (b4) w0 = -2105270224",
    ):
        assert verifier_log.normalise(text) == text


_WORDS = st.sampled_from(
    ["processed ", "verification time ", "stack depth ", "+", "99999999999999999999", "id=4", " usec", "\n",
     "0xffff888000000000", "from 1 to 2", "func#0 @", "refs=1,2", "map[id:3]", "#-68912", "\x00", "٣"]
)  # fmt: skip


@given(st.lists(st.one_of(_WORDS, st.text(max_size=20))).map("".join))
def test_any_text_is_read(text: str) -> None:
    verifier_log.parse(text)
    message, block = verifier_log.message(text), verifier_log.complaints(text)
    assert all(line in message for line in block)
    assert bool(message) == bool(block)
    assert "\n" not in message
    once = verifier_log.normalise(text)
    assert verifier_log.normalise(once) == once


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=8)), st.integers(0, 12))
def test_tail_is_the_last_lines(lines: list[str], count: int) -> None:
    text = "\n".join(lines).rstrip("\n")
    assert verifier_log.tail(text, count) == "\n".join(text.split("\n")[-count:] if count and text else [])


def test_work_of_each_root_in_each_function() -> None:
    log = (GOLDEN / "accept-two-roots.log").read_text()
    assert [(w.root, w.function, w.insns) for w in verifier_log.work(log)] == [
        ("on_kprobe", 0, 31),
        ("on_kprobe", 1, 26),
        ("on_cgroup_skb", 2, 17),
        ("on_cgroup_skb", 1, 18),
    ]


def test_a_global_function_is_verified_for_no_root() -> None:
    log = (GOLDEN / "reject-two-roots-global.log").read_text()
    assert [(w.root, w.function, w.insns) for w in verifier_log.work(log)] == [
        ("on_kprobe", 0, 41),
        ("", 1, 9),
        ("on_xdp", 2, 12),
    ]


@pytest.mark.parametrize("name", ["accept-calls", "accept-two-roots", "reject-different-pointers"])
def test_work_adds_up_to_what_the_kernel_counted(name: str) -> None:
    log = (GOLDEN / f"{name}.log").read_text()
    assert sum(w.insns for w in verifier_log.work(log)) == EXPECTED[name]["processed_insns"]


def test_no_work_is_told_from_a_log_without_its_beginning() -> None:
    log = (GOLDEN / "accept-two-roots.log").read_text()
    assert verifier_log.work(log[len(log) // 2 :]) == []
