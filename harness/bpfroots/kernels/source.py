"""Where kernel sources come from, and the id that names their content.

Archives and git revisions are unpacked once into the cache and never written to after that; a directory that
the user names is read where it is. A definition may name several places: the first that has the source is
used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

from bpfroots import arch, cache
from bpfroots.errors import BpfrootsError, InfraError, KernelError, UserError
from bpfroots.kernels import debian, remote, worktree
from bpfroots.kernels.facts import remember
from bpfroots.kernels.git import commit_of, environment, is_repository
from bpfroots.kernels.spec import (
    Checkout,
    DebianSource,
    Definition,
    Directory,
    GitRevision,
    Source,
    Tarball,
    is_url,
)
from bpfroots.process import run, spawn
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

# Tests point this at a directory of their own: there the tarballs of linux-source packages lie.
DEBIAN_SOURCES = "BPFROOTS_DEBIAN_SOURCES"


class NotFetched(InfraError):
    """A source that is on another machine, and was not fetched yet."""


@dataclass(frozen=True)
class Located:
    """A source that was found. ``id`` changes whenever its content does.

    ``directory`` is set for a tree that is there, of which ``files()`` are source (None: all); otherwise
    ``unpack(directory)`` makes it and fills it with the tree. ``what`` is for people. ``commit`` is that of a
    git revision, changed or not.
    """

    id: str
    directory: Path | None
    unpack: Callable[[Path], None]
    what: str
    files: Callable[[], list[str] | None] = lambda: None
    commit: str = ""


def locate(definition: Definition, progress: Progress, *, fetch: bool = True) -> Located:
    """Find the source of ``definition``, without unpacking anything.

    What is on another machine is fetched first; without ``fetch`` that raises NotFetched. Raises InfraError
    for a package that is not installed or cannot be fetched, UserError for a path or revision that does not
    exist, KernelError for a tree that cannot be built out of tree: of several places, for the first.
    """
    failed: list[BpfrootsError] = []
    for place in (definition.source, *definition.others):
        try:
            found = _locate(place, progress, fetch=fetch)
        except (InfraError, UserError) as error:
            failed.append(error)
            continue
        if failed:
            progress.say(f"source  {definition.name}: {found.what}, because of {failed[0].message}")
        return found
    first, *others = failed
    if others:
        first.detail = "\n".join([*filter(None, [first.detail]), *(error.message for error in others)])
    raise first


def _locate(source: Source, progress: Progress, *, fetch: bool) -> Located:
    match source:
        case DebianSource():
            return _debian(source, progress, fetch=fetch)
        case Tarball():
            return _tarball(source, progress if fetch else None)
        case Directory(path):
            return _directory(Path(path))
        case Checkout(path):
            return _checkout(Path(path))
        case GitRevision():
            return _git(source, progress if fetch else None)


def unpacked(located: Located, progress: Progress) -> Path:
    """The tree of ``located``: its own directory, or the entry in the cache."""
    if located.directory is not None:
        return located.directory

    def populate(directory: Path) -> None:
        with progress.task(f"source  {located.what}"):
            located.unpack(directory / "linux")

    store = cache.Cache(cache_root(), "source", progress.say)
    key = hashlib.sha256(located.id.encode()).hexdigest()[:16]
    return store.get(key, populate) / "linux"


def is_source_tree(path: Path) -> bool:
    """Whether ``path`` looks like the top of a Linux source tree."""
    return all((path / name).is_file() for name in ("Makefile", "Kconfig", "Kbuild"))


def _debian(source: DebianSource, progress: Progress, *, fetch: bool) -> Located:
    """The tarball of a package: what is installed, where that is the version or no suite is named; else what
    the suites have."""
    directory = Path(os.environ.get(DEBIAN_SOURCES) or "/usr/src")
    tarball = directory / f"{source.package}.tar.xz"
    version = ""
    if tarball.is_file():
        version = remember("debian-version", tarball, lambda: _installed_version(source.package))
        if version != source.version and not source.suites:
            progress.say(
                f"source  {source.package} {source.version} is not what is installed:"
                f" using {version or 'the tarball as it is'}, whose figures are its own"
            )
    elif not source.suites:
        msg = f"{tarball}: missing: package {source.package} is not installed"
        raise InfraError(msg, hint=f"apt-get install {source.package}, or name the suites that have it")
    if source.suites and version != source.version:
        files, version = _of_suites(source, progress, fetch=fetch)
        tarball = files / "usr/src" / f"{source.package}.tar.xz"
    digest = remember("sha256", tarball, lambda: cache.sha256(tarball))
    return Located(
        id=f"{source.package}={version or 'unknown'} sha256:{digest}",
        directory=None,
        unpack=lambda target: _untar(tarball, target),
        what=f"{source.package} {version}",
    )


def _of_suites(source: DebianSource, progress: Progress, *, fetch: bool) -> tuple[Path, str]:
    if fetch:
        return debian.package(source.package, source.version, source.suites, progress)
    if files := debian.fetched(source.package, source.version):
        return files, source.version
    msg = f"{source.package} {source.version}: not fetched yet"
    raise NotFetched(msg)


def _installed_version(package: str) -> str:
    """What dpkg says is installed; empty for a tarball that no package owns."""
    answer = run(["dpkg-query", "-W", "-f", "${Version}", package])
    return answer.stdout.decode().strip() if answer.returncode == 0 else ""


def _tarball(source: Tarball, progress: Progress | None) -> Located:
    path = Path(source.path)
    if source.url:
        found = remote.tarball(source.url, source.sha256, progress)
        if found is None:
            msg = f"{source.url}: not fetched yet"
            raise NotFetched(msg)
        path = found
    elif not path.is_file():
        msg = f"{path}: no such tarball"
        raise UserError(msg, hint="check `path` in [source]")
    digest = remember("sha256", path, lambda: cache.sha256(path))
    return Located(
        id=f"{path.name} sha256:{digest}",
        directory=None,
        unpack=lambda target: _untar(path, target),
        what=path.name,
    )


def _untar(tarball: Path, target: Path) -> None:
    target.mkdir()
    # tar, not tarfile: 13 s instead of minutes for a kernel, and it drives the right decompressor.
    answer = run(["tar", "-x", "-f", tarball, "-C", target, "--strip-components=1", "--no-same-owner"])
    _check_unpacked(answer.returncode, answer.stderr, str(tarball), target)


def _check_unpacked(status: int, errors: bytes, what: str, target: Path) -> None:
    text = errors.decode(errors="replace").strip()
    if "No space left on device" in text:
        raise cache.out_of_space(target)
    if status != 0:
        msg = f"{what}: cannot be unpacked"
        raise InfraError(msg, detail=text[-500:], hint="bpfroots setup (fetches a damaged package again)")
    if not is_source_tree(target):
        msg = f"{what}: holds no Linux source tree"
        raise UserError(msg, hint="expected Makefile, Kconfig and Kbuild below one top directory")


def _directory(path: Path) -> Located:
    path = path.resolve()
    if not is_source_tree(path):
        msg = f"{path}: no Linux source tree there (Makefile, Kconfig, Kbuild)"
        raise UserError(msg, hint="point --kernel at the top of the tree")

    def unpack(_: Path) -> None:
        raise AssertionError(path)  # it is there

    if (path / ".git").exists():
        state = worktree.state(path)
        return Located(
            state.id, path, unpack, f"{path} {state}", lambda: worktree.git_files(path), state.head
        )
    for left in ("include/config", f"arch/{arch.GUEST.kbuild}/include/generated"):
        if (path / left).exists():
            msg = f"{path}: has been built in place ({left}), and no git tells its sources apart"
            raise KernelError(msg, hint=f"make -C {path} mrproper, or make -C {path} bzImage")
    identity = f"files:{worktree.list_hash(path)}"
    return Located(identity, path, unpack, str(path), lambda: worktree.plain_files(path))


def _checkout(path: Path) -> Located:
    if not is_repository(path):
        msg = f"{path}: no git repository"
        raise UserError(msg)
    return _directory(path)


def _git(source: GitRevision, progress: Progress | None) -> Located:
    repository, name = Path(source.tree), Path(source.tree).name
    if is_url(source.tree):
        found = remote.repository(source.tree, source.rev, progress)
        if found is None:
            msg = f"{source.tree} {source.rev}: not fetched yet"
            raise NotFetched(msg)
        repository = found
    elif not is_repository(repository):
        msg = f"{repository}: no git repository"
        raise UserError(msg, hint="TREE@REV wants a git tree; for a plain one use --kernel TREE")
    commit = commit_of(repository, source.rev)
    if not commit:
        msg = f"{source.tree}: no revision {source.rev}"
        raise UserError(msg, hint=f"git -C {source.tree} fetch --tags, or check the name")
    return Located(
        id=f"git:{commit}",
        directory=None,
        unpack=lambda target: _archive(repository, commit, target),
        what=f"{name} {source.rev} ({commit[:12]})",
        commit=commit,
    )


def _archive(repository: Path, commit: str, target: Path) -> None:
    target.mkdir()
    with (
        spawn(["git", "-C", repository, "archive", commit], env=environment(), stdout=PIPE) as archive,
        spawn(["tar", "-x", "-C", target], stdin=archive.stdout, stderr=PIPE) as tar,
    ):
        archive.stdout.close()
        assert tar.popen.stderr is not None  # noqa: S101
        errors = tar.popen.stderr.read()
        status = tar.wait() or archive.wait()
    _check_unpacked(status, errors, f"{repository} {commit[:12]}", target)
