"""Which differences are expected, which end `ab` with an error, and which programs are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfroots.ab.filters import fail_on, filters
from bpfroots.errors import UserError
from bpfroots.programs import allowed
from tests.ab_lab import AbLab


@pytest.fixture
def lab(tmp_path: Path) -> AbLab:
    return AbLab(tmp_path)


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
    lab: AbLab, tmp_path: Path, content: str, expected: bool
) -> None:
    lab.add("old")
    lab.add("new", message="R1 !read_ok")
    found = lab.compare(allowed=_expect(tmp_path, content))
    assert (found.regressions == []) is expected


def test_a_crash_that_is_expected(lab: AbLab, tmp_path: Path) -> None:
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
def test_fail_on(lab: AbLab, expression: str, fails: bool) -> None:
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
def test_filters_are_those_of_veristat(lab: AbLab, given: list[str], shown: bool) -> None:
    lab.add("old")
    lab.add("new", processed_insns=110)
    found = lab.compare(filters=filters(given))
    assert (found.programs, found.hidden) == ((1, 0) if shown else (0, 1))


@pytest.mark.parametrize(("given", "shown"), [("|insns_pct|>5", True), ("insns_pct>5", False)])
def test_bars_take_away_the_sign(lab: AbLab, given: str, shown: bool) -> None:
    lab.add("old")
    lab.add("new", processed_insns=90)
    assert bool(lab.compare(filters=filters([given])).programs) is shown
