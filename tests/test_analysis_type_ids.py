"""Which ids stand for one type in two kernels: of a small BTF, and of a kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.analysis.type_ids import TypeIds, parse
from bpfroots.jobs.kit import Kit
from tests.small_btf import btf, vmlinux

_INT, _STRUCT, _TYPEDEF = 1, 4, 8


def test_a_type_of_the_same_kind_and_name(tmp_path: Path) -> None:
    a = vmlinux(tmp_path / "a", [(_INT, "int"), (_STRUCT, "file"), (_TYPEDEF, "u8"), (_STRUCT, "")])
    more = [(_STRUCT, ""), (_STRUCT, "new"), (_TYPEDEF, "file"), (_STRUCT, "file")]
    b = vmlinux(tmp_path / "b", [(_INT, "int"), *more])
    ids = TypeIds(a, b)
    assert ids.same(1, 1)
    assert ids.same(2, 5)
    # Another kind, another name, no name, void, and ids that there are not.
    assert not any(ids.same(*pair) for pair in ((2, 4), (2, 3), (4, 2), (0, 0), (99, 99), (2, 99)))


def test_without_a_vmlinux_or_btf_nothing_is_known(tmp_path: Path) -> None:
    known = vmlinux(tmp_path / "a", [(_INT, "int")])
    (tmp_path / "text").write_text("no ELF")
    for other in (None, tmp_path / "gone", tmp_path / "text"):
        assert not TypeIds(known, other).same(1, 1)
    assert TypeIds(known, known).same(1, 1)


@pytest.mark.parametrize("kind", range(1, 20))
def test_every_kind_is_as_long_as_it_is(kind: int) -> None:
    assert parse(btf([(kind, "one"), (_INT, "after")])) == [(0, b""), (kind, b"one"), (_INT, b"after")]


def test_a_kind_that_is_not_known_ends_it() -> None:
    assert parse(btf([(_INT, "int"), (20, "new"), (_INT, "after")])) == [(0, b""), (_INT, b"int")]


@given(st.binary(max_size=80), st.integers(0, 80))
def test_anything_can_be_read(noise: bytes, size: int) -> None:
    parse(noise)
    parse(btf([(_STRUCT, "a"), (_INT, "b")])[:size] + noise)


@pytest.mark.guest
def test_types_of_a_kernel(kit: Kit) -> None:
    path = kit.kernels[0].image.vmlinux
    assert path
    ids = TypeIds(path, path)
    same = [number for number in range(1, 200_000) if ids.same(number, number)]
    assert len(same) > 5000
    # A few functions have the name of another one.
    assert sum(ids.same(number, number + 1) for number in same) < len(same) / 10
