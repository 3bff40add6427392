"""A BTF of a few types, and an ELF file with it."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Bytes after a type, by kind; with two members where it has members.
_AFTER = {1: 4, 3: 12, 4: 24, 5: 24, 6: 16, 13: 16, 14: 4, 15: 24, 17: 4, 19: 24}
_WITH_MEMBERS = (4, 5, 6, 13, 15, 19)


def btf(types: Sequence[tuple[int, str]]) -> bytes:
    """Types by kind and name, with ids from 1."""
    strings, body = b"\0", b""
    for kind, name in types:
        members = 2 if kind in _WITH_MEMBERS else 0
        body += struct.pack("<III", len(strings) if name else 0, kind << 24 | members, 0)
        body += b"\xff" * _AFTER.get(kind, 0)
        strings += name.encode() + b"\0"
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings))
    return header + body + strings


def vmlinux(path: Path, types: Sequence[tuple[int, str]]) -> Path:
    """An ELF file with this BTF."""
    content = path.with_suffix(".btf")
    content.write_bytes(btf(types))
    subprocess.run(["gcc", "-c", "-x", "c", "/dev/null", "-o", path], check=True)
    subprocess.run(["objcopy", "--add-section", f".BTF={content}", path], check=True)
    return path
