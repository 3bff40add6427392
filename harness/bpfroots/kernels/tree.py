"""The tree a kernel is built from, made so that make rebuilds what changed and nothing else.

One kept tree per definition: hard links to the unpacked source (2 s and no space for 86,000
files), with the files the series changes in their place. Nothing ever writes into a linked file: a
file is replaced. Kbuild goes by modification times, so a file that stays the same keeps its
time, and one that changes gets the present one, also when it goes back to older content.
"""

# Paths are strings here: 86,000 Path objects cost seconds.
# ruff: noqa: PTH103, PTH108, PTH114, PTH115, PTH104, PTH120, PTH211

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import NamedTuple

from bpfroots.progress import Progress

# Kbuild's O= directory lies directly below the source: then $(srctree) is "..", no command line and
# no debug information holds an absolute path, and objects serve other trees as they are
# (Makefile: "building in a subdirectory of the source tree").
OUTPUT = "build"


class Overlay(NamedTuple):
    """Files that a series changes: what they become is below ``directory``; what is not there is removed."""

    directory: Path
    touched: Set[str]


def synchronise(tree: Path, source: Path, overlay: Overlay, names: Iterable[str] | None = None) -> int:
    """Make ``tree`` the content of ``source``, of which only ``names`` where they are given, with the
    ``overlay`` on top.

    Returns how many files changed. Can be killed at any point and run again.
    """
    touched = overlay.touched
    # Without objects no times are compared, and links cost nothing.
    fresh = not (tree / OUTPUT).exists()
    tree.mkdir(parents=True, exist_ok=True)
    names = files(source) if names is None else names
    wanted: dict[str, str] = {name: f"{source}/{name}" for name in names if name not in touched}
    for name in touched:
        if os.path.lexists(overlay.directory / name):
            wanted[name] = f"{overlay.directory}/{name}"
    changed = 0
    for name in files(tree):
        if name not in wanted:
            os.unlink(f"{tree}/{name}")
            changed += 1
    parents: set[str] = set()
    for name, origin in wanted.items():
        target = f"{tree}/{name}"
        if _same(origin, target):
            continue
        parent = os.path.dirname(target)
        if parent not in parents:
            os.makedirs(parent, exist_ok=True)
            parents.add(parent)
        _put(origin, target, link=fresh and name not in touched)
        changed += 1
    return changed


def seed(tree: Path, base: Path, progress: Progress) -> None:
    """Start ``tree`` as a copy of the ``base`` tree and its objects, so that only what differs is built.

    Nothing happens when there is nothing to copy. The caller holds both locks.
    """
    if tree.exists() or not (base / OUTPUT / ".config").exists():
        return
    scratch = tree.with_name(f"{tree.name}.seed")
    shutil.rmtree(scratch, ignore_errors=True)
    with progress.task(f"objects of {base.parent.name}"):
        scratch.mkdir(parents=True)
        for name in files(base):
            target = f"{scratch}/{name}"
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _put(f"{base}/{name}", target, link=True)
        # Real copies: make, ld and objtool write objects in place.
        shutil.copytree(base / OUTPUT, scratch / OUTPUT, symlinks=True)
        # kbuild's link to the source is absolute in some versions.
        (scratch / OUTPUT / "source").unlink(missing_ok=True)
        drop_unfinished(scratch / OUTPUT)
        scratch.rename(tree)


def drop_unfinished(output: Path) -> int:
    """Remove the objects a killed make may have left half-written; returns how many.

    Kbuild writes ``.X.cmd`` after ``X`` is complete (scripts/Kbuild.include, cmd_and_fixdep): an
    ``X`` newer than its ``.X.cmd`` may be half a file which make would take for a good one.
    """
    count = 0
    for directory, _, files in os.walk(output):
        for name in files:
            if not (name.startswith(".") and name.endswith(".cmd")):
                continue
            result = Path(directory, name[1:-4])
            try:
                if result.stat().st_mtime_ns <= Path(directory, name).stat().st_mtime_ns:
                    continue
            except FileNotFoundError:
                continue
            result.unlink()
            count += 1
    return count


def files(root: Path) -> Iterator[str]:
    """Relative paths of all files and symbolic links but for the output and git's own."""
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(f"{root}/{directory}") as entries:
            for entry in entries:
                name = f"{directory}{entry.name}"
                if not entry.is_dir(follow_symlinks=False):
                    yield name
                elif name not in (OUTPUT, ".git"):
                    pending.append(f"{name}/")


def _same(origin: str, target: str) -> bool:
    try:
        have = os.lstat(target)
    except OSError:
        return False
    want = os.lstat(origin)
    if (want.st_ino, want.st_dev) == (have.st_ino, have.st_dev):
        return True
    if stat.S_ISLNK(want.st_mode) or stat.S_ISLNK(have.st_mode):
        return want.st_mode == have.st_mode and os.readlink(origin) == os.readlink(target)
    if (want.st_size, want.st_mode) != (have.st_size, have.st_mode):
        return False
    return filecmp.cmp(origin, target, shallow=False)


def _put(origin: str, target: str, *, link: bool) -> None:
    """``origin`` at ``target``, in one step; a link keeps its time, a copy has the present one."""
    scratch = f"{target}.bpfroots-new"
    if os.path.lexists(scratch):
        os.unlink(scratch)
    if os.path.islink(origin):
        os.symlink(os.readlink(origin), scratch)
    elif not (link and _link(origin, scratch)):
        shutil.copyfile(origin, scratch)
        shutil.copymode(origin, scratch)
        if link:
            shutil.copystat(origin, scratch)
    os.rename(scratch, target)


def _link(origin: str, target: str) -> bool:
    try:
        os.link(origin, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
            raise
        return False
    return True
