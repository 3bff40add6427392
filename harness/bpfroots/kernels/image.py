"""What a bzImage says about itself (Documentation/arch/x86/boot.rst)."""

from __future__ import annotations

import lzma
import struct
import zlib
from pathlib import Path

from bpfroots import process

_MAGIC = b"HdrS"
_MAGIC_AT = 0x202
_XZ = b"\xfd7zXZ\0"
_ZSTD = b"\x28\xb5\x2f\xfd"


def is_bzimage(path: Path) -> bool:
    """Whether ``path`` is a file with the boot protocol's magic."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + 4)[_MAGIC_AT:] == _MAGIC


def release(path: Path) -> str:
    """The release string of a bzImage, empty where it has none."""
    with path.open("rb") as file:
        head = file.read(0x10000)
    (offset,) = struct.unpack_from("<H", head, 0x20E)
    if offset == 0:
        return ""
    text = head[offset + 0x200 :].split(b"\0", 1)[0].decode(errors="replace")
    return text.split(" ", 1)[0]


def config(path: Path) -> str | None:
    """The configuration inside a bzImage (CONFIG_IKCONFIG), None where it cannot be read.

    As scripts/extract-ikconfig, for payloads compressed by xz (tinyconfig's choice), zstd (distributions'
    and ours) and gzip (the default elsewhere).
    """
    data = path.read_bytes()
    (sectors,) = struct.unpack_from("<B", data, 0x1F1)
    (version,) = struct.unpack_from("<H", data, 0x206)
    if version < 0x208:
        return None
    payload_offset, payload_length = struct.unpack_from("<II", data, 0x248)
    start = ((sectors or 4) + 1) * 512 + payload_offset
    payload = data[start : start + payload_length]
    try:
        if payload.startswith(_XZ):
            kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
        elif payload.startswith(_ZSTD):
            # What follows the frame, the kernel's size, is an error to it, after all is written.
            kernel = process.run(["zstd", "-dc"], input=payload).stdout
        else:
            kernel = zlib.decompressobj(31).decompress(payload)
        at = kernel.index(b"IKCFG_ST") + 8
        inner = zlib.decompressobj(31)
        text = inner.decompress(kernel[at:]).decode(errors="replace")
        return text if inner.eof else None
    except (lzma.LZMAError, zlib.error, ValueError):
        return None
