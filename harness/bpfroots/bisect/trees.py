"""The history to be bisected, in a work tree of its own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bpfroots.bisect import kernel as building
from bpfroots.bisect.commits import CommitHistory, remove_worktree, worktree
from bpfroots.cache import Cache
from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import definitions, rebase, series, spec
from bpfroots.kernels.git import git
from bpfroots.kernels.spec import Definition
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

_IDENTITY = ("-c", "user.name=bpfroots", "-c", "user.email=bpfroots@example.org")
_TIP = "refs/bpfroots/tip"
# To whose source a series is applied that is given by its path, without a tree.
_MODEL = "baseline"


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which history. ``linux`` with ``good`` and ``bad``; or the patches of ``series``, on ``good`` of
    ``linux``. Without ``linux`` they are on the source of the kernel that has a series of that name, or on
    baseline's where ``series`` is an absolute path."""

    linux: str = ""
    good: str = ""
    bad: str = ""
    series: str = ""


@contextmanager
def opened(wanted: Wanted, progress: Progress) -> Iterator[tuple[CommitHistory, str, str]]:
    """The work tree and the full ids of its good and its bad end. It stays where it is interrupted.

    Raises UserError for what does not exist, KernelError for a series that does not apply.
    """
    if not wanted.linux and not wanted.series:
        msg = "nothing to bisect"
        raise UserError(msg, hint="--linux TREE --good A --bad B, or --series NAME|PATH")
    where = Cache(cache_root(), "bisect", progress.say)
    if not wanted.linux:
        definition, path = _defined(wanted.series)
        name = path.name if definition.origin else _digest(wanted.series)
        with where.lock(f"series-{name}") as place:
            yield _series_tree(definition, path, place, progress)
            if not definition.origin:
                shutil.rmtree(place)
        return
    linux = building.top(Path(wanted.linux))
    if not wanted.series and not (wanted.good and wanted.bad):
        msg = "--linux: without --good and --bad there is nothing to bisect"
        raise UserError(msg, hint="--good REV --bad REV, or --series PATH on top of --good")
    # What can be wrong at once, before there is a work tree.
    patches = series.read([Path(wanted.series)]) if wanted.series else None
    good = CommitHistory(linux).resolve(wanted.good or "HEAD")
    bad = "" if patches else CommitHistory(linux).resolve(wanted.bad)
    if bad:
        CommitHistory(linux).check_ends(good, bad)
    with where.lock(f"{linux.name}-{_digest(str(linux.resolve()))}") as place:
        tree = place / "linux"
        history = worktree(linux, tree, good)
        yield history, good, _apply(history, good, patches) if patches else bad
        remove_worktree(linux, tree)


def absolute(name: str, *, linux: bool) -> str:
    """What ``--series`` names, for `Wanted`: the name of a series in kernels/ where there is one and no
    ``linux`` (write ``./NAME`` for a file of that name), else the path."""
    path = Path(name).expanduser()
    return str(path.absolute()) if linux or (path.exists() and name not in _known()[0]) else name


def _known() -> tuple[dict[str, tuple[Definition, Path]], list[str]]:
    """By name each series that a kernel in kernels/ has, with that kernel; and what is wrong with definitions
    that cannot be read."""
    found: dict[str, tuple[Definition, Path]] = {}
    unread = []
    for definition in definitions().values():
        if isinstance(definition, UserError):
            unread.append(definition.message)
            continue
        for path in definition.series[len(definition.series) - definition.own :]:
            found.setdefault(path.name, (definition, path))
    return found, unread


def _defined(name: str) -> tuple[Definition, Path]:
    """The kernel that a series is of, and where that is. Raises UserError."""
    if (path := Path(name)).is_absolute():
        model = spec.load(_MODEL)
        on_top = {"series": (*model.series, path), "own": 1, "origin": None}
        return msgspec.structs.replace(model, **on_top), path
    known, unread = _known()
    if name not in known:
        msg = f"--series {name}: no kernel in kernels/ has that series, and there is no such path"
        raise UserError(msg, detail="\n".join(unread), hint=f"a path, or one of {', '.join(sorted(known))}")
    return known[name]


def _series_tree(
    definition: Definition, path: Path, place: Path, progress: Progress
) -> tuple[CommitHistory, str, str]:
    """A repository of the kernel's source, one commit for each patch; as it is where it exists."""
    tree, stamp = place / "linux", place / "series-id"
    wanted = series.read([*definition.series[: definition.series.index(path)], path]).id
    wanted = f"{wanted} {definition.source}"
    history = CommitHistory(tree)
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(tree, ignore_errors=True)
        done = rebase.start(definition, tree, progress, path.name)
        if done.conflict:
            msg = f"series {path.name}: {done.conflict} does not apply to the source of {definition.name}"
            rebased = f"bpfroots kernel rebase-series {definition.name}"
            other = "--linux TREE --good REV, to which it applies"
            raise KernelError(msg, hint=rebased if definition.origin else other)
        git(tree, "update-ref", _TIP, "HEAD")
        stamp.write_text(wanted)
    return history, history.resolve(rebase.BASE), history.resolve(_TIP)


def _apply(history: CommitHistory, good: str, patches: series.Series) -> str:
    """The last of the commits that the series makes on ``good``. No branch knows them; their ids stay."""
    git(history.tree, "bisect", "reset", "HEAD")
    history.checkout(good)
    files = [patch.resolve() for patch in patches.patches]
    answer = git(history.tree, *_IDENTITY, "am", "-q", "--committer-date-is-author-date", *files)
    if answer.returncode != 0:
        git(history.tree, "am", "--abort")
        said = (answer.stdout or answer.stderr).decode(errors="replace").strip().splitlines()[:1]
        msg = f"series {patches.name}: does not apply to {good[:12]}: {' '.join(said)}"
        raise KernelError(msg, hint="another --good; git am has to take it")
    return history.head()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
