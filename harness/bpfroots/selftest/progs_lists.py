"""DENYLIST and ALLOWLIST files, as kernel trees and kernel-patches/vmtest (ci/vmtest/configs) have them.

A line is TEST or TEST/SUBTEST, where * stands for any text, then what follows #: why. A list with a suffix is
for an architecture (DENYLIST.x86_64) or a program (DENYLIST.test_progs).
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bpfroots import arch
from bpfroots.errors import UserError

_SUFFIXES = ("", f".{arch.GUEST.name}", ".test_progs")


@dataclass(frozen=True)
class Entry:
    """``subtest`` is empty for a whole test. ``note`` is what the line says of it, ``where`` is FILE:LINE."""

    test: str
    subtest: str
    note: str
    where: str

    def covers(self, name: str) -> bool:
        """Is it about that test, or about subtests of it?"""
        return fnmatchcase(name, self.test)

    @property
    def pattern(self) -> str:
        """As test_progs takes it."""
        return f"{self.test}/{self.subtest}" if self.subtest else self.test

    def __str__(self) -> str:
        return f"{self.where}{f': {self.note}' if self.note else ''}"


def read(path: Path, kind: str) -> list[Entry]:
    """A list, or all lists of a ``kind`` ("DENYLIST", "ALLOWLIST") in a directory that are for this
    architecture. Raises UserError where there is none, or one cannot be read."""
    files = [path / f"{kind}{suffix}" for suffix in _SUFFIXES] if path.is_dir() else [path]
    files = [file for file in files if file.exists() or not path.is_dir()]
    if not files:
        msg = f"{path}: no {kind} in it"
        raise UserError(msg)
    return [entry for file in files for entry in _read(file)]


def of_tree(directory: Path) -> list[Entry]:
    """What a tree denies itself; ``directory`` is its tools/testing/selftests/bpf."""
    files = (directory / f"DENYLIST{suffix}" for suffix in _SUFFIXES)
    return [entry for file in files if file.is_file() for entry in _read(file)]


def _read(path: Path) -> list[Entry]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise UserError(msg) from None
    found = []
    for number, line in enumerate(lines, 1):
        name, _, note = line.partition("#")
        test, _, subtest = name.strip().partition("/")
        if test:
            found.append(Entry(test, subtest, note.strip(), f"{path.name}:{number}"))
    return found
