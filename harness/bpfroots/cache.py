"""Content-addressed directories that are made once and never half.

Kernels, source trees, images and compiled programs live here. An entry is a directory under
``ROOT/KIND/KEY``; the key names its inputs, so an entry is never updated, only made or
thrown away. What is trusted on every start: every file of the manifest exists with the size
and modification time it was stored with. That finds truncated, missing, half-written and
edited files at the price of one stat per file; a file whose time differs is hashed (SHA-256)
and the entry kept when its content is as stored. Not found that way: bits that change under
an unchanged size and time (a failing disk); ``get(..., verify=True)`` hashes everything.
"""

# Paths are strings where there are 86,000 of them: as Path objects they cost seconds.
# ruff: noqa: PTH114, PTH115

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from bpfroots.errors import InfraError
from bpfroots.progress import Progress

_log = logging.getLogger(__name__)

_MANIFEST = ".manifest.json"
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~@-]{0,199}")


class _File(msgspec.Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    sha256: str


class _Manifest(msgspec.Struct, frozen=True):
    files: dict[str, _File]
    links: dict[str, str]


class Cache:
    """Entries of one kind. Safe between threads and processes; needs a local file system.

    ``say`` receives the few lines a person should see: an entry found corrupt, waiting for
    another process that is making it. Raises InfraError where ``root`` cannot be written.
    """

    def __init__(self, root: Path, kind: str, say: Callable[[str], None] | None = None) -> None:
        self.directory = root / kind
        self._kind = kind
        self._say = say or Progress().say
        self._locks = self.directory / ".locks"
        self._unfinished = self.directory / ".tmp"
        try:
            for path in (root, self.directory, self._locks, self._unfinished):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{self.directory}: cannot be created: {error.strerror}"
            raise InfraError(msg, hint="set XDG_CACHE_HOME to a directory you can write to") from None

    def get(self, key: str, populate: Callable[[Path], None], *, verify: bool = False) -> Path:
        """The entry ``key``, made by ``populate(directory)`` where it is not there yet.

        ``populate`` runs in one process at a time per key; whatever it raises leaves
        nothing behind. Raises InfraError when the disk is full.
        """
        entry = self.directory / _checked(key)
        with self._flock(key, fcntl.LOCK_SH):
            if self._complaint(entry, verify) is None:
                _log.debug("%s: there", entry)
                return entry
        with self._flock(key, fcntl.LOCK_EX):
            complaint = self._complaint(entry, verify)
            if complaint is None:
                return entry
            if entry.exists():
                self._say(f"{entry}: corrupt ({complaint}); making it again")
                self._remove(key)
            self._clean_up(key)
            _log.info("%s: making it", entry)
            start = time.monotonic()
            self._make(key, populate)
            _log.info("%s: made in %.3f s", entry, time.monotonic() - start)
        return entry

    @contextlib.contextmanager
    def using(self, key: str, populate: Callable[[Path], None]) -> Iterator[Path]:
        """As `get`; until the end no one discards the entry, or makes it again.

        Who holds an entry must not discard others: two holders would wait for each other.
        """
        while True:
            entry = self.get(key, populate)
            with self._flock(key, fcntl.LOCK_SH):
                if self._complaint(entry, verify=False) is None:
                    yield entry
                    return

    def peek(self, key: str) -> Path | None:
        """The entry ``key`` if it is there and whole. Makes none, and does not wait: one that is being made
        is not there."""
        entry = self.directory / _checked(key)
        with (self._locks / key).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                why_not: str | None = "another bpfroots is working on it"
            else:
                why_not = self._complaint(entry, verify=False)
        _log.debug("%s: %s", entry, why_not or "there")
        return None if why_not else entry

    def discard(self, key: str) -> None:
        """Forget the entry ``key``; nothing happens where there is none."""
        with self._flock(_checked(key), fcntl.LOCK_EX):
            _log.debug("%s: discarded", self.directory / key)
            self._remove(key)

    def used(self, key: str) -> None:
        """Remember that the entry ``key`` was of use now; no file of it is written to."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.directory / _checked(key))

    def by_use(self) -> list[tuple[str, float]]:
        """Keys and when each was `used` (or made) last, in seconds since the epoch; the latest first."""
        found = []
        for path in self.directory.iterdir():
            if not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):  # discarded by another process
                    found.append((path.name, path.stat().st_mtime))
        return sorted(found, key=lambda item: item[1], reverse=True)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[Path]:
        """A kept directory, for one holder at a time: a build directory that is reused.

        Its content is the holder's business; it is created empty and has no manifest.
        """
        path = self.directory / _checked(key)
        with self._flock(key, fcntl.LOCK_EX):
            path.mkdir(mode=0o700, exist_ok=True)
            yield path

    @contextlib.contextmanager
    def _flock(self, key: str, mode: int) -> Iterator[None]:
        with (self._locks / key).open("a") as file:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say(f"waiting: another bpfroots is working on {self._kind} {key}")
                fcntl.flock(file, mode)
            yield

    def _make(self, key: str, populate: Callable[[Path], None]) -> None:
        work = self._unfinished / key
        try:
            _remove_tree(work)
            work.mkdir(mode=0o700)
            populate(work)
            manifest = msgspec.json.encode(_describe(work))
            with (work / _MANIFEST).open("wb") as file:
                file.write(manifest)
                os.fsync(file.fileno())
            work.rename(self.directory / key)
        except BaseException as error:
            _remove_tree(work)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise out_of_space(self.directory) from None
            raise

    def _remove(self, key: str) -> None:
        """Out of sight in one step, so that a kill in between shows no half entry."""
        gone = self._unfinished / key
        _remove_tree(gone)
        with contextlib.suppress(FileNotFoundError):
            (self.directory / key).rename(gone)
        _remove_tree(gone)

    def _clean_up(self, own: str) -> None:
        """Remove what killed makers left: a temporary directory whose lock is free."""
        for path in self._unfinished.iterdir():
            if path.name == own:
                _remove_tree(path)
                continue
            with (self._locks / path.name).open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                _remove_tree(path)

    def _complaint(self, entry: Path, verify: bool) -> str | None:
        """Why ``entry`` cannot be used, None where it can."""
        try:
            manifest = msgspec.json.decode((entry / _MANIFEST).read_bytes(), type=_Manifest)
        except FileNotFoundError:
            return "no manifest" if entry.is_dir() else "not there"
        except (msgspec.DecodeError, OSError) as error:
            return f"manifest unreadable: {error}"
        root = str(entry)
        for name, stored in manifest.files.items():
            path = f"{root}/{name}"
            try:
                now = os.lstat(path)
            except OSError:
                return f"{name} is missing"
            if not stat.S_ISREG(now.st_mode):
                return f"{name} is no regular file"
            if now.st_size != stored.size:
                return f"{name} has {now.st_size} bytes instead of {stored.size}"
            if (verify or now.st_mtime_ns != stored.mtime_ns) and sha256(Path(path)) != stored.sha256:
                return f"{name} has changed"
        for name, target in manifest.links.items():
            try:
                if os.readlink(f"{root}/{name}") != target:
                    return f"{name} points elsewhere"
            except OSError:
                return f"{name} is missing"
        return None


def out_of_space(path: Path) -> InfraError:
    """The error for a full disk, with what is free where ``path`` is."""
    free = shutil.disk_usage(path).free // 2**20
    return InfraError(
        f"{path}: disk full, {free} MiB free",
        hint="free some space, or set XDG_CACHE_HOME to a larger disk",
    )


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_files(key: hashlib._Hash, root: Path, names: Sequence[str], pattern: str) -> None:
    """Names and contents of files below ``root``, and of all that match in its folders of these names."""
    for name in names:
        found = sorted((root / name).rglob(pattern)) if (root / name).is_dir() else [root / name]
        for file in found:
            if file.is_file() and "__pycache__" not in file.parts:
                key.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")


def _checked(key: str) -> str:
    assert _KEY.fullmatch(key), key  # noqa: S101  (keys are made by us, never typed)
    return key


def _describe(root: Path) -> _Manifest:
    names: list[str] = []
    links: dict[str, str] = {}
    for directory, subdirectories, files in os.walk(root):
        base = Path(directory).relative_to(root).as_posix()
        for name in (*files, *subdirectories):
            path = f"{directory}/{name}"
            relative = name if base == "." else f"{base}/{name}"
            if os.path.islink(path):
                links[relative] = os.readlink(path)
            elif name in files:
                names.append(relative)
    # hashlib releases the lock of the interpreter: threads use every core.
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        files_described = list(pool.map(lambda name: _describe_file(root, name), names, chunksize=256))
    return _Manifest(dict(zip(names, files_described, strict=True)), links)


def _describe_file(root: Path, name: str) -> _File:
    path = root / name
    status = path.stat()
    return _File(status.st_size, status.st_mtime_ns, sha256(path))


def _remove_tree(path: Path) -> None:
    if not path.exists():
        return
    try:
        shutil.rmtree(path)
    except OSError as error:
        msg = f"{path}: cannot be removed: {error.strerror}"
        raise InfraError(msg, hint=f"rm -rf {path}") from None
