"""A shared body against a copy of it: the same code takes the same instructions, or something is wrong."""

from __future__ import annotations

import pytest

from bpfroots.analysis.shared import Finding, Sharing, sharing
from bpfroots.programs.protocol import Mechanism
from bpfroots.report import text
from bpfroots.results.model import Cell, Jit, JitImage, Root, RunResult


def _cell(
    mechanism: Mechanism, insns: float | None, sha256: str = "a", calls: list[str] | None = None
) -> Cell:
    image = JitImage("bpf_prog_body", "ffff", sha256, 100, 0, 0, 0, calls or [])
    runs = [RunResult("udp", 0, insns_per_run=insns), RunResult("tcp", 0, insns_per_run=40.0)]
    root = Root("on_tc", "tc", "accept", jit=Jit([image]), runs=runs)
    return Cell("body/x-tc", "patched", mechanism, outcome="pass", verdict="accept", roots=[root])


def _one(shared: Cell, copy: Cell) -> Sharing:
    (found,) = sharing([copy, shared])
    assert found.roots == 1
    return found


def test_the_same_code_and_figures_are_not_listed() -> None:
    found = _one(_cell("multi_root", 30.0), _cell("duplicate", 30.0))
    assert (found.same_code, found.findings, found.listed) == (1, {"equal": 1}, [])
    assert "1 of them in exactly as many insns" in text.sharing(found)


@pytest.mark.parametrize(
    ("sha256", "calls", "finding"),
    [
        ("b", [], "kept"),
        ("a", ["bpf_prog_body", "__htab_map_lookup_elem"], "helpers"),
        ("a", ["bpf_prog_body", "+0x40"], "unexplained"),
    ],
)
def test_other_figures_have_a_reason(sha256: str, calls: list[str], finding: Finding) -> None:
    found = _one(_cell("multi_root", 32.0, sha256, calls), _cell("duplicate", 30.0))
    (held,) = found.listed
    assert held.finding == finding
    assert held.more == (0.0, 2.0)
    assert held.shown == [("udp", 32.0, 30.0), ("tcp", 40.0, 40.0)]
    assert ("one of the figures is wrong" in text.sharing(found)) == (finding == "unexplained")


def test_other_code_is_listed_even_if_it_costs_nothing() -> None:
    found = _one(_cell("multi_root", 30.0, "b"), _cell("duplicate", 30.0))
    assert (found.same_code, found.listed[0].finding) == (0, "equal")


def test_what_was_not_measured_is_not_held() -> None:
    cells = [_cell("multi_root", None), _cell("duplicate", None)]
    for cell in cells:
        cell.roots[0].runs.pop()
    assert sharing(cells) == []


def test_a_refusal_is_not_held() -> None:
    refused = _cell("multi_root", 30.0)
    refused.verdict = "reject"
    assert sharing([refused, _cell("duplicate", 30.0)]) == []
