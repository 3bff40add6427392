"""Two kernels, the same programs: what differs is seen, what does not differ is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bpfroots.ab import comparison, inside, page, run, text, texts
from bpfroots.ab.filters import fail_on, filters
from bpfroots.ab.model import ChangedProgram, Findings, Side, What
from bpfroots.ab.pair import Asked
from bpfroots.analysis.type_ids import TypeIds
from bpfroots.errors import BootError, UserError
from bpfroots.programs import allowed
from bpfroots.programs.protocol import Verdict
from bpfroots.progress import Progress
from bpfroots.results.model import (
    SCHEMA,
    Cell,
    Jit,
    JitImage,
    Outcome,
    Root,
    RunInfo,
    RunResult,
    Verification,
    VerifierStats,
)
from bpfroots.results.request import Together
from bpfroots.results.store import RunStore
from tests.small_btf import vmlinux

_A, _B = Side("old", "6.12.1", "old"), Side("new", "6.12.2", "new")
_LOG = "func#0 @0\n0: R1=ctx() R10=fp0\n0: (b7) r0 = 0                        ; R0_w=0\n1: (95) exit\n"
_XLATED = "   0: (b7) r0 = 0\n   1: (95) exit\n"
_CODE = "; bpf_prog_p addr=ffffffffc0001000 bytes=8 file+0x0\n   0:  push rbp\n   1:  leave\n   2:  ret\n"


def _image(code: str, size: int = 8, opcodes: str = "") -> JitImage:
    return JitImage("bpf_prog_p", "ffffffffc0001000", code, size, 0, 0, 0, opcodes=opcodes)


class _Lab:
    """Cells of one object with one program, as a run would have them in its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: list[Cell] = []

    def add(
        self,
        kernel: str,
        *,
        message: str = "",
        outcome: Outcome = "pass",
        code: str = "c0de",
        size: int = 8,
        opcodes: str = "",
        asm: str = _CODE,
        log: str = _LOG,
        xlated: str = _XLATED,
        runs: tuple[RunResult, ...] = (),
        program: str = "p",
        **stats: Any,
    ) -> Cell:
        verdict: Verdict = "reject" if message else "accept"
        verifier = VerifierStats(**{"processed_insns": 100, "total_states": 9, "stack_depth": "8+0", **stats})
        root = Root(program, "xdp", verdict, message=message, verifier=verifier, runs=list(runs))
        if verdict == "accept":
            root.xlated_bytes, root.jit = 16, Jit([_image(code, size, opcodes)])
        cell = Cell("load/a.bpf.o", kernel, "duplicate", outcome=outcome, verdict=verdict)
        cell.roots = [root]
        cell.verifications = [Verification([program], verdict, message=message, verifier=verifier)]
        files = {"verifier.log": log} | (
            {"xlated.txt": xlated, "jited.asm": asm} if verdict == "accept" else {}
        )
        for suffix, content in files.items():
            relative = f"cells/a/{kernel}/{program}.{suffix}"
            (self.path / relative).parent.mkdir(parents=True, exist_ok=True)
            (self.path / relative).write_text(content)
            cell.artefacts[f"{program}.{suffix}"] = relative
        self.cells.append(cell)
        return cell

    def lost(self, kernel: str, outcome: Outcome) -> None:
        self.cells.append(
            Cell("load/a.bpf.o", kernel, "duplicate", outcome=outcome, reason="BUG: unable to handle page")
        )

    def compare(self, **options: Any) -> Findings:
        return comparison.compare(self.path, self.cells, _A, _B, comparison.Options(**options))

    def only(self, **options: Any) -> ChangedProgram:
        (change,) = self.compare(**options).changes
        return change


@pytest.fixture
def lab(tmp_path: Path) -> _Lab:
    return _Lab(tmp_path)


def _whats(change: ChangedProgram) -> list[What]:
    return [one.what for one in change.differences]


def test_nothing_changed_is_no_difference(lab: _Lab) -> None:
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
        ({"xlated": _XLATED.replace("r0 = 0", "r0 = 1")}, "xlated", "code"),
        ({"log": _LOG.replace("R0_w=0", "R0_w=1")}, "log", "log"),
        ({"message": "R1 !read_ok"}, "verdict", "reject"),
    ],
)
def test_each_difference_is_seen(lab: _Lab, changed: Mapping[str, Any], what: What, kind: str) -> None:
    lab.add("old")
    lab.add("new", **changed)
    change = lab.only()
    assert what in _whats(change)
    assert change.kind == kind


@pytest.mark.parametrize(
    "log",
    [
        _LOG.replace("R1=ctx()", "R1=ctx(id=7)"),
        _LOG + "verification time 12 usec\n",
        _LOG
        + "func 'd_path' arg0 has btf_id 869 type STRUCT 'path'\nattach_btf_id 869 points to disabled hook\n",
        _LOG + "map_ptr(map_uid=3)\nffff888012345678\n",
    ],
)
def test_ids_times_and_addresses_are_no_difference(lab: _Lab, log: str) -> None:
    other = (
        log.replace("id=7", "id=8")
        .replace("12 usec", "9 usec")
        .replace("uid=3", "uid=4")
        .replace("_id 869", "_id 870")
    )
    lab.add("old", log=log)
    lab.add("new", log=other.replace("12345678", "87654321"))
    assert lab.compare().changes == []


def test_a_log_that_is_not_whole_is_not_compared(lab: _Lab) -> None:
    lab.add("old", truncated=True)
    lab.add("new", truncated=True, log=_LOG.replace("R0_w=0", "R0_w=1"))
    found = lab.compare()
    assert found.changes == []
    assert "log" not in found.counts


def test_the_tag_of_a_function_is_no_difference(lab: _Lab) -> None:
    for kernel, tag in (("old", "2340d21f035f47a2"), ("new", "dde36f7a7d2a4af8")):
        lab.add(kernel, xlated=f"9: (85) call pc+5#bpf_prog_{tag}_fill\n")
    assert lab.compare().changes == []


def _moved(lab: _Lab, **changed: Any) -> Findings:
    """Two kernels with other numbers for their types, and functions at other places."""
    for kernel, number, place in (("old", "0x2", "819dfa80"), ("new", "0x9", "819e7c00")):
        code = _CODE.replace("leave", f"mov edi, {number}\n   6:  mov rsi, 0xffffffff{place}")
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


def test_ids_of_types_and_places_of_functions_are_no_difference(lab: _Lab) -> None:
    found = _moved(lab)
    assert found.changes == []
    assert (
        found.counts["jit"].compared == found.counts["xlated"].compared == found.counts["log"].compared == 1
    )


@pytest.mark.parametrize(
    "changed",
    [{"asm": ("edi, 0x9", "edi, 0x8")}, {"asm": ("rsi", "rdx")}, {"opcodes": "other"}, {"opcodes": ""}],
)
def test_twin_another_constant_register_or_encoding_is_one(lab: _Lab, changed: Mapping[str, Any]) -> None:
    (change,) = _moved(lab, **changed).changes
    assert (change.kind, _whats(change)) == ("code", ["jit"])


def test_a_changed_wording_is_no_difference(lab: _Lab) -> None:
    lab.add("old", message="Caller passes invalid args into func#1", log="")
    lab.add("new", message="Caller passes invalid args into func#2 ('f')", log="")
    found = lab.compare()
    assert found.changes == []
    assert found.counts["message"].compared == 1


def test_twin_another_message_is_one(lab: _Lab) -> None:
    lab.add("old", message="R1 !read_ok", log="")
    lab.add("new", message="R1 invalid mem access 'scalar'", log="")
    assert (lab.only().kind, _whats(lab.only())) == ("message", ["message"])


def test_what_is_newly_accepted_is_no_regression(lab: _Lab) -> None:
    lab.add("old", message="R1 !read_ok")
    lab.add("new")
    found = lab.compare()
    assert [change.kind for change in found.changes] == ["accept"]
    assert found.regressions == []
    assert "A says          R1 !read_ok" in text.render(found)


def test_figures_of_another_verdict_are_not_compared(lab: _Lab) -> None:
    lab.add("old", message="R1 !read_ok", processed_insns=2)
    lab.add("new", processed_insns=40)
    found = lab.compare(fail_on=(fail_on("insns>5%"), fail_on("insns_b>39")))
    assert "insns" not in _whats(found.changes[0])
    assert list(found.failing) == ["insns_b>39"]


def test_a_crash_is_a_regression_and_not_a_reject(lab: _Lab) -> None:
    lab.add("old")
    lab.lost("new", "guest_crash")
    found = lab.compare()
    (change,) = found.regressions
    assert (change.kind, change.program) == ("crash", "")
    assert "accept -> crash" in text.render(found)


def test_two_objects_without_a_verdict_are_silent(lab: _Lab) -> None:
    lab.lost("old", "error")
    lab.lost("new", "error")
    found = lab.compare()
    assert (found.silent, found.changes) == (1, [])


@pytest.mark.parametrize(("verdict", "differs"), [("reject", False), ("accept", True)])
def test_maps_of_an_object_that_did_not_run_are_not_compared(
    lab: _Lab, verdict: Verdict, differs: bool
) -> None:
    """A program that is accepted alone, of an object that is rejected: no map was read."""
    for cell in (lab.add("old"), lab.add("new")):
        cell.verdict, cell.compared = verdict, ["results"]
    found = lab.compare()
    assert bool(found.changes) is differs
    assert ("results" in found.counts) is differs


def test_what_was_lost_on_our_side_is_not_compared(lab: _Lab) -> None:
    lab.add("old")
    lab.lost("new", "infra_error")
    assert lab.compare().changes == []


def test_results_of_runs(lab: _Lab) -> None:
    lab.add("old", runs=(RunResult("udp", 2),))
    lab.add("new", runs=(RunResult("udp", 1),))
    change = lab.only()
    assert change.kind == "results"
    assert change.differences[0].detail == "on udp: returned 2 | 1"


def test_twin_equal_results(lab: _Lab) -> None:
    for kernel in ("old", "new"):
        lab.add(kernel, runs=(RunResult("udp", 2),))
    found = lab.compare()
    assert found.changes == []
    assert found.counts["results"].compared == 1


def test_cost(lab: _Lab) -> None:
    lab.add("old", runs=(RunResult("udp", insns_per_run=50.0),))
    lab.add("new", runs=(RunResult("udp", insns_per_run=55.0),))
    change = lab.only()
    assert (_whats(change), change.differences[0].detail) == (["insns_per_run"], "udp 50 | 55")


def test_what_has_to_be_equal(lab: _Lab) -> None:
    lab.add("old")
    lab.add("new")
    assert inside.unequal(lab.compare(), lab.cells, ["duplicate"]) == []
    lab.add("old", program="q")
    lab.add("new", program="q", processed_insns=101)
    (said,) = inside.unequal(lab.compare(), lab.cells, ["duplicate"])
    assert said == "a.bpf.o q (duplicate): verified insns 100 -> 101 (+1.0%)"


def test_what_was_not_compared_is_not_equal(lab: _Lab) -> None:
    lab.add("old")
    lab.lost("new", "timeout")
    said = inside.unequal(lab.compare(), lab.cells, ["tail_call", "duplicate"])
    assert said[:2] == ["tail_call: nothing was compared", "duplicate: nothing was compared"]
    assert inside.unequal(lab.compare(), lab.cells, []) == []


def test_worst_comes_first(lab: _Lab) -> None:
    new: list[dict[str, Any]] = [
        {"processed_insns": 101},
        {"processed_insns": 200},
        {"message": "R1 !read_ok"},
    ]
    for number, changed in enumerate(new):
        lab.add("old", program=f"p{number}").case = f"load/{number}.bpf.o"
        lab.add("new", program=f"p{number}", **changed).case = f"load/{number}.bpf.o"
    assert [change.program for change in lab.compare().changes] == ["p2", "p1", "p0"]


# -- what is expected, and what fails ----------------------------------------------------------------


def _expect(path: Path, content: str) -> tuple[allowed.Allowed, ...]:
    (path / "expect.toml").write_text(content)
    return allowed.read(path / "expect.toml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[[reject]]\nprogram = "p"\nkernel = "new"', True),
        ('[[reject]]\nmessage = "read_ok"', True),
        ('[[reject]]\nmessage = "another"', False),
        ('[[reject]]\nkernel = "<6"', False),
        ('[[crash]]\nprogram = "p"', False),
    ],
)
def test_a_reject_that_is_expected_is_no_regression(
    lab: _Lab, tmp_path: Path, content: str, expected: bool
) -> None:
    lab.add("old")
    lab.add("new", message="R1 !read_ok")
    found = lab.compare(allowed=_expect(tmp_path, content))
    assert (found.regressions == []) is expected


def test_a_crash_that_is_expected(lab: _Lab, tmp_path: Path) -> None:
    lab.add("old")
    lab.lost("new", "guest_crash")
    assert lab.compare(allowed=_expect(tmp_path, "[[crash]]\n")).regressions == []
    assert lab.compare(allowed=_expect(tmp_path, "[[reject]]\n")).regressions != []


@pytest.mark.parametrize(
    ("expression", "fails"),
    [
        ("insns>5%", True),
        ("insns>10%", False),
        ("insns_pct>=10", True),
        ("insns_diff>9", True),
        ("insns>109", True),
        ("insns_a>100", False),
        ("states>0%", False),
    ],
)
def test_fail_on(lab: _Lab, expression: str, fails: bool) -> None:
    lab.add("old")
    lab.add("new", processed_insns=110)
    found = lab.compare(fail_on=(fail_on(expression),))
    assert (found.failing == {expression: ["a.bpf.o p"]}) is fails


@pytest.mark.parametrize("expression", ["insn>5%", "p*", "insns>much", "insns_a>5%", ""])
def test_fail_on_takes_no_nonsense(expression: str) -> None:
    with pytest.raises(UserError):
        fail_on(expression)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["a.bpf.o"], True),
        (["p"], True),
        (["b*"], False),
        (["a*/p"], True),
        (["a*/q"], False),
        (["/p"], True),
        (["!a*"], False),
        (["p", "insns_pct>5"], True),
        (["p", "insns_pct>50"], False),
        (["|insns_pct|>5"], True),
        (["verdict==failure"], False),
        (["verdict_a==success"], True),
        (["!insns_diff>5"], False),
    ],
)
def test_filters_are_those_of_veristat(lab: _Lab, given: list[str], shown: bool) -> None:
    lab.add("old")
    lab.add("new", processed_insns=110)
    found = lab.compare(filters=filters(given))
    assert (found.programs, found.hidden) == ((1, 0) if shown else (0, 1))


@pytest.mark.parametrize(("given", "shown"), [("|insns_pct|>5", True), ("insns_pct>5", False)])
def test_bars_take_away_the_sign(lab: _Lab, given: str, shown: bool) -> None:
    lab.add("old")
    lab.add("new", processed_insns=90)
    assert bool(lab.compare(filters=filters([given])).programs) is shown


# -- what is shown -----------------------------------------------------------------------------------


def test_side_by_side_marks_what_differs() -> None:
    a = [f"{n}: (b7) r0 = {n % 2}" for n in range(40)]
    b = [*a[:20], "20: (b7) r9 = 9", *(f"{n + 1}: (b7) r0 = {n % 2}" for n in range(20, 40))]
    shown = texts.beside(a, b, texts.log_keys)
    assert [(row.a, row.b) for row in shown.rows if row.changed] == [(None, "20: (b7) r9 = 9")]
    assert sum(row.fold or row.a is not None for row in shown.rows) == 40
    assert not shown.cut


def test_side_by_side_of_much_that_differs_is_cut() -> None:
    shown = texts.beside([f"a{n}" for n in range(5000)], [f"b{n}" for n in range(5000)], texts.log_keys)
    assert shown.cut
    assert len(shown.rows) < 5000


def test_the_pages_of_a_run(lab: _Lab, tmp_path: Path) -> None:
    lab.add("old")
    lab.add("new", processed_insns=110, log=_LOG.replace("R0_w=0", "R0_w=<1>"), code="0ther")
    found = lab.compare()
    index = page.write(tmp_path, found, lab.cells)
    said = index.read_text()
    assert "1 program in 1 object: 1 differ" in said
    assert 'href="program/load/a.bpf.o/p/duplicate.html"' in said
    program = (index.parent / "program/load/a.bpf.o/p/duplicate.html").read_text()
    assert "R0_w=&lt;1&gt;" in program
    assert 'class="changed"' in program
    for line in program.split('href="')[1:]:
        target = line.partition('"')[0].partition("#")[0]
        assert (
            not target
            or target.startswith("data:")
            or (index.parent / "program/load/a.bpf.o/p" / target).exists()
        )
    assert json.loads((tmp_path / "ab.json").read_text())["changes"][0]["program"] == "p"
    assert "verified insns  100 -> 110 (+10.0%)" in (tmp_path / "ab.txt").read_text()
    assert (
        (tmp_path / "veristat-new.csv")
        .read_text()
        .splitlines()[1]
        .startswith("load.a.bpf.o:duplicate,p,success")
    )


def test_the_pages_can_be_written_again(lab: _Lab, tmp_path: Path) -> None:
    lab.add("old")
    lab.add("new", processed_insns=110)
    index = page.write(tmp_path, lab.compare(), lab.cells)
    first = index.read_text()
    store = RunStore(tmp_path, RunInfo(SCHEMA, "r", [], ""))
    for cell in lab.cells:
        store.add(cell)
    index.unlink()
    assert page.again(store).read_text() == first
    (tmp_path / "ab.json").unlink()
    with pytest.raises(UserError, match="interrupted"):
        page.again(store)


def test_a_document_has_every_key(lab: _Lab, tmp_path: Path) -> None:
    lab.add("old")
    lab.add("new")
    page.write(tmp_path, lab.compare(), lab.cells)
    found = json.loads((tmp_path / "ab.json").read_text())
    assert (found["changes"], found["failing"], found["problems"]) == ([], {}, [])


def test_the_text_fits_a_mail(lab: _Lab) -> None:
    lab.add("old", message="R1 !read_ok")
    lab.add("new", message="; ".join(["R1 invalid mem access 'scalar'"] * 9))
    assert max(map(len, text.render(lab.compare()).splitlines())) <= 80


@pytest.mark.parametrize("kernel", ["old", "new"])
def test_a_kernel_that_does_not_boot_is_named(kernel: str) -> None:
    error = BootError("the kernel died during boot: panic: no root")
    error.kernel = kernel
    found = Findings(Side("old", "6.12", "baseline"), Side("new", "6.12", "patched"))
    wanted = Asked(("baseline", "patched"), Together(()))
    problem = run._not_booted(error, found, wanted, Progress(quiet=True))
    assert problem is not None
    assert (problem.kernel, problem.what, problem.patch) == (kernel, "does not boot", "")
    assert problem.lines == ["the kernel died during boot: panic: no root"]
