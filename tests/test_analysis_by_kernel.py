"""Programs against kernels: lines, reasons, and what is printed of them."""

from __future__ import annotations

import io

from bpfroots.analysis.by_kernel import KernelColumn, matrix
from bpfroots.programs.protocol import Verdict
from bpfroots.report import terminal
from bpfroots.report.by_kernel import print_matrix
from bpfroots.results.model import Cell, Cost, Outcome, Root, Verification, VerifierStats

_OLD, _NEW = KernelColumn("v6.1", "duplicate"), KernelColumn("v7.3", "duplicate")


def _cell(kernel: str, programs: dict[str, str], *, outcome: Outcome = "pass", reason: str = "") -> Cell:
    """``programs`` maps names to the verifier's message; an empty one is accepted, in 10 insns."""
    roots, loads = [], []
    for name, message in programs.items():
        verdict: Verdict = "reject" if message else "accept"
        stats = VerifierStats(processed_insns=10)
        roots.append(Root(name, "kprobe", verdict, message=message, verifier=stats))
        loads.append(Verification([name], verdict, message=message, verifier=stats))
    cost = Cost(processed_insns=10 * len(loads))
    return Cell(
        "load/a.bpf.o",
        kernel,
        "duplicate",
        outcome=outcome,
        verifications=loads,
        roots=roots,
        cost=cost,
        reason=reason,
    )


def test_what_differs_comes_first() -> None:
    made = matrix([_cell("v6.1", {"a": "", "b": "R1 !read_ok"}), _cell("v7.3", {"a": "", "b": ""})])
    assert [(line.program, line.differs) for line in made.lines] == [("b", True), ("a", False)]
    assert (made.accepted(_OLD), made.asked(_OLD), made.accepted(_NEW)) == (1, 2, 2)
    assert made.insns == {_OLD: 20, _NEW: 20}
    assert made.lines[0].answers[_OLD].reason == 1
    assert made.lines[0].answers[_NEW].reason == 0


def test_another_wording_is_no_other_reason() -> None:
    made = matrix(
        [
            _cell("v6.1", {"a": "Caller passes invalid args into func#1"}),
            _cell("v7.3", {"a": "Caller passes invalid args into func#2 ('f')"}),
        ]
    )
    (reason,) = made.reasons
    assert reason.programs == {_OLD: ["a"], _NEW: ["a"]}
    assert not made.lines[0].differs


def test_twin_another_reason_is_another() -> None:
    made = matrix(
        [_cell("v6.1", {"a": "R1 !read_ok"}), _cell("v7.3", {"a": "R1 invalid mem access 'scalar'"})]
    )
    assert [list(reason.programs) for reason in made.reasons] == [[_OLD], [_NEW]]


def test_an_object_without_a_verdict_is_no_reject() -> None:
    broken = _cell("v6.1", {}, outcome="error", reason="BTF is required, but is missing")
    made = matrix([broken, _cell("v7.3", {"a": ""})])
    assert {line.program: list(line.answers) for line in made.lines} == {"": [_OLD, _NEW], "a": [_OLD, _NEW]}
    assert (made.asked(_OLD), made.accepted(_OLD)) == (0, 0)
    answer = next(line for line in made.lines if line.program == "a").answers[_OLD]
    assert (answer.verdict, answer.outcome, answer.insns) == ("", "error", None)
    assert made.reasons[answer.reason - 1].message == "BTF is required, but is missing"


def _printed(*cells: Cell) -> str:
    said = io.StringIO()
    print_matrix(matrix(list(cells)), terminal.console(said))
    return said.getvalue()


def test_it_is_printed_with_each_reason_once() -> None:
    text = _printed(
        _cell("v6.1", {"a": "", "b": "R1 !read_ok", "c": "R2 !read_ok"}),
        _cell("v7.3", {"a": "", "b": "", "c": "R2 !read_ok"}),
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "b kprobe reject [1] 10 accept 10" in lines
    assert "c kprobe reject [1] 10 reject [1] 10" in lines
    assert "accepted 1 of 3 30 2 of 3 30" in lines
    assert [line for line in lines if line.startswith("[")] == ["[1] R1 !read_ok"]
    assert "v6.1: b, c" in lines
    assert "v7.3: c" in lines
