"""Files of `load --expect`: what they mean, and how a cell is judged by them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.analysis import cell as analysis
from bpfroots.errors import UserError
from bpfroots.jobs import judge
from bpfroots.jobs.spec import CellSpec
from bpfroots.programs.allowed import Allowed, on_kernel, read
from bpfroots.programs.protocol import Hello, LoadedProgram, Verdict
from bpfroots.results.model import Cell
from tests import loads

_FILE = """
[[reject]]
program = "on_tc"
kernel = "<6.6"
message = "cannot use helper"

[[error]]
object = "new*.bpf.o"
"""


def _read(tmp_path: Path, text: str) -> tuple[Allowed, ...]:
    path = tmp_path / "expect.toml"
    path.write_text(text)
    return read(path)


def test_a_file_is_read_in_order(tmp_path: Path) -> None:
    first, second = _read(tmp_path, _FILE)
    assert (first.verdict, first.program, first.kernel) == ("reject", "on_tc", "<6.6")
    assert (second.verdict, second.object, second.where) == ("error", "new*.bpf.o", "expect.toml [[error]] 1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[reject]\n", "not TOML"),
        ("[[reject]]\nprogramm = 'x'", "unknown field `programm`"),
        ("[[accept]]\n", "unknown field `accept`"),
        ("[[reject]]\nkernel = '<six'", "is no comparison with a release"),
    ],
)
def test_what_it_cannot_mean_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        _read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.toml: No such file"):
        read(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("wanted", "release", "meant"),
    [
        ("<6.6", "6.1.192", True),
        ("<6.6", "6.6.0", False),
        ("<=6.6", "6.6.100", True),
        (">=6.12", "6.12.117", True),
        (">=6.12", "7.3.4-rc1+", True),
        (">6.12", "6.12.117", False),
        ("==7.3", "7.3.4", True),
        ("<6.6", "", False),
        ("v6.*", "6.1.192", False),
    ],
)
def test_releases_are_compared_as_numbers(wanted: str, release: str, meant: bool) -> None:
    assert on_kernel(wanted, "linux", release) is meant


@given(st.tuples(st.integers(0, 99), st.integers(0, 99)), st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_exactly_one_of_less_equal_more_holds(bound: tuple[int, int], have: tuple[int, int]) -> None:
    release = f"{have[0]}.{have[1]}.7"
    held = [on_kernel(f"{sign}{bound[0]}.{bound[1]}", "k", release) for sign in ("<", "==", ">")]
    assert held.count(True) == 1


def _judged(*rules: Allowed, verdicts: dict[str, Verdict], release: str = "6.1.192") -> Cell:
    programs = [LoadedProgram(name, "tc", root=True, verdict=verdict) for name, verdict in verdicts.items()]
    notes = "(limit 1000000) max_states_per_insn 0 total_states 2 peak_states 1 mark_read 0"
    log = f"processed 10 insns {notes}\n"
    refusal = "program of this type cannot use helper bpf_probe_read#4\n"
    logs = {name: (refusal if verdict == "reject" else "") + log for name, verdict in verdicts.items()}
    loaded = loads.loaded(programs, logs=logs)
    spec = CellSpec("load/a.bpf.o", "duplicate", [], allowed=rules)
    kernel = loads.kernel("v6.1", release=release)
    return judge.judge(spec, kernel, Hello(1, "1.5", release, {}), analysis.Code(loaded), None)


_RULE = Allowed("on_tc", kernel="<6.6", message="cannot use helper", where="expect.toml [[reject]] 1")


def test_what_is_listed_is_as_expected() -> None:
    cell = _judged(_RULE, verdicts={"on_tc": "reject", "on_xdp": "accept"})
    assert (cell.outcome, cell.verdict, cell.reason) == ("pass", "reject", "")


@pytest.mark.parametrize(
    ("rule", "verdicts", "release", "says"),
    [
        (_RULE, {"on_tc": "reject", "on_xdp": "reject"}, "6.1.192", "expected accept, got reject: on_xdp"),
        (
            _RULE,
            {"on_tc": "accept"},
            "6.1.192",
            r"expected reject \(expect.toml \[\[reject\]\] 1\), got accept",
        ),
        (_RULE, {"on_tc": "reject"}, "6.12.1", "expected accept, got reject: on_tc"),
        (Allowed("on_tc", message="another"), {"on_tc": "reject"}, "6.1", "does not say 'another'"),
        (Allowed("on_tc", verdict="error"), {"on_tc": "reject"}, "6.1", "expected error .* got reject"),
    ],
)
def test_twin_what_is_not_listed_fails(
    rule: Allowed, verdicts: dict[str, Verdict], release: str, says: str
) -> None:
    cell = _judged(rule, verdicts=verdicts, release=release)
    assert cell.outcome == "fail"
    assert re.search(says, cell.reason), cell.reason
