"""Ids of types in two kernels' BTF.

A program can have one in its code (bpf_core_type_id_kernel(), a CO-RE relocation), and so has its log. Any
change of a kernel renumbers its types.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path

# struct btf_header and struct btf_type of include/uapi/linux/btf.h.
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MAGIC = 0xEB9F
# What follows a type, by kind: bytes, and bytes for each of its members. Other kinds have nothing.
_AFTER = {
    1: (4, 0),  # INT
    3: (12, 0),  # ARRAY
    4: (0, 12),  # STRUCT
    5: (0, 12),  # UNION
    6: (0, 8),  # ENUM
    13: (0, 8),  # FUNC_PROTO
    14: (4, 0),  # VAR
    15: (0, 12),  # DATASEC
    17: (4, 0),  # DECL_TAG
    19: (0, 12),  # ENUM64
}
_LAST_KIND = 19

#: Kind and name.
_Named = tuple[int, bytes]


class TypeIds:
    """The ids of two kernels, told by their vmlinux; None, or no BTF in it: not known."""

    def __init__(self, a: Path | None, b: Path | None) -> None:
        self._paths = a, b

    def same(self, one: int, other: int) -> bool:
        """Is ``one`` in the first kernel what ``other`` is in the second: a type of that kind and name?"""
        a, b = self._sides
        return one < len(a) and other < len(b) and a[one] == b[other] and bool(a[one][1])

    @functools.cached_property
    def _sides(self) -> tuple[list[_Named], list[_Named]]:
        a, b = (parse(_btf(path)) if path else [] for path in self._paths)
        return a, b


def _btf(vmlinux: Path) -> bytes:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with vmlinux.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".BTF")
            return bytes(section.data()) if section else b""
    except (OSError, ELFError):
        return b""


def parse(btf: bytes) -> list[_Named]:
    """Kind and name of each type, by id; 0 is void. As far as kinds are known, empty for what is no BTF."""
    if len(btf) < _HEADER.size:
        return []
    magic, _, _, size, type_off, type_len, str_off, str_len = _HEADER.unpack_from(btf)
    if magic != _MAGIC:
        return []
    strings = btf[size + str_off : size + str_off + str_len]
    at, end = size + type_off, min(size + type_off + type_len, len(btf))
    found: list[_Named] = [(0, b"")]
    while at + _TYPE.size <= end:
        name, info, _ = _TYPE.unpack_from(btf, at)
        kind, members = info >> 24 & 0x7F, info & 0xFFFFFF
        if kind > _LAST_KIND:
            break
        found.append((kind, strings[name : strings.find(b"\0", name)]))
        fixed, each = _AFTER.get(kind, (0, 0))
        at += _TYPE.size + fixed + each * members
    return found
