"""Deterministic initramfs archives: the same entries give the same bytes.

Format: cpio "newc" (Documentation/driver-api/early-userspace/buffer-format.rst). Owner root,
times zero, inode numbers by position, names sorted.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# init/initramfs.c looks for the next archive's header at a multiple of 4, after zeros.
ALIGNMENT = 4
_TRAILER = "TRAILER!!!"
_MAGIC = b"070701"
# The magic, and 13 numbers of 8 digits.
_HEADER = 110


@dataclass(frozen=True)
class Entry:
    """One name in the archive. ``path`` is relative to the root, without a leading slash.

    ``mode`` has the file type bits as in stat(2). ``data`` is a file's contents or
    a symbolic link's target; ``device`` is (major, minor) of a device node.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, data)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """A character device."""
    return Entry(path, stat.S_IFCHR | mode, b"", (major, minor))


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """``entries`` and, mode 0755, each directory on their way that is not among them."""
    known = {entry.path: entry for entry in entries}
    for path in list(known):
        for parent in PurePosixPath(path).parents:
            name = str(parent)
            if name != "." and name not in known:
                known[name] = directory(name)
    return list(known.values())


def archive(entries: Iterable[Entry]) -> bytes:
    """The cpio archive of ``entries``, parents before children, padded for concatenation.

    Raises ValueError for a path that is absolute, not normal, or there twice.
    """
    out = bytearray()
    seen: set[str] = set()
    ordered = sorted(entries, key=lambda entry: PurePosixPath(entry.path).parts)
    for number, entry in enumerate(ordered, start=1):
        if not _is_normal(entry.path) or entry.path in seen:
            msg = f"initramfs: bad or repeated path {entry.path!r}"
            raise ValueError(msg)
        seen.add(entry.path)
        _append(out, number, entry)
    _append(out, 0, Entry(_TRAILER, 0))
    return bytes(out)


def read(data: bytes) -> Iterator[Entry]:
    """The entries of the archives that ``data`` is, one after the other, but for owners and times.

    Raises ValueError for anything else.
    """
    at = 0
    while at < len(data):
        if data[at : at + 6] != _MAGIC:
            msg = f"initramfs: no archive at byte {at}"
            raise ValueError(msg)
        fields = [int(data[n : n + 8], 16) for n in range(at + 6, at + _HEADER, 8)]
        mode, size, *device, name_size = (fields[n] for n in (1, 6, 9, 10, 11))
        name = data[at + _HEADER : at + _HEADER + name_size - 1].decode()
        begin = _aligned(at + _HEADER + name_size)
        at = _aligned(begin + size)
        if name != _TRAILER:
            yield Entry(name, mode, data[begin : begin + size], (device[0], device[1]))


def unpack(entries: Iterable[Entry], out: Path) -> None:
    """Write ``entries`` below ``out``, but for devices; of two with one name the later one."""
    for entry in sorted({entry.path: entry for entry in entries}.values(), key=lambda entry: entry.path):
        path, mode = out / entry.path, stat.S_IMODE(entry.mode)
        if stat.S_ISDIR(entry.mode):
            path.mkdir()
            path.chmod(mode)
        elif stat.S_ISLNK(entry.mode):
            path.symlink_to(entry.data.decode())
        elif stat.S_ISREG(entry.mode):
            path.write_bytes(entry.data)
            path.chmod(mode)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _is_normal(path: str) -> bool:
    return (
        path not in ("", ".", _TRAILER)
        and "\0" not in path
        and not path.startswith("/")
        and ".." not in path.split("/")
        and str(PurePosixPath(path)) == path
    )


def _append(out: bytearray, number: int, entry: Entry) -> None:
    name = entry.path.encode() + b"\0"
    fields = (
        number,
        entry.mode,
        0,  # uid
        0,  # gid
        2 if stat.S_ISDIR(entry.mode) else 1,  # nlink: a file with more would be looked up as a hard link
        0,  # mtime
        len(entry.data),
        0,  # device of the file system, major and minor
        0,
        *entry.device,
        len(name),
        0,  # checksum, unused in newc
    )
    out += _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    out += bytes(-len(out) % ALIGNMENT)
    out += entry.data
    out += bytes(-len(out) % ALIGNMENT)
