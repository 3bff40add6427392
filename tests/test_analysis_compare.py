"""The comparison's arithmetic and lists."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.analysis.changes import changes
from bpfroots.analysis.compare import Note, _reasons, compare
from bpfroots.analysis.kernels import OtherKernel, other_kernels
from bpfroots.programs.protocol import Mechanism, Verdict
from bpfroots.results.model import (
    SCHEMA,
    Cell,
    Cost,
    Jit,
    JitImage,
    KernelInfo,
    Outcome,
    Root,
    RunInfo,
    RunResult,
)


def make(
    case: str,
    mechanism: Mechanism,
    cost: Cost | None = None,
    *,
    kernel: str = "k",
    outcome: Outcome = "pass",
    verdict: Verdict = "accept",
    message: str = "",
) -> Cell:
    roots = [Root("r", "xdp", verdict, message=message)]
    if outcome in ("skip", "unsupported"):
        return Cell(case, kernel, mechanism, outcome=outcome, reason=message)
    return Cell(
        case, kernel, mechanism, outcome=outcome, verdict=verdict, roots=roots, cost=cost or Cost(roots=2)
    )


def test_ratios_are_to_the_tail_call_of_the_same_case_and_kernel() -> None:
    rows = compare(
        [
            make("a", "duplicate", Cost(jit_bytes=300, indirect_branches=0)),
            make("a", "tail_call", Cost(jit_bytes=200, indirect_branches=4)),
            make("a", "tail_call", Cost(jit_bytes=100), kernel="other"),
            make("b", "duplicate", Cost(jit_bytes=300)),
        ]
    ).rows
    assert [(row.case, row.kernel, row.mechanism) for row in rows] == [
        ("a", "k", "tail_call"),
        ("a", "k", "duplicate"),
        ("b", "k", "duplicate"),
        ("a", "other", "tail_call"),
    ]
    assert rows[0].ratios["jit_bytes"] == 1
    assert rows[1].ratios["jit_bytes"] == 1.5
    assert rows[1].ratios["indirect_branches"] == 0
    assert rows[1].ratios["direct_calls"] is None
    assert rows[2].ratios == {}


def test_a_rejected_cell_has_figures_but_no_ratios() -> None:
    base = make("a", "tail_call", Cost(processed_insns=10))
    (_, row) = compare([base, make("a", "duplicate", Cost(processed_insns=3), verdict="reject")]).rows
    assert row.figures["processed_insns"] == 3
    assert row.ratios == {}


def test_means_are_geometric_and_over_common_cases() -> None:
    cells = []
    for case, factor in (("a", 2), ("b", 8)):
        cells.append(make(case, "tail_call", Cost(jit_bytes=100, indirect_branches=3)))
        cells.append(make(case, "multi_root", Cost(jit_bytes=100 * factor, indirect_branches=1)))
    cells.append(make("c", "multi_root", Cost(jit_bytes=1)))
    summary = compare(cells).summary
    (base, total) = summary.totals
    assert (total.accepted, total.compared) == (3, 2)
    assert total.means["jit_bytes"] == pytest.approx(4)
    assert total.total_ratios["indirect_branches"] == pytest.approx(1 / 3)
    assert total.sums["jit_bytes"] == 1001
    assert base.means["jit_bytes"] == pytest.approx(1)


def test_lists() -> None:
    summary = compare(
        [
            make("a", "tail_call", Cost(processed_insns=10)),
            make("a", "duplicate", Cost(processed_insns=21)),
            make("a", "multi_root", outcome="pass", verdict="reject", message="ambiguous ctx"),
            make("a", "fd_name", outcome="unsupported", message="E2BIG"),
            make("b", "tail_call", outcome="skip", message="arguments"),
            make("b", "duplicate", outcome="fail", verdict="reject", message="no"),
            make("b", "multi_root", outcome="guest_crash"),
        ]
    ).summary
    assert (summary.cases, summary.cells) == (2, 7)
    assert [(note.case, note.reason) for note in summary.not_expressible] == [("b", "arguments")]
    assert [(note.case, note.reason, note.expected) for note in summary.refused] == [
        ("a", "ambiguous ctx", True)
    ]
    assert [(note.mechanism, note.ratio) for note in summary.worse] == [("duplicate", 2.1)]
    assert [note.reason for note in summary.unexpected] == ["expected accept, got reject: no", "guest crash"]
    assert [note.mechanism for note in summary.unsupported] == ["fd_name"]


def test_measured_insns_per_run() -> None:
    cells = [make("a", "tail_call"), make("a", "duplicate")]
    for found, figures in zip(cells, ((100, 140), (90, 90)), strict=True):
        found.roots[0].runs = [RunResult("x", 0, insns_per_run=value) for value in figures]
    (base, row) = compare(cells).rows
    assert base.figures["insns_per_run"] == 120
    assert row.ratios["insns_per_run"] == 0.75


def test_a_mechanism_that_the_kernel_does_not_know() -> None:
    cells = [
        make("a", "multi_root", outcome="unsupported"),
        make("b", "multi_root", outcome="skip"),
        make("b", "fd_name", outcome="skip"),
        make("a", "duplicate", verdict="reject"),
        make("b", "duplicate", outcome="unsupported"),
    ]
    totals = {total.mechanism: total.unknown for total in compare(cells).summary.totals}
    assert totals == {"multi_root": True, "fd_name": False, "duplicate": False}


def test_figures_that_are_not_exact_are_named() -> None:
    exact, other = make("a", "tail_call"), make("a", "duplicate")
    exact.roots[0].runs = [RunResult("x", insns_per_run=9)]
    other.roots[0].runs = [RunResult("x", insns_per_run=9, not_exact=["insns_per_run"]), RunResult("y")]
    (note,) = compare([exact, other]).summary.not_exact
    assert (note.case, note.mechanism, note.reason) == ("a", "duplicate", f"{other.roots[0].name}, x")


def test_json_shape() -> None:
    document = json.loads(msgspec.json.encode(compare([make("a", "tail_call")])))
    assert document["baseline"] == "tail_call"
    assert {"case", "kernel", "mechanism", "verdict", "figures", "ratios"} <= set(document["rows"][0])
    assert isinstance(document["summary"], dict)
    assert json.loads(msgspec.json.encode(compare([])))["rows"] == []


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=20))
def test_mean_lies_between_its_ratios(pairs: list[tuple[int, int]]) -> None:
    cells = []
    for index, (base, other) in enumerate(pairs):
        cells.append(make(str(index), "tail_call", Cost(jit_bytes=base)))
        cells.append(make(str(index), "duplicate", Cost(jit_bytes=other)))
    total = compare(cells).summary.totals[1]
    ratios = [other / base for base, other in pairs if base and other]
    assert ("jit_bytes" in total.means) == bool(ratios)
    if ratios:
        assert min(ratios) * 0.999 <= total.means["jit_bytes"] <= max(ratios) * 1.001
        assert math.isfinite(total.means["jit_bytes"])


def image(digest: str) -> Jit:
    return Jit([JitImage("s", "1", digest * 16, 1, 0, 0, 0)])


def test_changes_between_runs() -> None:
    a = [make("a", "duplicate", Cost(jit_bytes=10)), make("b", "duplicate"), make("c", "duplicate")]
    b = [
        make("a", "duplicate", Cost(jit_bytes=15), verdict="reject", message="R1 id=9"),
        make("b", "duplicate"),
        make("d", "duplicate"),
    ]
    a[1].roots[0].jit, b[1].roots[0].jit = image("aaaa"), image("bbbb")
    found = changes(a, b)
    assert (found.cells, found.same) == (2, 0)
    assert {(change.case, change.what) for change in found.changes} == {
        ("a", "verdict"),
        ("a", "message r"),
        ("a", "jit_bytes"),
        ("b", "code r"),
    }
    assert next(change.ratio for change in found.changes if change.what == "jit_bytes") == 1.5
    assert (found.only_a, found.only_b) == (["c (duplicate, k)"], ["d (duplicate, k)"])
    assert changes(a, a).changes == []


def test_another_object_is_a_change() -> None:
    a, b = [make("a", "duplicate")], [make("a", "duplicate")]
    a[0].program, b[0].program = "1" * 64, "2" * 64
    assert [change.what for change in changes(a, b).changes] == ["program"]
    b[0].program = "1" * 64
    assert changes(a, b).changes == []


def test_two_runs_of_one_kernel_each_compare_the_kernels() -> None:
    a = [make("a", "duplicate", Cost(total_states=1), kernel="baseline")]
    b = [make("a", "duplicate", Cost(total_states=2), kernel="patched")]
    (change,) = changes(a, b).changes
    assert (change.kernel, change.what, change.ratio) == ("baseline → patched", "total_states", 2)


def test_ids_in_messages_are_no_change() -> None:
    a = [make("a", "duplicate", verdict="reject", message="R1 map_value(id=3) no")]
    b = [make("a", "duplicate", verdict="reject", message="R1 map_value(id=9) no")]
    assert changes(a, b).changes == []


def test_reasons_are_counted_by_reason() -> None:
    notes = [
        Note(
            "a",
            "patched",
            "multi_root",
            "insn 5: same insn cannot be used: ctx access, root#0 f() vs root#1 g()",
        ),
        Note(
            "b",
            "patched",
            "multi_root",
            "insn 77: same insn cannot be used: ctx access, root#1 g() vs root#2 h()",
        ),
        Note(
            "b",
            "other",
            "multi_root",
            "insn 77: same insn cannot be used: ctx access, root#1 g() vs root#2 h()",
        ),
        Note("c", "patched", "multi_root", "bpf_timer is not supported in a multi-root load"),
    ]
    assert [(reason.message, reason.cases, reason.first) for reason in _reasons(notes)] == [
        ("same insn cannot be used: ctx access", 2, "a"),
        ("bpf_timer is not supported in a multi-root load", 1, "c"),
    ]


def test_totals_by_type_are_over_the_cases_that_have_it() -> None:
    cells = [
        make("a", "tail_call", Cost(jit_bytes=100)),
        make("a", "duplicate", Cost(jit_bytes=50)),
        make("b", "tail_call", Cost(jit_bytes=100)),
        make("b", "duplicate", Cost(jit_bytes=80)),
    ]
    for cell in cells[2:]:
        cell.roots = [Root("r", "xdp", "accept"), Root("s", "tc", "accept")]
    by_type = {of_type.type: of_type.totals for of_type in compare(cells).summary.by_type}
    assert [total.accepted for total in by_type["xdp"]] == [2, 2]
    assert [total.accepted for total in by_type["tc"]] == [1, 1]
    assert by_type["tc"][1].means["jit_bytes"] == pytest.approx(0.8)


def _run_of(*kernels: KernelInfo) -> RunInfo:
    return RunInfo(schema=SCHEMA, run="r", command=[], started="", kernels=list(kernels))


def test_kernels_of_one_name_that_are_not_the_same() -> None:
    before = KernelInfo("linux", argument="/a/linux", source_id="/a/linux git:1", config_hash="c", key="1")
    same = KernelInfo("baseline", argument="baseline", key="2")
    after = KernelInfo("linux", argument="/b/linux", source_id="/b/linux git:2", config_hash="c", key="3")
    found = other_kernels(_run_of(before, same), _run_of(after, same))
    assert found == [OtherKernel("linux", ["path", "source"])]
    assert (
        other_kernels(_run_of(before), _run_of(before, msgspec.structs.replace(after, name="b-linux"))) == []
    )
    image = KernelInfo(
        "bzImage",
        argument="/a/bzImage",
        source_id="bzImage sha256:1",
        prebuilt=True,
        config_hash="c",
        key="4",
    )
    newer = KernelInfo(
        "bzImage",
        argument="/a/bzImage",
        source_id="bzImage sha256:2",
        prebuilt=True,
        config_hash="d",
        key="5",
    )
    assert other_kernels(_run_of(image), _run_of(newer)) == [
        OtherKernel("bzImage", ["image", "configuration"])
    ]
