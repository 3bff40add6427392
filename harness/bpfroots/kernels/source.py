"""Where kernel sources come from, and the id that names their content.

Archives and git revisions are unpacked once into the cache and never written to after that; a directory that
the user names is read where it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import NamedTuple

from bpfroots import arch, cache
from bpfroots.errors import InfraError, KernelError, UserError
from bpfroots.kernels import tree
from bpfroots.kernels.facts import remember
from bpfroots.kernels.git import environment, git
from bpfroots.kernels.spec import Checkout, DebianSource, Definition, Directory, GitRevision, Source, Tarball
from bpfroots.process import run, spawn
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

# Tests point this at a directory of their own: there the tarballs of linux-source packages lie.
DEBIAN_SOURCES = "BPFROOTS_DEBIAN_SOURCES"


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


def locate(definition: Definition, progress: Progress) -> Located:
    """Find the source of ``definition``, without unpacking anything.

    Raises InfraError for a package that is not installed, UserError for a path or revision
    that does not exist, KernelError for a tree that cannot be built out of tree.
    """
    source: Source = definition.source
    match source:
        case DebianSource():
            return _debian(source, progress)
        case Tarball(path):
            return _tarball(Path(path))
        case Directory(path):
            return _directory(Path(path))
        case Checkout(path):
            return _checkout(Path(path))
        case GitRevision():
            return _git(source)


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


def _debian(source: DebianSource, progress: Progress) -> Located:
    directory = Path(os.environ.get(DEBIAN_SOURCES) or "/usr/src")
    tarball = directory / f"{source.package}.tar.xz"
    if not tarball.is_file():
        msg = f"{tarball}: missing: package {source.package} is not installed"
        raise InfraError(msg, hint="bpfroots setup")
    installed = remember("debian-version", tarball, lambda: _installed_version(source.package))
    if installed != source.version:
        progress.say(
            f"source  {source.package} {source.version} is not what is installed:"
            f" using {installed or 'the tarball as it is'}, whose figures are its own"
        )
    digest = remember("sha256", tarball, lambda: cache.sha256(tarball))
    return Located(
        id=f"{source.package}={installed or 'unknown'} sha256:{digest}",
        directory=None,
        unpack=lambda target: _untar(tarball, target),
        what=f"{source.package} {installed}",
    )


def _installed_version(package: str) -> str:
    """What dpkg says is installed; empty for a tarball that no package owns."""
    answer = run(["dpkg-query", "-W", "-f", "${Version}", package])
    return answer.stdout.decode().strip() if answer.returncode == 0 else ""


def _tarball(path: Path) -> Located:
    if not path.is_file():
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
        state = _git_state(path)
        return Located(state.id, path, unpack, f"{path} {state}", lambda: _git_files(path), commit=state.head)
    for left in ("include/config", f"arch/{arch.GUEST.kbuild}/include/generated"):
        if (path / left).exists():
            msg = f"{path}: has been built in place ({left}), and no git tells its sources apart"
            raise KernelError(msg, hint=f"make -C {path} mrproper, or make -C {path} bzImage")
    return Located(f"files:{_list_hash(path)}", path, unpack, str(path), lambda: _plain_files(path))


def _checkout(path: Path) -> Located:
    if git(path, "rev-parse", "--git-dir").returncode != 0:
        msg = f"{path}: no git repository"
        raise UserError(msg)
    return _directory(path)


class _State(NamedTuple):
    """What a work tree holds: a commit, and what has changed since (a hash; empty where nothing has)."""

    head: str
    changes: str

    @property
    def id(self) -> str:
        """Wherever a revision is checked out, it is the same source."""
        return f"git:{self.head} changed:{self.changes}" if self.changes else f"git:{self.head}"

    def __str__(self) -> str:
        return f"({self.head[:12]} with changes)" if self.changes else f"({self.head[:12]})"


def _git_state(path: Path) -> _State:
    head = _git_out(path, "rev-parse", "HEAD")
    changes = hashlib.sha256()
    # What is added and what is only in the working tree; ignored files are not source.
    changes.update(_git_bytes(path, "diff", "--binary", "--no-ext-diff", "HEAD"))
    for name in sorted(_git_bytes(path, "ls-files", "-z", "--others", "--exclude-standard").split(b"\0")):
        file = path / os.fsdecode(name)
        if name and file.is_file():
            changes.update(name + b"\0" + cache.sha256(file).encode())
    clean = changes.hexdigest() == hashlib.sha256().hexdigest()
    return _State(head, "" if clean else changes.hexdigest()[:16])


# What configuring a tree in place leaves in it: kbuild refuses to build such a tree elsewhere.
_CONFIGURED = frozenset({".config", ".config.old"})


def _git_files(path: Path) -> list[str]:
    """What git knows, and what it does not ignore: neither objects nor what is generated."""
    listed = _git_bytes(path, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = dict.fromkeys(os.fsdecode(name) for name in listed.split(b"\0") if name)
    # A file that was deleted is still in the index; a repository in the tree is listed as a directory.
    present = (name for name in names if not name.endswith("/") and os.path.lexists(f"{path}/{name}"))
    return [name for name in present if name not in _CONFIGURED]


def _plain_files(path: Path) -> list[str]:
    return [name for name in tree.files(path) if name not in _CONFIGURED]


def _list_hash(path: Path) -> str:
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


def _git(source: GitRevision) -> Located:
    repository = Path(source.tree)
    top = git(repository, "rev-parse", "--git-dir")
    if top.returncode != 0:
        msg = f"{repository}: no git repository"
        raise UserError(msg, hint="TREE@REV wants a git tree; for a plain one use --kernel TREE")
    answer = git(repository, "rev-parse", "-q", "--verify", "--end-of-options", f"{source.rev}^{{commit}}")
    if answer.returncode != 0:
        msg = f"{repository}: no revision {source.rev}"
        raise UserError(msg, hint=f"git -C {repository} fetch --tags, or check the name")
    commit = answer.stdout.decode().strip()
    return Located(
        id=f"git:{commit}",
        directory=None,
        unpack=lambda target: _archive(repository, commit, target),
        what=f"{repository.name} {source.rev} ({commit[:12]})",
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


def _git_bytes(path: Path, *arguments: str) -> bytes:
    answer = git(path, *arguments)
    if answer.returncode != 0:
        msg = f"{path}: git {arguments[0]} failed"
        raise InfraError(
            msg,
            detail=answer.stderr.decode(errors="replace").strip(),
            hint=f"git config --global --add safe.directory {path}, when git calls its ownership dubious",
        )
    return answer.stdout


def _git_out(path: Path, *arguments: str) -> str:
    return _git_bytes(path, *arguments).decode().strip()
