"""A patch series: files listed in a quilt ``series`` file, or what `thread` makes of mails.

Applied to copies of the few files it touches, never to a tree: what comes out is an overlay,
and tree.py decides which files of the build's tree it changes.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import mail, thread
from bpfroots.kernels.git import environment, git
from bpfroots.process import run

_TOUCHED = re.compile(rb"^(?:--- a/|\+\+\+ b/|rename (?:from|to) |copy (?:from|to) )([^\t\n]+)", re.MULTILINE)
_DIFF_LINE = re.compile(rb"^diff --git a/(\S+) b/(\S+)$", re.MULTILINE)
_FAILED = re.compile(r"error: patch failed: (.+):(\d+)$")
_APPLYING = re.compile(r"Applying patch (.+) with \d+ rejects?\.\.\.$")
_PATCHING = re.compile(r"(?:checking|patching) file (.+)$")
_HUNK = re.compile(r"(?:Hunk #\d+ applied|Rejected hunk #(\d+)\.$)")


class DoesNotApply(KernelError):
    """Patch ``number`` of a series, counted from 1, does not apply. ``complaints`` are git's, and on which
    source; ``kept`` are the files with the hunks that it rejects."""

    def __init__(
        self, message: str, number: int, complaints: Sequence[str], kept: Sequence[Path], hint: str
    ) -> None:
        *said, where = complaints
        detail = "\n".join([*said, *(f"kept in {path}" for path in kept), where])
        super().__init__(message, detail=detail, hint=hint)
        self.number = number
        self.complaints = complaints


class Fuzz(NamedTuple):
    """Patch ``number`` of ``total``, counted from 1, applies with fuzz; ``how`` is `apply_with_fuzz`'s."""

    number: int
    total: int
    patch: str
    how: str

    def __str__(self) -> str:
        return f"patch {self.number} of {self.total} needs fuzz: {self.patch}: {self.how}"


@dataclass(frozen=True)
class Series:
    """Plain patches in order, of one series or of several that build upon each other ("first+second").
    ``id`` is a hash of the patches' names and contents."""

    name: str
    patches: tuple[Path, ...]
    id: str


def read(paths: Sequence[Path], own: int = 1, first: int | None = None) -> Series:
    """The series in ``paths``, one after the other; of the last ``own`` the ``first`` patches. Each is a
    directory with or without a ``series`` file, a mailbox, or a patch; of mails as `git am` takes them.

    Raises UserError for a list that does not fit its files, for what `thread.patches` does not take, and for
    fewer patches than ``first``.
    """
    listed = [_listed(path) if (path / "series").is_file() else thread.patches(path) for path in paths]
    split = len(listed) - own
    base, mine = itertools.chain(*listed[:split]), list(itertools.chain(*listed[split:]))
    if first is not None and first > len(mine):
        names = "+".join(path.name for path in paths[split:])
        msg = f"series {names} has {len(mine)} patches, not {first}"
        raise UserError(msg)
    patches = [*base, *mine[:first]]
    digest = hashlib.sha256()
    for path in patches:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return Series("+".join(path.name for path in paths), tuple(patches), digest.hexdigest())


def _listed(directory: Path) -> list[Path]:
    patches: list[Path] = []
    listing = directory / "series"
    for number, raw in enumerate(listing.read_text().splitlines(), 1):
        words = raw.split("#")[0].split()
        if not words:
            continue
        if words[1:] not in ([], ["-p1"]):
            msg = f"{listing}:{number}: {' '.join(words[1:])}: only -p1 patches are taken"
            raise UserError(msg, hint="git format-patch writes them so")
        path = directory / words[0]
        if not path.is_file():
            msg = f"{listing}:{number}: no patch {words[0]}"
            raise UserError(msg, hint="remove the line or add the file")
        patches += [path] if mail.is_plain(path.read_bytes()) else thread.patches(path)
    return patches


def touched(patches: Iterable[Path]) -> set[str]:
    """Every path that one of ``patches`` names."""
    return {name for patch in patches for name in _paths(patch.read_bytes())}


def apply(
    series: Series, source: Path, work: Path, source_id: str, fuzzy: Callable[[Fuzz], None] | None = None
) -> set[str]:
    """Apply all patches below ``work`` (empty), to copies of what they touch in ``source``.

    With ``fuzzy`` GNU patch may apply with fuzz what git would not, and ``fuzzy`` is told which patch
    that was. Returns the touched paths: one that exists below ``work`` has that content now, one
    that does not is deleted. Raises DoesNotApply for the first patch that does not; its rejected
    hunks are kept below ``work``, in ``rejects/``.
    """
    tree = work / "tree"
    tree.mkdir()
    found: set[str] = set()
    for number, patch in enumerate(series.patches, 1):
        content = patch.read_bytes()
        for name in _paths(content) - found:
            found.add(name)
            original = source / name
            if original.is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(original, tree / name, follow_symlinks=False)
                if not original.is_symlink():
                    shutil.copymode(original, tree / name)
        if _git_apply(tree, patch).returncode != 0:
            how = apply_with_fuzz(tree, patch) if fuzzy else None
            if fuzzy is None or how is None:
                raise _rejected(series, number, patch, tree, source_id)
            fuzzy(Fuzz(number, len(series.patches), patch.name, how))
    return found


def apply_with_fuzz(tree: Path, patch: Path) -> str | None:
    """Apply ``patch`` by GNU patch, which puts up with other context; None where it changes nothing.

    Returns what did not fit, in patch's words: "kernel/bpf/core.c: Hunk #2 succeeded at 41 with fuzz 1".
    """
    command: list[str | Path] = ["patch", "-p1", "--force", "--no-backup-if-mismatch", "--fuzz=3"]
    command += ["--reject-file=-", "-d", tree, "-i", patch.resolve()]
    if run([*command, "--dry-run"], env=environment()).returncode != 0:
        return None
    said = run(command, env=environment()).stdout.decode(errors="replace")
    found, file = [], ""
    for line in said.splitlines():
        if match := _PATCHING.match(line):
            file = match[1]
        elif "fuzz" in line or "offset" in line:
            found.append(f"{file}: {line.rstrip('.')}")
    return "; ".join(found)


def _paths(patch: bytes) -> set[str]:
    """Every path a patch names; a line of a hunk that looks like a header does no harm."""
    found = set(_TOUCHED.findall(patch))
    found |= {name for pair in _DIFF_LINE.findall(patch) for name in pair}
    return {name.decode(errors="surrogateescape") for name in found if b".." not in name.split(b"/")}


def _git_apply(tree: Path, patch: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    # Inside a repository git apply skips what lies outside the current directory, without a
    # word (git-apply(1)): it must not find the one the cache may happen to lie in.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(tree.parent.resolve())}
    return git(tree, "apply", "--whitespace=nowarn", *options, patch.resolve(), **ceiling)


def _rejected(series: Series, number: int, patch: Path, tree: Path, source_id: str) -> DoesNotApply:
    """Apply once more, keeping what does not fit, and say where it does not."""
    answer = _git_apply(tree, patch, "--reject", "--verbose")
    kept = tree.parent / "rejects"
    kept.mkdir(exist_ok=True)
    complaints = _complaints(answer.stderr.decode(errors="replace"))
    found = []
    for reject in tree.rglob("*.rej"):
        name = f"{patch.stem}--{reject.relative_to(tree).as_posix().replace('/', '-')}"
        shutil.move(reject, kept / name)
        found.append(kept / name)
    return DoesNotApply(
        f"patch {number} of {len(series.patches)} does not apply: {patch.name}",
        number,
        [*complaints, f"the source is {source_id}"],
        found,
        hint=f"rebase series {series.name} onto this source",
    )


def _complaints(verbose: str) -> list[str]:
    """``file:line: hunk 3 of 9 rejected`` out of what ``git apply --reject -v`` says."""
    failed: dict[str, list[str]] = {}
    rejected: dict[str, list[int]] = {}
    hunks: dict[str, int] = {}
    other: list[str] = []
    current = ""
    for text in verbose.splitlines():
        if match := _FAILED.match(text):
            failed.setdefault(match[1], []).append(match[2])
        elif match := _APPLYING.match(text):
            current = match[1]
        elif match := _HUNK.match(text):
            hunks[current] = hunks.get(current, 0) + 1
            if match[1]:
                rejected.setdefault(current, []).append(int(match[1]))
        elif text.startswith("error: ") and not text.startswith("error: while searching for"):
            other.append(text.removeprefix("error: "))
    lines = []
    for name, places in failed.items():
        numbers = rejected.get(name, [])
        for index, place in enumerate(places):
            which = f" {numbers[index]} of {hunks[name]}" if index < len(numbers) else ""
            lines.append(f"{name}:{place}: hunk{which} rejected")
    return lines + other
