"""Two kernels, the same programs: what differs is seen, what does not differ is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bpfroots.ab import inside, text
from bpfroots.ab.filters import fail_on
from bpfroots.ab.model import ChangedProgram, Findings, What
from bpfroots.analysis.type_ids import TypeIds
from bpfroots.programs.protocol import Verdict
from bpfroots.results.model import RunResult
from tests.ab_lab import CODE, LOG, XLATED, AbLab
from tests.small_btf import vmlinux


@pytest.fixture
def lab(tmp_path: Path) -> AbLab:
    return AbLab(tmp_path)


def _whats(change: ChangedProgram) -> list[What]:
    return [one.what for one in change.differences]


def test_nothing_changed_is_no_difference(lab: AbLab) -> None:
    lab.add("old")
    lab.add("new")
    found = lab.compare()
    assert (found.changes, found.programs, found.objects) == ([], 1, 1)
    assert {what for what, counted in found.counts.items() if counted.compared == 1} >= {
        *("verdict", "insns", "states", "stack", "xlated", "jit", "log")
    }
    assert found.totals["insns"].a == found.totals["insns"].b == 100


@pytest.mark.parametrize(
    ("changed", "what", "kind"),
    [
        ({"processed_insns": 101}, "insns", "figures"),
        ({"processed_insns": 99}, "insns", "better"),
        ({"total_states": 10}, "states", "figures"),
        ({"peak_states": 1}, "peak_states", "figures"),
        ({"stack_depth": "16+0"}, "stack", "figures"),
        ({"code": "0ther", "size": 11}, "jit", "figures"),
        ({"code": "0ther"}, "jit", "code"),
        ({"xlated": XLATED.replace("r0 = 0", "r0 = 1")}, "xlated", "code"),
        ({"log": LOG.replace("R0_w=0", "R0_w=1")}, "log", "log"),
        ({"message": "R1 !read_ok"}, "verdict", "reject"),
    ],
)
def test_each_difference_is_seen(lab: AbLab, changed: Mapping[str, Any], what: What, kind: str) -> None:
    lab.add("old")
    lab.add("new", **changed)
    change = lab.only()
    assert what in _whats(change)
    assert change.kind == kind


@pytest.mark.parametrize(
    "log",
    [
        LOG.replace("R1=ctx()", "R1=ctx(id=7)"),
        LOG + "verification time 12 usec\n",
        LOG
        + "func 'd_path' arg0 has btf_id 869 type STRUCT 'path'\nattach_btf_id 869 points to disabled hook\n",
        LOG + "map_ptr(map_uid=3)\nffff888012345678\n",
    ],
)
def test_ids_times_and_addresses_are_no_difference(lab: AbLab, log: str) -> None:
    other = (
        log.replace("id=7", "id=8")
        .replace("12 usec", "9 usec")
        .replace("uid=3", "uid=4")
        .replace("_id 869", "_id 870")
    )
    lab.add("old", log=log)
    lab.add("new", log=other.replace("12345678", "87654321"))
    assert lab.compare().changes == []


def test_a_log_that_is_not_whole_is_not_compared(lab: AbLab) -> None:
    lab.add("old", truncated=True)
    lab.add("new", truncated=True, log=LOG.replace("R0_w=0", "R0_w=1"))
    found = lab.compare()
    assert found.changes == []
    assert "log" not in found.counts


def test_the_tag_of_a_function_is_no_difference(lab: AbLab) -> None:
    for kernel, tag in (("old", "2340d21f035f47a2"), ("new", "dde36f7a7d2a4af8")):
        lab.add(kernel, xlated=f"9: (85) call pc+5#bpf_prog_{tag}_fill\n")
    assert lab.compare().changes == []


def _moved(lab: AbLab, **changed: Any) -> Findings:
    """Two kernels with other numbers for their types, and functions at other places."""
    for kernel, number, place in (("old", "0x2", "819dfa80"), ("new", "0x9", "819e7c00")):
        code = CODE.replace("leave", f"mov edi, {number}\n   6:  mov rsi, 0xffffffff{place}")
        log = f"3: (18) r2 = {number}    ; R2={number}\n"
        lab.add(kernel, code=number, opcodes="one", asm=code, log=log, xlated=f"3: (18) r2 = {number}\n")
    for name, value in changed.items():
        if name == "asm":
            file = lab.path / lab.cells[1].artefacts["p.jited.asm"]
            file.write_text(file.read_text().replace(*value))
        else:
            setattr(lab.cells[1].roots[0].jit.images[0], name, value)
    before = vmlinux(lab.path / "a", [(1, "int"), (4, "file")])
    after = vmlinux(lab.path / "b", [*[(4, "other")] * 8, (4, "file")])
    types = TypeIds(before, after)
    return lab.compare(types=types)


def test_ids_of_types_and_places_of_functions_are_no_difference(lab: AbLab) -> None:
    found = _moved(lab)
    assert found.changes == []
    assert (
        found.counts["jit"].compared == found.counts["xlated"].compared == found.counts["log"].compared == 1
    )


@pytest.mark.parametrize(
    "changed",
    [{"asm": ("edi, 0x9", "edi, 0x8")}, {"asm": ("rsi", "rdx")}, {"opcodes": "other"}, {"opcodes": ""}],
)
def test_twin_another_constant_register_or_encoding_is_one(lab: AbLab, changed: Mapping[str, Any]) -> None:
    (change,) = _moved(lab, **changed).changes
    assert (change.kind, _whats(change)) == ("code", ["jit"])


def test_a_changed_wording_is_no_difference(lab: AbLab) -> None:
    lab.add("old", message="Caller passes invalid args into func#1", log="")
    lab.add("new", message="Caller passes invalid args into func#2 ('f')", log="")
    found = lab.compare()
    assert found.changes == []
    assert found.counts["message"].compared == 1


def test_twin_another_message_is_one(lab: AbLab) -> None:
    lab.add("old", message="R1 !read_ok", log="")
    lab.add("new", message="R1 invalid mem access 'scalar'", log="")
    assert (lab.only().kind, _whats(lab.only())) == ("message", ["message"])


def test_what_is_newly_accepted_is_no_regression(lab: AbLab) -> None:
    lab.add("old", message="R1 !read_ok")
    lab.add("new")
    found = lab.compare()
    assert [change.kind for change in found.changes] == ["accept"]
    assert found.regressions == []
    assert "A says          R1 !read_ok" in text.render(found)


def test_figures_of_another_verdict_are_not_compared(lab: AbLab) -> None:
    lab.add("old", message="R1 !read_ok", processed_insns=2)
    lab.add("new", processed_insns=40)
    found = lab.compare(fail_on=(fail_on("insns>5%"), fail_on("insns_b>39")))
    assert "insns" not in _whats(found.changes[0])
    assert list(found.failing) == ["insns_b>39"]


def test_a_crash_is_a_regression_and_not_a_reject(lab: AbLab) -> None:
    lab.add("old")
    lab.lost("new", "guest_crash")
    found = lab.compare()
    (change,) = found.regressions
    assert (change.kind, change.program) == ("crash", "")
    assert "accept -> crash" in text.render(found)


def test_two_objects_without_a_verdict_are_silent(lab: AbLab) -> None:
    lab.lost("old", "error")
    lab.lost("new", "error")
    found = lab.compare()
    assert (found.silent, found.changes) == (1, [])


@pytest.mark.parametrize(("verdict", "differs"), [("reject", False), ("accept", True)])
def test_maps_of_an_object_that_did_not_run_are_not_compared(
    lab: AbLab, verdict: Verdict, differs: bool
) -> None:
    """A program that is accepted alone, of an object that is rejected: no map was read."""
    for cell in (lab.add("old"), lab.add("new")):
        cell.verdict, cell.compared = verdict, ["results"]
    found = lab.compare()
    assert bool(found.changes) is differs
    assert ("results" in found.counts) is differs


def test_what_was_lost_on_our_side_is_not_compared(lab: AbLab) -> None:
    lab.add("old")
    lab.lost("new", "infra_error")
    assert lab.compare().changes == []


def test_results_of_runs(lab: AbLab) -> None:
    lab.add("old", runs=(RunResult("udp", 2),))
    lab.add("new", runs=(RunResult("udp", 1),))
    change = lab.only()
    assert change.kind == "results"
    assert change.differences[0].detail == "on udp: returned 2 | 1"


def test_twin_equal_results(lab: AbLab) -> None:
    for kernel in ("old", "new"):
        lab.add(kernel, runs=(RunResult("udp", 2),))
    found = lab.compare()
    assert found.changes == []
    assert found.counts["results"].compared == 1


def test_cost(lab: AbLab) -> None:
    lab.add("old", runs=(RunResult("udp", insns_per_run=50.0),))
    lab.add("new", runs=(RunResult("udp", insns_per_run=55.0),))
    change = lab.only()
    assert (_whats(change), change.differences[0].detail) == (["insns_per_run"], "udp 50 | 55")


def test_what_has_to_be_equal(lab: AbLab) -> None:
    lab.add("old")
    lab.add("new")
    assert inside.unequal(lab.compare(), lab.cells, ["duplicate"]) == []
    lab.add("old", program="q")
    lab.add("new", program="q", processed_insns=101)
    (said,) = inside.unequal(lab.compare(), lab.cells, ["duplicate"])
    assert said == "a.bpf.o q (duplicate): verified insns 100 -> 101 (+1.0%)"


def test_what_was_not_compared_is_not_equal(lab: AbLab) -> None:
    lab.add("old")
    lab.lost("new", "timeout")
    said = inside.unequal(lab.compare(), lab.cells, ["tail_call", "duplicate"])
    assert said[:2] == ["tail_call: nothing was compared", "duplicate: nothing was compared"]
    assert inside.unequal(lab.compare(), lab.cells, []) == []


def test_worst_comes_first(lab: AbLab) -> None:
    new: list[dict[str, Any]] = [
        {"processed_insns": 101},
        {"processed_insns": 200},
        {"message": "R1 !read_ok"},
    ]
    for number, changed in enumerate(new):
        lab.add("old", program=f"p{number}").case = f"load/{number}.bpf.o"
        lab.add("new", program=f"p{number}", **changed).case = f"load/{number}.bpf.o"
    assert [change.program for change in lab.compare().changes] == ["p2", "p1", "p0"]
