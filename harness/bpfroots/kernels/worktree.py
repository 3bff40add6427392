"""A source tree of the user: what is in it, and which of its files are source. Nothing is written there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from bpfroots import cache
from bpfroots.errors import InfraError
from bpfroots.kernels import tree
from bpfroots.kernels.git import git

# What configuring a tree in place leaves in it: kbuild refuses to build such a tree elsewhere.
_CONFIGURED = frozenset({".config", ".config.old"})


class TreeState(NamedTuple):
    """What a git work tree holds: a commit, and what has changed since (a hash; empty where nothing has)."""

    head: str
    changes: str

    @property
    def id(self) -> str:
        """Wherever a revision is checked out, it is the same source."""
        return f"git:{self.head} changed:{self.changes}" if self.changes else f"git:{self.head}"

    def __str__(self) -> str:
        return f"({self.head[:12]} with changes)" if self.changes else f"({self.head[:12]})"


def state(path: Path) -> TreeState:
    """Raises InfraError where git refuses to look at it."""
    head = _git(path, "rev-parse", "HEAD").decode().strip()
    changes = hashlib.sha256()
    # What is added and what is only in the working tree; ignored files are not source.
    changes.update(_git(path, "diff", "--binary", "--no-ext-diff", "HEAD"))
    for name in sorted(_git(path, "ls-files", "-z", "--others", "--exclude-standard").split(b"\0")):
        file = path / os.fsdecode(name)
        if name and file.is_file():
            changes.update(name + b"\0" + cache.sha256(file).encode())
    clean = changes.hexdigest() == hashlib.sha256().hexdigest()
    return TreeState(head, "" if clean else changes.hexdigest()[:16])


def git_files(path: Path) -> list[str]:
    """What git knows, and what it does not ignore: neither objects nor what is generated."""
    listed = _git(path, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = dict.fromkeys(os.fsdecode(name) for name in listed.split(b"\0") if name)
    # A file that was deleted is still in the index; a repository in the tree is listed as a directory.
    present = (name for name in names if not name.endswith("/") and os.path.lexists(f"{path}/{name}"))
    return [name for name in present if name not in _CONFIGURED]


def plain_files(path: Path) -> list[str]:
    """All files of a tree without git."""
    return [name for name in tree.files(path) if name not in _CONFIGURED]


def list_hash(path: Path) -> str:
    """Names, sizes and times of every file: reading 1.5 GB for each start is too slow."""
    digest = hashlib.sha256()
    for directory, subdirectories, files in os.walk(path):
        subdirectories.sort()
        for name in sorted(files):
            status = os.lstat(f"{directory}/{name}")
            relative = os.path.relpath(directory, path)
            line = f"{relative}/{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _git(path: Path, *arguments: str) -> bytes:
    answer = git(path, *arguments)
    if answer.returncode != 0:
        msg = f"{path}: git {arguments[0]} failed"
        raise InfraError(
            msg,
            detail=answer.stderr.decode(errors="replace").strip(),
            hint=f"git config --global --add safe.directory {path}, when git calls its ownership dubious",
        )
    return answer.stdout
