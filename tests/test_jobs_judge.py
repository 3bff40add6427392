"""Judging: each rule has a load that passes it and a twin that does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bpfroots import exitcodes
from bpfroots.analysis.cell import Code
from bpfroots.errors import GuestCrash, GuestError, GuestHang, GuestLost, GuestTimeout, Where
from bpfroots.jobs import judge
from bpfroots.jobs.spec import CellSpec, case_cells
from bpfroots.programs import cases
from bpfroots.programs.cases import Expectation
from bpfroots.programs.protocol import (
    Hello,
    JitedFunction,
    Loaded,
    LoadedProgram,
    MapDump,
    MapEntry,
    Probe,
    RunReport,
)
from bpfroots.results import model
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore
from bpfroots.selftest import run as selftest
from tests.loads import kernel
from tests.loads import loaded as loads

_CASE = "body/loop-tc+xdp"
_OLD = Hello(1, "1.5", "6.12", {"multi_root": Probe(False, 7, True), "fd_name": Probe(False, 22, True)})


def _spec(mechanism: Any = "tail_call", **changes: Any) -> CellSpec:
    case = next(case for case in cases.all_cases() if case.name == _CASE)
    return dataclasses.replace(case_cells([case], [mechanism])[0], **changes)


def _map(name: str, values: list[int]) -> MapDump:
    entries = [
        MapEntry(n.to_bytes(4, "little").hex(), value.to_bytes(8, "little").hex())
        for n, value in enumerate(values)
    ]
    return MapDump(name, "array", 4, 8, entries)


def _loaded(**changes: Any) -> Loaded:
    programs = [LoadedProgram("on_tc", "tc", True, "accept"), LoadedProgram("on_xdp", "xdp", True, "accept")]
    maps = [_map("hits", [8, 8]), _map("results", [5, 6]), _map("buffers", [1])]
    runs = [RunReport("on_tc", 5, 0, 10), RunReport("on_xdp", 10, 2, 10)]
    rest = {"id": f"{_CASE}#tail_call", "programs": programs, "maps": maps, "runs": runs, **changes}
    return loads(rest.pop("programs"), **rest)


def _rejected(log: str) -> Loaded:
    programs = [LoadedProgram("on_tc", "tc", True, "reject"), LoadedProgram("on_xdp", "xdp", True, "accept")]
    return _loaded(programs=programs, logs={"on_tc": log}, maps=[], runs=[])


def _judge(spec: CellSpec, loaded: Loaded, hello: Hello = _OLD, **rest: Any) -> Cell:
    on = kernel(provides=frozenset(rest.get("provides", ())))
    return judge.judge(spec, on, hello, Code(loaded), rest.get("reference"))


@pytest.fixture
def reference() -> Cell:
    cell = _judge(_spec("duplicate"), _loaded())
    assert cell.outcome == "pass"
    return cell


def test_as_expected(reference: Cell) -> None:
    cell = _judge(_spec(), _loaded(), reference=reference)
    assert (cell.outcome, cell.verdict, cell.reason) == ("pass", "accept", "")
    assert [root.name for root in cell.roots] == ["on_tc", "on_xdp"]
    assert cell.reproduce == f"bpfroots run --mechanism tail_call -k {_CASE} --kernel baseline"


def test_rejected_though_expected_accept() -> None:
    cell = _judge(_spec(), _rejected("0: (79) r3 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n"))
    assert (cell.outcome, cell.verdict) == ("fail", "reject")
    assert "R1 invalid mem access 'scalar'" in cell.reason


def test_accepted_though_expected_reject() -> None:
    cell = _judge(_spec(expected=Expectation("reject", "invalid mem access")), _loaded())
    assert cell.outcome == "fail"
    assert cell.reason == "expected reject, got accept"


def test_rejected_as_expected_and_with_another_message() -> None:
    log = "R1 invalid mem access 'scalar'\n"
    expected = Expectation("reject", "invalid mem access")
    assert _judge(_spec(expected=expected), _rejected(log)).outcome == "pass"
    cell = _judge(_spec(expected=Expectation("reject", "too large")), _rejected(log))
    assert (cell.outcome, cell.reason) == ("fail", "rejected, but no log says 'too large'")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"maps": [_map("hits", [8, 8]), _map("results", [5, 7]), _map("buffers", [1])]},
            "results[1]: 6 and 7",
        ),
        (
            {"runs": [RunReport("on_tc", 5, 2, 10), RunReport("on_xdp", 10, 2, 10)]},
            "on_tc on udp4: returned 2, not 0",
        ),
        (
            {"runs": [RunReport("on_tc", 5, 0, 10), RunReport("on_xdp", 10, 2, 10, "ff")]},
            "on_xdp on udp4",
        ),
    ],
)
def test_the_oracle_sees_a_wrong_result(reference: Cell, change: dict[str, Any], says: str) -> None:
    cell = _judge(_spec(), _loaded(**change), reference=reference)
    assert cell.outcome == "fail"
    assert says in cell.reason
    assert "differ from duplicate" in cell.reason


def test_a_test_run_the_kernel_refused_fails() -> None:
    cell = _judge(_spec(), _loaded(runs=[RunReport("on_tc", 5, 0, 0, errno=22)]))
    assert (cell.outcome, cell.reason) == ("fail", "test run of on_tc on udp4: errno 22")


def test_a_root_that_never_ran_fails() -> None:
    cell = _judge(_spec(), _loaded(maps=[_map("hits", [8, 0])]))
    assert (cell.outcome, cell.reason) == ("fail", "root on_xdp ran 0 times, expected 8")


def test_a_failed_step_fails() -> None:
    cell = _judge(_spec(), _loaded(error="step 1: attach on_xdp: EBUSY"))
    assert (cell.outcome, cell.reason) == ("fail", "step 1: attach on_xdp: EBUSY")


_UNKNOWN = LoadedProgram(
    "on_tc", "tc", True, "", errno=3, error="extern 'f': not found in kernel or module BTFs"
)


def test_no_verdict_is_not_a_reject() -> None:
    accepted = LoadedProgram("on_xdp", "xdp", True, "accept")
    cell = _judge(_spec(), _loaded(programs=[_UNKNOWN, accepted], maps=[], runs=[]))
    assert (cell.outcome, cell.verdict) == ("error", "")
    assert cell.reason == _UNKNOWN.error
    assert cell.hint
    # Nor where a refusal is expected.
    refused = _spec(expected=Expectation("reject", "extern"))
    assert _judge(refused, _loaded(programs=[_UNKNOWN], maps=[], runs=[])).outcome == "error"


def test_a_refusal_beside_no_verdict_is_a_refusal() -> None:
    rejected = LoadedProgram("on_xdp", "xdp", True, "reject")
    cell = _judge(_spec(), _loaded(programs=[_UNKNOWN, rejected], maps=[], runs=[]))
    assert (cell.outcome, cell.verdict) == ("fail", "reject")


def test_a_load_that_ran_out_of_time_is_a_timeout() -> None:
    late = _loaded(programs=[], error="timed out after 30 s", timed_out=True, maps=[], runs=[])
    assert (_judge(_spec(), late).outcome, _judge(_spec(), late).verdict) == ("timeout", "")
    died = _loaded(programs=[], error="the runner's process for this load died: SIGSEGV", maps=[], runs=[])
    assert _judge(_spec(), died).outcome == "error"


def test_figures_that_the_kernel_does_not_confirm_are_no_figures() -> None:
    wrong = _loaded()
    wrong = msgspec.structs.replace(
        wrong, loads=[msgspec.structs.replace(wrong.loads[0], verified_insns=11), *wrong.loads[1:]]
    )
    cell = _judge(_spec(), wrong)
    assert cell.outcome == "infra_error"
    assert "the kernel counts 21" in cell.reason


def test_unsupported_needs_a_clean_refusal() -> None:
    loaded = _loaded(unsupported=True, programs=[])
    assert _judge(_spec("multi_root"), loaded).outcome == "unsupported"
    unclean = Hello(1, "1.5", "6.12", {"multi_root": Probe(False, 14, False)})
    assert _judge(_spec("multi_root"), loaded, unclean).outcome == "fail"
    assert _judge(_spec("multi_root"), loaded, Hello(1, "1.5", "6.12", {})).outcome == "fail"


def _grouped(*addresses: str) -> Loaded:
    """Two roots whose subprogram `body` is at these addresses; the runner's images, as of one load."""
    programs = [
        LoadedProgram(
            name,
            "tc",
            True,
            "accept",
            jited=[
                JitedFunction(f"bpf_prog_0123456789abcdef_{name}", f"ffffffffa000{n}000", b"\xc3"),
                JitedFunction("bpf_prog_fedcba9876543210_body", address, b"\x90\xc3"),
            ],
        )
        for n, (name, address) in enumerate(zip(("on_tc", "on_xdp"), addresses, strict=True))
    ]
    return _loaded(programs=programs, groups=[["on_tc", "on_xdp"]], insns=70)


def test_multi_root_means_one_image_of_the_body() -> None:
    spec = _spec("multi_root")
    shared = _grouped("ffffffffa0009000", "ffffffffa0009000")
    cell = _judge(spec, shared, provides=["multi_root"])
    assert (cell.outcome, cell.cost.jit_images, cell.cost.jit_bytes) == ("pass", 3, 4)
    # What the one load took, once.
    assert cell.cost.processed_insns == 70
    cell = _judge(spec, _grouped("ffffffffa0009000", "ffffffffa0009100"), provides=["multi_root"])
    assert (cell.outcome, cell.reason) == ("fail", "bpf_prog_body has 2 images, not one that all roots call")
    nothing = _judge(spec, _loaded(), provides=["multi_root"])
    assert (nothing.outcome, nothing.reason) == ("fail", "the roots share no image")


def test_a_kernel_that_provides_it_must_have_it() -> None:
    loaded = _loaded(unsupported=True, programs=[])
    cell = _judge(_spec("multi_root"), loaded, provides=["multi_root"])
    assert cell.outcome == "fail"
    assert "is to provide multi_root" in cell.reason


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (GuestCrash("Kernel panic - not syncing"), "guest_crash"),
        (GuestHang("the guest answers nothing"), "guest_hang"),
        (GuestTimeout("no end after 30 s"), "timeout"),
    ],
)
def test_a_lost_guest_names_its_cell(error: Any, outcome: str) -> None:
    cell = judge.lost(_spec(), kernel(), error)
    assert (cell.outcome, cell.reason, cell.verdict) == (outcome, error.message, "")
    error.after_s = 2.5
    assert judge.lost(_spec(), kernel(), error).duration_s == 2.5


def test_where_a_guest_was_lost_and_what_else_is_known_have_their_own_fields() -> None:
    where = Where("/run/console/k-1.log", 214)
    error = GuestCrash("BUG: a; b", detail="  [ 1.0] BUG: a; b", console=where)
    cell = judge.lost(_spec(), kernel(), error, "again when run alone")
    assert (cell.reason, cell.console, cell.note) == ("BUG: a; b", where, "again when run alone")
    assert cell.in_full == "BUG: a; b; console /run/console/k-1.log:214; again when run alone"
    lost = judge.lost(_spec(), kernel(), GuestLost("QEMU died of SIGKILL", detail="qemu: no memory\nmore"))
    assert (lost.reason, lost.console, lost.note) == ("QEMU died of SIGKILL", None, "qemu: no memory")


def test_a_case_that_cannot_be_expressed_says_why_in_a_field() -> None:
    spec = dataclasses.replace(_spec("tail_call"), skip="the value is used")
    cell = judge.skipped(spec, kernel())
    assert (cell.outcome, cell.not_expressible) == ("skip", "the value is used")
    assert cell.reason == "not expressible as a tail call: the value is used"


def test_an_attempt_is_another_cell_of_the_same_kernel() -> None:
    again = judge.blank(dataclasses.replace(_spec(), attempt=2), kernel(), "error")
    assert again.kernel == kernel().name
    assert again.key == _spec().key.on(again.kernel)._replace(attempt=2)


def test_a_known_fault_is_one_as_long_as_it_is_there() -> None:
    known = Expectation(xfail="the JIT leaves it out")
    log = "0: (79) r3 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n"
    there, gone = _judge(_spec(expected=known), _rejected(log)), _judge(_spec(expected=known), _loaded())
    assert (there.outcome, there.verdict) == ("xfail", "reject")
    assert there.reason.startswith("the JIT leaves it out: expected accept, got reject: on_tc")
    assert gone.outcome == "fail"
    assert gone.reason == "expected to fail (the JIT leaves it out), but passes"
    assert _judge(_spec(), _rejected(log)).outcome == "fail"


def test_a_known_fault_of_a_mechanism_is_none_where_the_kernel_has_no_such(reference: Cell) -> None:
    known = Expectation(xfail="why")
    assert _judge(_spec("multi_root", expected=known), _loaded(unsupported=True)).outcome == "unsupported"
    refuses = _judge(_spec("multi_root", expected=known), _loaded(unsupported=True), provides={"multi_root"})
    assert (refuses.outcome, refuses.reason.partition(":")[0]) == ("xfail", "why")
    assert judge.lost(_spec(expected=known), kernel(), GuestCrash("panic")).outcome == "guest_crash"


@pytest.mark.parametrize("kind", [GuestError, GuestCrash, GuestHang, GuestTimeout, GuestLost])
def test_a_lost_guest_ends_a_command_as_its_cell_does(kind: type[GuestError]) -> None:
    """What has no cell for it (selftest, nightly, bench, shell) has the exit code of one."""
    error = kind("gone")
    store = RunStore(Path(), model.RunInfo(model.SCHEMA, "RUN", [], ""))
    cell = judge.lost(_spec(), kernel(), error)
    assert exitcodes.of_outcome(cell.outcome) == error.exit_code
    assert selftest.SelftestRun(store, [], True, failed=[error]).exit_code == error.exit_code


def test_a_cell_takes_what_the_runner_measured() -> None:
    hello = Hello(1, "1.5", "6.12", {"multi_root": Probe(False, 7, True)})
    refused = _loaded(unsupported=True, duration_us=1500)
    assert _judge(_spec(), _loaded(duration_us=2_000_250)).duration_s == 2.00025
    assert _judge(_spec("multi_root"), refused, hello).duration_s == 0.0015
    assert judge.blank(_spec(), kernel(), "skip", "why").duration_s == 0


def test_kernels_have_to_agree_as_well(reference: Cell) -> None:
    loaded = _loaded(maps=[_map("hits", [8, 8]), _map("results", [5, 7]), _map("buffers", [1])])
    cell = judge.judge(_spec("duplicate"), kernel("patched"), _OLD, Code(loaded), reference)
    assert cell.outcome == "fail"
    assert "differ from duplicate on baseline" in cell.reason


def _linked(target: int) -> Loaded:
    """A root that calls ``target``, and a library with one function at 0x2000."""
    call = b"\xe8" + (target - 0x1005).to_bytes(4, "little", signed=True)
    library = [
        JitedFunction("bpf_prog_0123456789abcdef_for_on_tc", "1800", b"\xc3"),
        JitedFunction("bpf_prog_0123456789abcdef_checksum", "2000", b"\x90\xc3"),
    ]
    root = JitedFunction("bpf_prog_0123456789abcdef_on_tc", "1000", call + b"\xc3")
    programs = [
        LoadedProgram("on_tc", "tc", True, "accept", jited=[root]),
        LoadedProgram("for_on_tc", "tc", False, "accept", jited=library),
    ]
    return _loaded(programs=programs, runs=[])


@pytest.mark.parametrize(("target", "reason"), [(0x2000, ""), (0x2001, "on_tc calls no function")])
def test_a_call_by_name_goes_to_the_first_byte_of_the_library(target: int, reason: str) -> None:
    cell = _judge(_spec("fd_name", roots=["on_tc"]), _linked(target))
    assert (cell.outcome == "pass") == (not reason)
    assert reason in cell.reason
