"""Bring a series to another source: a git tree of that source with the series as commits on top.

What `git am` does not take GNU patch may, with fuzz, which is said; where that ends too, the tree is left
in the middle of ``git am`` with the hunks that fit applied and the others in ``*.rej``. It is git's from
there on: resolve, ``git add``, ``git am --continue``; `finish` then writes the series again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bpfroots import process
from bpfroots.errors import InfraError, UserError
from bpfroots.kernels import build, series, source
from bpfroots.kernels.git import git
from bpfroots.kernels.spec import Definition
from bpfroots.progress import Progress

#: The commit below the series that is brought along.
BASE = "refs/bpfroots/base"
_IDENTITY = {"user.name": "bpfroots developers", "user.email": "bpfroots@example.org"}
_SHORTLOG = re.compile(r"^\S.* \(\d+\):$", re.MULTILINE)
_COVER_SUBJECT = re.compile(r"^Subject: \[PATCH[^\]]*\] (.*(?:\n .*)*)$", re.MULTILINE)


class Rebased(msgspec.Struct):
    """``applied`` of ``patches`` are commits in ``tree``. ``fuzzy`` are those that needed fuzz, with what
    did not fit. ``conflict`` is the patch to resolve, empty where all apply; its hunks that do not are in
    ``rejects``, relative to ``tree``."""

    tree: str
    patches: int
    applied: int
    fuzzy: dict[str, str]
    conflict: str
    rejects: list[str]


def start(definition: Definition, tree: Path, progress: Progress, name: str | None = None) -> Rebased:
    """Make ``tree`` and apply the series ``name`` of a kernel there, as far as it goes; what comes before
    that series has to apply as it is.

    Raises UserError for a kernel without a series, without that one, or with several where none is named,
    and for a ``tree`` that is not empty, KernelError or InfraError for a source that cannot be had.
    """
    before, directory = _chosen(definition, name)
    patches = series.read([directory]).patches
    if tree.exists() and any(tree.iterdir()):
        msg = f"{tree}: not empty: another rebase of a series may be under way there"
        raise UserError(msg, hint=f"--finish writes what is there into the series; rm -r {tree} starts anew")
    located = build.plan(definition, progress).located
    origin = source.unpacked(located, progress)
    with progress.task(f"git tree  {tree}"):
        _copy(origin, tree)
        _init(tree, located.what)
        for patch in series.read(before).patches if before else ():
            _git(tree, "am", "-q", patch)
        _git(tree, "update-ref", BASE, "HEAD")
    return _apply(tree, patches)


def finish(definition: Definition, tree: Path, name: str | None = None) -> list[Path]:
    """Write the commits of ``tree`` as the series ``name`` of a kernel; its patches.

    The cover letter keeps its subject and text. Raises UserError where there is nothing to be written,
    or work that is not committed.
    """
    if git(tree, "rev-parse", "-q", "--verify", BASE).returncode:
        msg = f"{tree}: no tree of rebase-series"
        raise UserError(msg, hint=f"bpfroots kernel rebase-series {definition.name}")
    if (tree / ".git/rebase-apply").exists():
        msg = f"{tree}: git am is still in progress"
        raise UserError(msg, hint=f"resolve the conflict, git add, then git -C {tree} am --continue")
    if _git(tree, "status", "--porcelain", "--untracked-files=no").strip():
        msg = f"{tree}: there are changes that are not committed"
        raise UserError(msg, hint=f"git -C {tree} commit, or git -C {tree} stash")
    _, directory = _chosen(definition, name)
    if not directory.is_dir():
        msg = f"{directory}: the series is a file, which is not written to"
        raise UserError(msg, hint=f"git -C {tree} format-patch {BASE}")
    old = sorted(directory.glob("0000-*.patch"))
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        new = Path(scratch)
        options = ["--cover-letter"] if old else ["--start-number=1"]
        _git(tree, "format-patch", "-q", "-n", "--zero-commit", "--no-signature", *options, "-o", new, BASE)
        patches = sorted(new.glob("*.patch"))
        if not patches:
            msg = f"{tree}: no commits above {BASE}"
            raise UserError(msg)
        if old:
            patches[0].write_text(_cover(patches[0].read_text(), old[0].read_text()))
        return _replace(directory, patches)


def _chosen(definition: Definition, name: str | None) -> tuple[tuple[Path, ...], Path]:
    """What applies before the series ``name`` of a kernel's own ones, and its directory."""
    own = definition.series[-definition.own :] if definition.own else ()
    found = [directory for directory in own if name in (None, directory.name)]
    if len(found) == 1:
        return definition.series[: definition.series.index(found[0])], found[0]
    known = ", ".join(directory.name for directory in own)
    if not own:
        msg = f"kernel {definition.name} has no series"
        raise UserError(msg, hint="give it one: series = NAME in its definition")
    if not found:
        msg = f"kernel {definition.name} has no series {name}"
        raise UserError(msg, hint=f"there is: {known}")
    msg = f"kernel {definition.name} has several series"
    raise UserError(msg, hint=f"--series names one of them: {known}")


def _copy(origin: Path, tree: Path) -> None:
    # Never links: people edit here, and the origin is the cache's, or the user's own tree.
    tree.mkdir(parents=True, exist_ok=True)
    done = process.run(["cp", "-a", "--reflink=auto", f"{origin}/.", tree])
    if done.returncode:
        msg = f"{tree}: {done.stderr.decode(errors='replace').strip()[-200:]}"
        raise InfraError(msg, hint="--tree names a directory on a disk with room for a kernel source")
    shutil.rmtree(tree / ".git", ignore_errors=True)


def _init(tree: Path, what: str) -> None:
    _git(tree, "init", "-q")
    for name, value in _IDENTITY.items():
        if not git(tree, "config", name).stdout:
            _git(tree, "config", name, value)
    # Packages bring files that their own .gitignore names.
    _git(tree, "add", "-A", "-f")
    _git(tree, "commit", "-q", "-m", what)


def _apply(tree: Path, patches: Sequence[Path]) -> Rebased:
    fuzzy: dict[str, str] = {}
    done = git(tree, "am", "-q", *[patch.resolve() for patch in patches])
    while done.returncode:
        number = _next(tree)
        if number is None:
            msg = f"git am takes none of the patches: {_words(done)}"
            raise UserError(msg, hint="each is a mail, as git format-patch writes it")
        patch = patches[number - 1]
        words = series.apply_with_fuzz(tree, patch)
        if words is None:
            return Rebased(str(tree), len(patches), number - 1, fuzzy, patch.name, _reject(tree, patch))
        fuzzy[patch.name] = words
        _git(tree, "add", "-f", "--", *sorted(series.touched([patch])))
        done = git(tree, "am", "-q", "--continue")
        if done.returncode and _next(tree) == number:
            msg = f"{patch.name}: git am --continue: {_words(done)}"
            raise InfraError(msg)
    return Rebased(str(tree), len(patches), len(patches), fuzzy, "", [])


def _next(tree: Path) -> int | None:
    """The number of the patch that git am stopped at."""
    try:
        return int((tree / ".git/rebase-apply/next").read_text())
    except (OSError, ValueError):
        return None


def _reject(tree: Path, patch: Path) -> list[str]:
    """Apply the hunks that fit; what does not is left in files, which are returned."""
    before = set(tree.rglob("*.rej"))
    git(tree, "apply", "--reject", "--whitespace=nowarn", patch.resolve())
    return sorted(path.relative_to(tree).as_posix() for path in set(tree.rglob("*.rej")) - before)


def _cover(new: str, old: str) -> str:
    """The text of ``old`` with the list of patches and the diffstat of ``new``."""
    subject = _COVER_SUBJECT.search(old)
    _, _, body = old.partition("\n\n")
    shortlog = _SHORTLOG.search(body)
    text = body[: shortlog.start()] if shortlog else body
    new = new.replace("*** BLURB HERE ***\n\n", text, 1)
    return new.replace("*** SUBJECT HERE ***", subject[1] if subject else "", 1)


def _replace(directory: Path, patches: Sequence[Path]) -> list[Path]:
    listing = directory / "series"
    lines = listing.read_text().splitlines() if listing.is_file() else []
    comments = [line for line in lines if line.startswith("#")]
    for path in directory.glob("[0-9][0-9][0-9][0-9]-*.patch"):
        path.unlink()
    kept = [Path(shutil.move(path, directory / path.name)) for path in patches]
    listed = [path.name for path in kept if not path.name.startswith("0000-")]
    listing.write_text("".join(f"{line}\n" for line in [*comments, *listed]))
    return kept


def _git(tree: Path, *arguments: str | Path) -> str:
    done = git(tree, *arguments)
    if done.returncode:
        msg = f"{tree}: git {arguments[0]}: {_words(done)}"
        raise InfraError(msg)
    return done.stdout.decode(errors="replace")


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join((done.stderr or done.stdout).decode(errors="replace").split())[-300:]
