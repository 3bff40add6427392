"""Roots of a group against the same roots alone; the golden files are of a guest (patched, 7.3.4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfroots.analysis.alone import functions, missing, unlike
from bpfroots.programs.protocol import Mechanism
from bpfroots.results.model import Cell, Root

_GOLDEN = Path(__file__).parent / "golden/xlated"
_ROOTS = ("on_kprobe", "on_cgroup_skb")


def _is(line: str, insn: str) -> bool:
    return [insn] in functions(f"f:\n{line}").values()


def _text(form: str, root: str) -> str:
    return (_GOLDEN / f"{form}-{root}.txt").read_text()


@pytest.mark.parametrize("root", _ROOTS)
def test_a_group_keeps_what_other_roots_need(root: str) -> None:
    alone, group = functions(_text("alone", root)), functions(_text("group", root))
    assert alone[root] == group[root]
    assert 0 < len(alone["bpf_subprog"]) < len(group["bpf_subprog"])
    assert list(missing(_text("alone", root), _text("group", root))) == []


@pytest.mark.parametrize("root", _ROOTS)
def test_twin_an_instruction_less_is_found(root: str) -> None:
    """Each instruction of the root alone is missed where the group's function is without any such."""
    alone, group = _text("alone", root), _text("group", root)
    for name, insns in functions(alone).items():
        for insn in functions(group)[name]:
            before, _, body = group.partition(f"{name}:\n")
            less = "".join(line for line in body.splitlines(keepends=True) if not _is(line, insn))
            found = list(missing(alone, f"{before}{name}:\n{less}"))
            assert (f"{name}: {insn}" in found) == (insn in insns)


def test_the_order_counts() -> None:
    alone = "f:\n   0: (b7) r0 = 1\n   1: (b7) r1 = 2\n   2: (95) exit\n"
    group = "f:\n   0: (b7) r1 = 2\n   1: (b7) r0 = 1\n   2: (95) exit\n"
    assert list(missing(alone, group)) == ["f: (b7) r1 = 2"]


def test_a_function_less_is_found() -> None:
    group = _text("group", "on_kprobe").partition("bpf_subprog:\n")[0]
    assert len(list(missing(_text("alone", "on_kprobe"), group))) == 1


def _cells(run: Path) -> list[Cell]:
    cells = []
    forms: list[tuple[Mechanism, str]] = [("duplicate", "alone"), ("multi_root", "group")]
    for mechanism, form in forms:
        folder = run / mechanism
        folder.mkdir(parents=True)
        paths = {f"{root}.xlated.txt": f"{mechanism}/{root}.xlated.txt" for root in _ROOTS}
        for root in _ROOTS:
            (folder / f"{root}.xlated.txt").write_text(_text(form, root))
        roots = [Root(name, "kprobe", "accept") for name in _ROOTS]
        cells.append(
            Cell("a/b", "patched", mechanism, outcome="pass", verdict="accept", roots=roots, artefacts=paths)
        )
    return cells


def test_of_a_run(tmp_path: Path) -> None:
    assert unlike(tmp_path, _cells(tmp_path)) == []


def test_twin_of_a_run(tmp_path: Path) -> None:
    cells = _cells(tmp_path)
    damaged = tmp_path / "multi_root/on_kprobe.xlated.txt"
    damaged.write_text(damaged.read_text().replace("r6 = *(u32 *)(r6 +104)", "").replace("w6 = 1", "w6 = 2"))
    assert unlike(tmp_path, cells) == ["a/b on_kprobe on patched: not in the group: bpf_subprog: (b4) w6 = 1"]


def test_nothing_compared_is_not_alike(tmp_path: Path) -> None:
    nothing = ["multi_root and duplicate: nothing was compared"]
    copy, group = _cells(tmp_path)
    assert unlike(tmp_path, [copy]) == unlike(tmp_path, [group]) == nothing
    group.artefacts = {}
    assert unlike(tmp_path, [copy, group]) == [
        f"a/b {root} on patched: no translated code to compare" for root in _ROOTS
    ]
