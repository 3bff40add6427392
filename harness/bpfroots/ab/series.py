"""The series that `ab` is given, in any form, as plain patches on a base: what ``--kernel BASE+PATH`` takes.

Everything is found out here, before anything is built: what of it cannot be taken, on which base it is, and
whether each patch applies.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bpfroots import process
from bpfroots.ab.model import Problem, SeriesInfo, SeriesPatch
from bpfroots.cache import Cache
from bpfroots.errors import InfraError, UserError
from bpfroots.kernels import Definition, resolve, series, source, spec, thread
from bpfroots.kernels.git import commit_of, environment, git, is_clean, is_repository
from bpfroots.progress import Progress
from bpfroots.settings import cache_root, resource

_IDENTITY = ("-c", "user.name=bpfroots", "-c", "user.email=bpfroots@example.org")
_RANGE = re.compile(r"(?P<first>[^\s/][^\s]*?)\.\.\.?(?P<last>[^\s]*)")
_MESSAGE_ID = re.compile(r"<?([^\s/<>@]+@[^\s/<>@]+)>?")
_ARCHIVE = re.compile(r"https?://\S+")
_BASE_COMMIT = re.compile(rb"^base-commit: ([0-9a-f]{12,40})\s*$", re.MULTILINE)
_PREREQUISITE = re.compile(rb"^prerequisite-(?:patch-id|message-id|change-id): (\S+)", re.MULTILINE)
_SUBJECT = re.compile(rb"^Subject: (.*(?:\n[ \t].*)*)", re.MULTILINE)
_TAGS = re.compile(r"^(?:\[[^\]]*\]\s*)+")
_LINES = 8


@dataclass(frozen=True)
class Taken:
    """A series on its base. ``base`` is an argument of ``--kernel``, ``path`` the series on top of it."""

    base: str
    path: Path
    info: SeriesInfo
    problem: Problem | None = None

    @property
    def patched(self) -> str:
        """The base with the whole series, as ``--kernel`` takes it."""
        return f"{self.base}+{self.path}"

    def prefix(self, patches: int) -> str:
        """The base with the first ``patches`` patches."""
        return f"{self.patched}@{patches}" if patches else self.base

    @property
    def count(self) -> int:
        return len(self.info.patches)


def take(name: str, linux: str, progress: Progress) -> Taken:
    """The series that ``--series`` names, on what ``--linux`` names.

    Raises UserError for what is no series, or no source that one could be put on top of, and InfraError where
    b4 is missing or gets nothing. What does not apply is in ``problem``.
    """
    below = _source(linux)
    tree = _git_tree(below)
    found = _found(name, tree, below, progress)
    patches = series.read([found.path])
    if not patches.patches:
        msg = f"--series {name}: no patch in it"
        raise UserError(msg, hint="git format-patch writes patches")
    base, notes = (found.base, []) if found.base else _base(below, tree, _base_commit(found.path))
    notes += _prerequisites(found.path)
    listed = [SeriesPatch(patch.name, _subject(patch)) for patch in patches.patches]
    info = SeriesInfo(found.path.name, base, listed, found.left_out, notes)
    return _applied(Taken(base, found.path, info), tree, patches, progress)


# -- where it comes from -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A series as a path, and what of it is none of its patches. ``base`` is set of a range of commits."""

    path: Path
    left_out: list[tuple[str, str]]
    base: str = ""


def _found(name: str, tree: Path | None, below: Definition, progress: Progress) -> _Found:
    path = Path(name).expanduser()
    if path.exists():
        path = path.resolve()
        return _Found(path, [] if (path / "series").is_file() else thread.left_out(path))
    known = resource(f"kernels/patches/{name}")
    if "/" not in name and known.exists():
        return _Found(known.resolve(), [])
    if match := _RANGE.fullmatch(name):
        if tree is None:
            msg = f"--series {name}: a range of commits, but {below.argument} is no git tree"
            raise UserError(msg, hint="--linux TREE names the kernel's git tree")
        return _range(tree, match["first"], match["last"] or "HEAD")
    if (match := _MESSAGE_ID.fullmatch(name)) or _ARCHIVE.fullmatch(name):
        path = from_list(match[1] if match else name, progress)
        return _Found(path, thread.left_out(path))
    msg = f"--series {name}: no such file, directory or series in kernels/patches"
    raise UserError(msg, hint="a directory of patches, a mailbox, REV..REV with --linux, or a message id")


def _range(tree: Path, first: str, last: str) -> _Found:
    """The commits of ``last`` that ``first`` has not, as patches in the cache. Merges have none: a range with
    merges is one patch."""
    ends = [_commit(tree, revision) for revision in (first, last)]
    base = git(tree, "merge-base", *ends).stdout.decode().strip()
    if not base or base == ends[1]:
        msg = f"--series {first}..{last}: no commits in that range of {tree}"
        raise UserError(msg, hint="REV..REV: first what it is based on")
    merges = git(tree, "log", "--merges", "--format=%h %s", f"{base}..{ends[1]}").stdout.decode(
        errors="replace"
    )

    def export(out: Path) -> None:
        series_dir = out / _safe(f"{first}..{last}")
        series_dir.mkdir()
        if merges:
            diff = git(tree, "diff", "--binary", "--full-index", "--no-ext-diff", base, ends[1])
            (series_dir / "0001-all.patch").write_bytes(diff.stdout)
        else:
            git(
                tree, "format-patch", "-q", "--binary", "--full-index", "-o", series_dir, f"{base}..{ends[1]}"
            )

    entry = Cache(cache_root(), "ab").get(f"{base[:20]}-{ends[1][:20]}", export)
    (path,) = (one for one in entry.iterdir() if one.is_dir())
    merged = [(line, "a merge: the range is taken as one patch") for line in merges.splitlines()]
    return _Found(path, merged, f"{tree}@{base[:12]}")


def from_list(message_id: str, progress: Progress) -> Path:
    """The thread of a message id, as b4 gets it from the list's archive. Raises InfraError."""
    if shutil.which("b4") is None:
        msg = f"--series {message_id}: b4, which gets series from the list, is not there"
        raise InfraError(msg, hint="pip install b4; without a network: save the thread as a mailbox")
    key = hashlib.sha256(message_id.encode()).hexdigest()[:20]
    with Cache(cache_root(), "ab").lock(f"list-{key}") as out, progress.task(f"series    {message_id}"):
        for old in out.iterdir():
            old.unlink()
        done = process.run(["b4", "-n", "am", "-o", out, message_id], env=environment())
        found = sorted((*out.glob("*.mbx"), *out.glob("*.mbox")))
    if done.returncode or not found:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-_LINES:]
        msg = f"--series {message_id}: b4 gets no series"
        raise InfraError(
            msg, detail="\n".join(said), hint="is there a network? else save the thread as a mailbox"
        )
    return found[0]


# -- its base ----------------------------------------------------------------------------------------


def _source(linux: str) -> Definition:
    found = resolve(linux)
    if not isinstance(found, Definition):
        msg = f"--linux {linux}: a kernel that is built already takes no series"
        raise UserError(msg, hint="a source tree, a name in kernels/, TREE@REV")
    return found


def _git_tree(below: Definition) -> Path | None:
    match below.source:
        case spec.Directory(path) | spec.GitRevision(path):
            tree = Path(path)
            return tree if is_repository(tree) else None
    return None


def _base(below: Definition, tree: Path | None, wanted: str) -> tuple[str, list[str]]:
    """What the series is put on top of, as ``--kernel`` takes it, and what a reader has to know of that."""
    if not wanted:
        return below.argument, []
    if tree is None:
        return below.argument, [f"its base-commit is {wanted[:12]}; {below.argument} is no git tree"]
    there = commit_of(tree, wanted)
    if not there:
        return below.argument, [f"its base-commit {wanted[:12]} is not in {tree}"]
    match below.source:
        case spec.GitRevision(_, rev):
            here = _commit(tree, rev)
            return below.argument, [] if here == there else [f"its base-commit is {wanted[:12]}, not {rev}"]
    if is_clean(tree) and _commit(tree, "HEAD") == there:
        return below.argument, []
    return f"{tree}@{there[:12]}", [f"on its base-commit {there[:12]}"]


def _texts(path: Path) -> list[bytes]:
    """The files of a series, as they are; the cover letter that b4 puts beside a mailbox is one."""
    beside = path.with_suffix(".cover")
    files = [path, *([beside] if beside.is_file() else [])]
    files = files if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    return [file.read_bytes().replace(b"\r\n", b"\n") for file in files]


def _base_commit(path: Path) -> str:
    """What `git format-patch --base` wrote, in the cover letter or the first patch; empty without."""
    found = [commit for content in _texts(path) for commit in _BASE_COMMIT.findall(content)]
    return found[-1].decode() if found else ""


def _prerequisites(path: Path) -> list[str]:
    found = {one for content in _texts(path) for one in _PREREQUISITE.findall(content)}
    return [f"it names {len(found)} prerequisite patches, which are not applied"] if found else []


def _commit(tree: Path, revision: str) -> str:
    found = commit_of(tree, revision)
    if not found:
        msg = f"{tree}: no revision {revision}"
        raise UserError(msg, hint=f"git -C {tree} log")
    return found


# -- does it apply -----------------------------------------------------------------------------------


def _applied(taken: Taken, tree: Path | None, patches: series.Series, progress: Progress) -> Taken:
    """With how each patch applies: as it is, else by a three-way merge where git has the files that it was
    made of, else with fuzz."""
    below = resolve(taken.base)
    assert isinstance(below, Definition)  # noqa: S101
    whole = series.read((*below.series, taken.path), own=1)
    before = len(whole.patches) - taken.count
    located = source.locate(below, progress)
    origin = source.unpacked(located, progress)
    fuzzy: list[series.Fuzz] = []

    def apply(say: Callable[[series.Fuzz], None] | None) -> series.DoesNotApply | None:
        with tempfile.TemporaryDirectory(dir=process.temporary_directory()) as work:
            try:
                series.apply(whole, origin, Path(work), located.what, say)
            except series.DoesNotApply as error:
                return error
        return None

    def mark(how: str, patches: Iterable[int]) -> None:
        for number in patches:
            taken.info.patches[number].applies = how

    if (error := apply(None)) is None:
        mark("exactly", range(taken.count))
        return taken
    commit = _base_of_merge(below, tree)
    if tree and commit and not below.series:
        merged = _three_way(tree, commit, patches, progress)
        if merged is not None:
            path, numbers = merged
            mark("exactly", range(taken.count))
            mark("by a three-way merge", numbers)
            return replace(taken, path=path)
    if apply(fuzzy.append) is None:
        mark("exactly", range(taken.count))
        for one in fuzzy:
            if one.number > before:
                mark(f"with fuzz: {one.how}", [one.number - before - 1])
        return taken
    number = error.number - before
    mark("exactly", range(max(0, number - 1)))
    lines = list(error.complaints[:_LINES])
    name = taken.info.patches[number - 1].name if number > 0 else ""
    return replace(taken, problem=Problem(taken.base, "does not apply", lines, name))


def _base_of_merge(below: Definition, tree: Path | None) -> str:
    """The commit that a merge can start from; empty where the source is no commit as it is."""
    match below.source:
        case spec.GitRevision(path, rev):
            return _commit(Path(path), rev)
        case spec.Directory() if tree:
            return _commit(tree, "HEAD") if is_clean(tree) else ""
    return ""


def _three_way(
    tree: Path, commit: str, patches: series.Series, progress: Progress
) -> tuple[Path, list[int]] | None:
    """The series as `git am -3` makes it on ``commit``, in the cache, and which patches (from 0) it merged;
    None where that does not apply either. Works in a work tree of its own."""
    key = hashlib.sha256(f"{tree.resolve()} {commit} {patches.id}".encode()).hexdigest()[:32]
    store = Cache(cache_root(), "ab", progress.say)
    with store.lock(f"merge-{key}") as place:
        work, out = place / "linux", place / patches.name
        shutil.rmtree(place, ignore_errors=True)
        out.mkdir(parents=True)
        with progress.task(f"series    git am -3 {patches.name}"):
            git(tree, "worktree", "prune")
            added = git(tree, "worktree", "add", "--detach", "--force", work, commit)
            if added.returncode:
                msg = f"{work}: git worktree add: {added.stderr.decode(errors='replace').strip()[-200:]}"
                raise InfraError(msg, hint="free some space, or set XDG_CACHE_HOME to a larger disk")
            done = git(work, *_IDENTITY, "am", "-3", *[patch.resolve() for patch in patches.patches])
            if done.returncode == 0:
                git(work, "format-patch", "-q", "--binary", "--full-index", "-o", out, f"{commit}..HEAD")
            else:
                git(work, "am", "--abort")
            git(tree, "worktree", "remove", "--force", work)
    if done.returncode:
        return None
    return out, _merged(done.stdout.decode(errors="replace"))


def _merged(said: str) -> list[int]:
    """The patches, from 0, that `git am` says it merged."""
    number, found = -1, []
    for line in said.splitlines():
        if line.startswith("Applying: "):
            number += 1
        elif line.startswith("Falling back to patching base and 3-way merge"):
            found.append(number)
    return found


def _subject(patch: Path) -> str:
    found = _SUBJECT.search(patch.read_bytes())
    text = " ".join(found[1].decode(errors="replace").split()) if found else patch.name
    return _TAGS.sub("", text)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "series"
