"""The history to be bisected, in a work tree that is nobody else's."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.cache import Cache
from harness.errors import KernelError, UserError
from harness.jobs.bisect import kernel as building
from harness.jobs.bisect.history import History, remove_worktree, worktree
from harness.kernels import definitions, rebase, series
from harness.kernels.git import git
from harness.kernels.spec import Definition
from harness.progress import Progress
from harness.settings import cache_root

_IDENTITY = ("-c", "user.name=bpfroots", "-c", "user.email=bpfroots@example.org")
_TIP = "refs/bpfroots/tip"


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which history. ``linux`` with ``good`` and ``bad``; or ``series``, a directory of patches on ``good``
    of ``linux``; or ``series`` alone, by its name in kernels/patches, on the source of its kernel."""

    linux: str = ""
    good: str = ""
    bad: str = ""
    series: str = ""


@contextmanager
def opened(wanted: Wanted, progress: Progress) -> Iterator[tuple[History, str, str]]:
    """The work tree and the full ids of its good and its bad end. It stays where it is broken off.

    Raises UserError for what does not exist, KernelError for a series that does not apply.
    """
    if not wanted.linux and not wanted.series:
        msg = "nothing to bisect"
        raise UserError(msg, hint="--linux TREE --good A --bad B, or --series NAME")
    where = Cache(cache_root(), "bisect", progress.say)
    if not wanted.linux:
        definition, directory = _defined(wanted.series)
        with where.lock(f"series-{directory.name}") as place:
            yield _series_tree(definition, directory, place, progress)
        return
    linux = building.top(Path(wanted.linux))
    if not wanted.series and not (wanted.good and wanted.bad):
        msg = "--linux: without --good and --bad there is nothing to bisect"
        raise UserError(msg, hint="--good REV --bad REV, or --series PATH on top of --good")
    with where.lock(f"{linux.name}-{_digest(str(linux.resolve()))}") as place:
        tree = place / "linux"
        history = worktree(linux, tree, wanted.good or "HEAD")
        good = History(linux).resolve(wanted.good or "HEAD")
        bad = (
            _apply(history, good, Path(wanted.series))
            if wanted.series
            else History(linux).resolve(wanted.bad)
        )
        yield history, good, bad
        remove_worktree(linux, tree)


def _defined(name: str) -> tuple[Definition, Path]:
    """The kernel whose series it is, and its directory. Raises UserError."""
    names, unread = [], []
    for definition in definitions().values():
        if isinstance(definition, UserError):
            unread.append(definition.message)
            continue
        for directory in definition.series[len(definition.series) - definition.own :]:
            if directory.name == name:
                return definition, directory
            names.append(directory.name)
    msg = f"--series {name}: no kernel in kernels/ has that series"
    hint = f"one of {', '.join(sorted(set(names)))}; or a path, with --linux TREE"
    raise UserError(msg, detail="\n".join(unread), hint=hint)


def _series_tree(
    definition: Definition, directory: Path, place: Path, progress: Progress
) -> tuple[History, str, str]:
    """A repository of the kernel's source, one commit for each patch; kept for the next time."""
    tree, stamp = place / "linux", place / "series-id"
    wanted = series.read([*definition.series[: definition.series.index(directory)], directory]).id
    wanted = f"{wanted} {definition.source}"
    history = History(tree)
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(tree, ignore_errors=True)
        done = rebase.start(definition, tree, progress, directory.name)
        if done.conflict:
            msg = f"series {directory.name}: {done.conflict} does not apply"
            raise KernelError(msg, hint=f"bpfroots kernel rebase-series {definition.name}")
        git(tree, "update-ref", _TIP, "HEAD")
        stamp.write_text(wanted)
    return history, history.resolve(rebase.BASE), history.resolve(_TIP)


def _apply(history: History, good: str, directory: Path) -> str:
    """The last of the commits that the series makes on ``good``. No branch knows them; their ids stay."""
    patches: Sequence[Path] = series.read([directory]).patches
    git(history.tree, "bisect", "reset", "HEAD")
    history.checkout(good)
    answer = git(
        history.tree,
        *_IDENTITY,
        "am",
        "-q",
        "--committer-date-is-author-date",
        *[patch.resolve() for patch in patches],
    )
    if answer.returncode != 0:
        git(history.tree, "am", "--abort")
        said = answer.stdout.decode(errors="replace").strip().splitlines()[:1]
        msg = f"series {directory}: does not apply to {good[:12]}: {' '.join(said)}"
        raise KernelError(msg, hint="another --good; git am --3way has to take it")
    return history.head()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
