"""Which programs were loaded together, and which functions they share: what load and the case page say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest

from bpfroots.analysis.groups import Groups, groups
from bpfroots.programs.protocol import Mechanism
from bpfroots.report import case_page, loads, terminal, text
from bpfroots.results.model import Cell, Jit, JitImage, Root, Verification


def _root(name: str, **functions: str) -> Root:
    """``functions``: name → address."""
    images = [
        JitImage(f"bpf_prog_{n}", addr, n, 100, 0, 0, 0) for n, addr in {name: "f0", **functions}.items()
    ]
    return Root(name, "tc", "accept", jit=Jit(images))


def _cell(
    roots: list[Root], *together: list[str], mechanism: Mechanism = "multi_root", kernel: str = "k"
) -> Cell:
    verified = [Verification(list(names), "accept") for names in together]
    return Cell(
        "x.bpf.o", kernel, mechanism, outcome="pass", verdict="accept", roots=roots, verifications=verified
    )


def _shared() -> list[Root]:
    return [_root("a", body="e1", deep="e2"), _root("b", body="e1", deep="e2"), _root("c", body="e3")]


def test_a_group_and_its_functions() -> None:
    found = groups(_cell(_shared(), ["a", "b"], ["c"]))
    assert found == Groups([["a", "b"]], ["c"], {"body": ["a", "b"], "deep": ["a", "b"]})
    assert text.groups(found) == [
        "one load: a, b",
        "loaded alone: c",
        "shared function: body, called by a, b",
        "shared function: deep, called by a, b",
    ]


def test_twin_copies_are_not_shared() -> None:
    """The same code at two addresses, and an address that is hidden."""
    for address in ("e9", "0000"):
        roots = [_root("a", body="e1" if address != "0000" else address), _root("b", body=address)]
        found = groups(_cell(roots, ["a"], ["b"]))
        assert found == Groups([], ["a", "b"], {})
        assert text.groups(found) == ["loaded alone: a, b", "no function is shared"]


def test_the_page_of_a_case_has_them_where_functions_may_be_shared(tmp_path: Path) -> None:
    mechanisms: tuple[Mechanism, ...] = ("duplicate", "multi_root")
    cells = [_cell(_shared(), ["a", "b"], ["c"], mechanism=m) for m in mechanisms]
    columns = case_page.context(tmp_path, cells, {}, up="")["columns"]
    assert [column.shared[:1] for column in cast("list[Any]", columns)] == [[], ["one load: a, b"]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    console = terminal.console(stream)
    monkeypatch.setattr(terminal, "console", lambda: console)
    return stream


def test_load_prints_them_of_one_kernel(said: io.StringIO) -> None:
    copies = [_root(name, body=f"e{name}") for name in "abc"]
    cells = [
        _cell(copies, ["a"], ["b"], ["c"], mechanism="duplicate"),
        _cell(_shared(), ["a", "b"], ["c"]),
    ]
    loads.print_loads(cells, Path())
    lines = [line.rstrip() for line in said.getvalue().splitlines()]
    assert lines[-5:] == [
        "  multi_root on k",
        "    one load: a, b",
        "    loaded alone: c",
        "    shared function: body, called by a, b",
        "    shared function: deep, called by a, b",
    ]
    assert "duplicate on k" not in said.getvalue()


def test_load_prints_equal_ones_of_several_kernels_once(said: io.StringIO) -> None:
    loads.print_loads([_cell(_shared(), ["a", "b"], ["c"], kernel=kernel) for kernel in ("k", "l")], Path())
    assert said.getvalue().count("shared function: body") == 1
    assert "  multi_root on k, l\n" in said.getvalue()
