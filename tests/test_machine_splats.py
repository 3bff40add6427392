"""The splat classifier, on console logs in golden/console/.

NAME/dmesg.txt is the log, expected.json its splats; a first line "# written by hand" marks a log
that none of our guests printed.
"""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.errors import UserError
from bpfroots.machine.splats import (
    CONTEXT,
    MAX_SPLATS,
    Scanner,
    _from_ere,
    classify,
    default_rules,
    load_rules,
    read_allowances,
)

GOLDEN = Path(__file__).parent / "golden" / "console"
CASES = sorted(path.parent for path in GOLDEN.glob("*/dmesg.txt"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_golden(case: Path) -> None:
    lines = (case / "dmesg.txt").read_text(errors="replace").splitlines()
    found = [{"kind": s.kind, "title": s.title, "line": s.line} for s in classify(lines)]
    assert found == json.loads((case / "expected.json").read_text())


def test_golden_folders_are_there() -> None:
    names = {case.name for case in CASES}
    assert {"clean-boot", "panic-sysrq", "warn", "null-deref", "kasan", "soft-lockup", "rcu-stall"} <= names


def test_lists_in_the_format_of_bpf_ci(tmp_path: Path) -> None:
    deny = tmp_path / "SPLAT_DENYLIST"
    allow = tmp_path / "SPLAT_ALLOWLIST"
    deny.write_text(
        "# all\n\n  # indented\n^(\\[[^]]*\\] *)*(BUG|WARNING)[: ]\n[[:space:]]tainted[[:digit:]]\n"
    )
    allow.write_text("WARNING: expected\n")
    rules = load_rules(deny, allow)
    assert rules.is_splat("[    1.5] WARNING: bad")
    assert rules.is_splat("[    1.5][  T12] BUG: bad")
    assert not rules.is_splat("[    1.5] WARNING: expected here")
    assert not rules.is_splat("a WARNING: inside")
    assert rules.is_splat("something tainted5")


_NOTED = [
    "[    1.0][ T1] WARNING: Unprivileged eBPF is enabled, data leaks possible",
    "[    2.0][ T1] WARNING: CPU: 0 PID: 7 at kernel/bpf/x.c:9 bad+0x1/0x2",
]


def test_what_a_list_allows_is_no_splat_but_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "SPLAT_ALLOWLIST"
    path.write_text("# config choice\n\nWARNING: Unprivileged eBPF is enabled\n")
    scanner = Scanner()
    scanner.allow = read_allowances(tmp_path)
    assert [scanner.feed(line, number) for number, line in enumerate(_NOTED, 1)] == [False, True]
    (allowed,) = scanner.allowed
    assert (allowed.line, allowed.by) == (1, "SPLAT_ALLOWLIST:3")
    assert allowed.title.startswith("WARNING: Unprivileged eBPF is enabled")
    assert [splat.line for splat in scanner.splats()] == [2]


def test_without_the_list_it_is_one() -> None:
    scanner = Scanner()
    assert [scanner.feed(line, number) for number, line in enumerate(_NOTED, 1)] == [True, True]
    assert scanner.allowed == []


def test_a_list_that_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no SPLAT_ALLOWLIST in it"):
        read_allowances(tmp_path)
    (tmp_path / "SPLAT_ALLOWLIST").write_text("fine\nWARNING (\n")
    with pytest.raises(UserError, match="SPLAT_ALLOWLIST:2: not a regular expression"):
        read_allowances(tmp_path)


def test_an_alternative_outside_a_group_is_not_anchored(tmp_path: Path) -> None:
    deny = tmp_path / "deny"
    deny.write_text("^(\\[[^]]*\\] *)*first|second\n^third(a|b)\n")
    rules = load_rules(deny)
    assert rules.is_splat("[1] first")
    assert not rules.is_splat("not first")
    assert rules.is_splat("any second")
    assert rules.is_splat("thirdb")
    assert not rules.is_splat("a thirdb")


@pytest.mark.parametrize(
    ("text", "words"),
    [("# nothing\n\n", "no pattern"), ("a\n(b\n", ":2: not a regular"), ("[[:foo:]]\n", ":1:")],
)
def test_a_list_that_cannot_work_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "deny"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        load_rules(path)


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_rules(tmp_path / "absent")


@pytest.mark.parametrize(
    ("ere", "matches", "differs"),
    [
        (r"[]x]+$", "]x]", "a"),
        (r"[^]]$", "a", "]"),
        (r"^\[[[:xdigit:]]+\]$", "[0fA]", "[g]"),
        (r"[a\]$", "\\", "b"),
        (r"#[0-9]+", "#1", "#"),
        (r"^[[:alpha:]_]+$", "ab_", "a1"),
        (r"^a\.b$", "a.b", "axb"),
    ],
)
def test_ere_brackets(ere: str, matches: str, differs: str) -> None:
    pattern = re.compile(_from_ere(ere))
    assert pattern.search(matches)
    assert not pattern.search(differs)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=30))
def test_any_text_is_survived(lines: list[str]) -> None:
    for splat in classify(lines):
        assert 1 <= splat.line <= len(lines)
        assert splat.title


@given(st.text("[] B", max_size=300))
def test_prefix_of_brackets_is_fast(line: str) -> None:
    default_rules().is_splat(line * 50)


def test_endless_splats_are_bounded() -> None:
    scanner = Scanner()
    for number in range(1, 20_000):
        scanner.feed(f"[ 1.0] BUG: number {number}" if number % 100 == 0 else "x" * 80, number)
    splats = scanner.splats()
    assert len(splats) == MAX_SPLATS
    assert all(len(s.text) <= CONTEXT for s in splats)


def test_user_space_faults_are_no_splats() -> None:
    lines = [
        "[    1.0] traps: runner[99] general protection fault ip:401000 sp:7ffc error:0 in runner[401000]",
        "[    1.0] runner[99]: segfault at 0 ip 401000 sp 7ffc error 4 in runner[401000+1000]",
        "[    1.0] kmemleak: Kernel memory leak detector initialized (mem pool available: 15000)",
        "[    1.0] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
        "[    1.0] debug: DEBUG_LOCKS off",
    ]
    assert classify(lines) == []
