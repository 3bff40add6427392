"""test_progs: which tests are asked for, by name and by list, and in which batches they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfroots.errors import UserError
from bpfroots.selftest import progs_kernel, progs_lists
from bpfroots.selftest.progs_select import Lists, Selection, select_all

_GOLDEN = Path(__file__).parent / "golden/selftest/lists"
_NAMES = ["align", "arena_htab", "verifier_and", "verifier_or"]


def _select(*wanted: str) -> Selection:
    (found,) = select_all([_NAMES], wanted)
    return found


def test_everything_is_run_where_nothing_is_named() -> None:
    assert _select() == Selection(_NAMES)


def test_names_patterns_and_subtests() -> None:
    found = _select("verifier_*", "align/mov", "align/shift*")
    assert found.names == ["align", "verifier_and", "verifier_or"]
    assert found.subtests == {"align": ["mov", "shift*"]}


def test_a_test_that_is_wanted_as_a_whole_is_run_as_one() -> None:
    assert _select("align/mov", "align") == Selection(["align"])


def test_a_test_that_there_is_not() -> None:
    with pytest.raises(UserError, match="no such test") as raised:
        _select("aligm")
    assert raised.value.hint == "-t align"


def test_a_test_that_only_the_series_has() -> None:
    first, other = select_all([_NAMES, [*_NAMES, "multi_root"]], ("multi_root",))
    assert (first.names, other.names) == ([], ["multi_root"])


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """As kernel-patches/vmtest has them."""
    (tmp_path / "DENYLIST").write_text(
        "# TEMPORARY\nalign/mov: 32 bits\nverifier_or\t# broken since the merge\n"
    )
    (tmp_path / "DENYLIST.x86_64").write_text("*htab*                # until next merge (?)\n")
    (tmp_path / "DENYLIST.s390x").write_text("verifier_and\n")
    (tmp_path / "ALLOWLIST").write_text("verifier_*\nalign/x*\n")
    return tmp_path


def test_what_lists_deny_is_not_run_and_says_why(lists: Path) -> None:
    (found,) = select_all([_NAMES], (), [Lists(deny=tuple(progs_lists.read(lists, "DENYLIST")))])
    assert found.to_run == ["align", "verifier_and"]
    assert found.denied == {
        "arena_htab": "denied by DENYLIST.x86_64:1: until next merge (?)",
        "verifier_or": "denied by DENYLIST:3: broken since the merge",
    }
    assert found.denied_subtests == ["align/mov: 32 bits"]


def test_lists_of_other_runs_are_not_taken(tmp_path: Path) -> None:
    """The suffixes that kernel-patches/vmtest and libbpf/ci have (run-vmtest.env)."""
    for suffix in (".asan", ".rc", ".aarch64", ".s390x", ".test_progs-bpf_gcc", ".test_progs_cpuv4"):
        (tmp_path / f"DENYLIST{suffix}").write_text("align\n")
    for suffix in ("", ".x86_64", ".test_progs"):
        (tmp_path / f"DENYLIST{suffix}").write_text(f"verifier{suffix}\n")
    found = [entry.test for entry in progs_lists.read(tmp_path, "DENYLIST")]
    assert found == ["verifier", "verifier.x86_64", "verifier.test_progs"]
    (one,) = progs_lists.read(tmp_path / "DENYLIST.rc", "DENYLIST")
    assert str(one) == "DENYLIST.rc:1"


@pytest.mark.parametrize(
    ("line", "pattern", "note"),
    [
        ("sockmap_basic/sockmap udp multi channels", "sockmap_basic/sockmap udp multi channels", ""),
        ("btf_dump/btf_dump: syntax", "btf_dump/btf_dump: syntax", ""),
        (
            "tc_tunnel/ip6gre*    # connect() 1000ms too short",
            "tc_tunnel/ip6gre*",
            "connect() 1000ms too short",
        ),
        ("timer_interrupt\t\t\t# flaky", "timer_interrupt", "flaky"),
        ("*arena*", "*arena*", ""),
        (
            "exceptions/throwing extension -> main subprog",
            "exceptions/throwing extension -> main subprog",
            "",
        ),
        ("token       # vmtest#473", "token", "vmtest#473"),
        ("fd_array_cnt # wait \u2014 too short", "fd_array_cnt", "wait \u2014 too short"),
    ],
)
def test_lines_as_the_lists_of_bpf_ci_have_them(tmp_path: Path, line: str, pattern: str, note: str) -> None:
    path = tmp_path / "DENYLIST"
    path.write_text(f"# TEMPORARY\n\n{line}\n", encoding="utf-8")
    (entry,) = progs_lists.read(path, "DENYLIST")
    assert (entry.pattern, entry.note, entry.where) == (pattern, note, "DENYLIST:3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "",
            [
                "get_stack_raw_tp",
                "stacktrace_build_id",
                "stacktrace_build_id_nmi",
                "task_fd_query_rawtp",
                "varlen",
            ],
        ),
        (".asan", ["*arena*", "task_local_data", "uprobe_multi_test"]),
        (".riscv64", ["exceptions"]),
        (".s390x", ["exe_ctx", "get_stack_raw_tp", "stacktrace_build_id"]),
    ],
)
def test_the_lists_of_a_tree(name: str, expected: list[str]) -> None:
    """Those of Linux 7.3, as the tree has them."""
    found = progs_lists.read(_GOLDEN / f"DENYLIST{name}", "DENYLIST")
    assert [entry.pattern for entry in found] == expected


def test_what_is_named_runs_though_it_is_denied(lists: Path) -> None:
    deny = tuple(progs_lists.read(lists / "DENYLIST", "DENYLIST"))
    (found,) = select_all([_NAMES], ("verifier_or", "align/mov: 32 bits"), [Lists(deny=deny)])
    assert (found.to_run, found.denied, found.denied_subtests) == (["align", "verifier_or"], {}, [])
    (found,) = select_all([_NAMES], ("verifier_*",), [Lists(deny=deny)])
    assert found.to_run == ["verifier_and"]


def test_only_what_a_list_allows(lists: Path) -> None:
    allow = tuple(progs_lists.read(lists, "ALLOWLIST"))
    (found,) = select_all([_NAMES], (), [Lists(allow=allow)])
    assert (found.names, found.subtests) == (["align", "verifier_and", "verifier_or"], {"align": ["x*"]})


def test_a_directory_without_lists(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no DENYLIST in it"):
        progs_lists.read(tmp_path, "DENYLIST")
    assert progs_lists.of_tree(tmp_path) == []


def test_the_longest_come_first_and_by_themselves() -> None:
    found = progs_kernel.batches(["a", "b", "c", "d"], {"c": 100.0, "a": 30.0, "b": 25.0, "d": 50.0})
    assert found == [["c"], ["d"], ["a", "b"]]


def test_every_test_is_in_one_batch() -> None:
    names = [f"t{n}" for n in range(100)]
    found = progs_kernel.batches(names, {})
    assert sorted(name for batch in found for name in batch) == sorted(names)
    assert all(batch == sorted(batch, key=names.index) for batch in found)
