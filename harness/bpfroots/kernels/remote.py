"""Sources on other machines: a tarball by its URL, a revision of a git repository. Fetched once, into the
cache."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from bpfroots import cache
from bpfroots.errors import InfraError, UserError
from bpfroots.kernels.git import commit_of, git
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

_SCHEMES = ("http", "https", "file")
# Of a server that has stopped to answer, in seconds.
_TIMEOUT_S = 60
_COMMIT = re.compile(r"[0-9a-f]{40}")


def tarball(url: str, sha256: str, progress: Progress | None) -> Path | None:
    """The file at ``url``; without ``progress`` nothing is fetched: None where it is not there yet.

    Raises InfraError where it cannot be fetched, or where its content is not ``sha256`` (if given).
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        msg = f"{url}: only {', '.join(_SCHEMES)} are fetched"
        raise UserError(msg)
    name = Path(parts.path).name or "source"
    store = cache.Cache(cache_root(), "download", progress.say if progress else None)
    key = hashlib.sha256(f"{url} {sha256}".encode()).hexdigest()[:16]
    if (found := store.peek(key)) or progress is None:
        return found / name if found else None

    def populate(directory: Path) -> None:
        with progress.task(f"source  {url}"):
            _download(url, directory / name)
        digest = cache.sha256(directory / name)
        if sha256 and digest != sha256:
            msg = f"{url}: its SHA-256 is {digest}, not {sha256}"
            raise InfraError(msg, hint="correct `sha256` in [source], if the file is what you want")

    return store.get(key, populate) / name


def _download(url: str, target: Path) -> None:
    # Only a download needs it, and every command imports this module.
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, target.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(answer, out, 1 << 20)
    except urllib.error.HTTPError as error:
        msg = f"{url}: {error.code} {error.reason}"
        raise InfraError(msg) from None
    except urllib.error.URLError as error:
        msg = f"{url}: {error.reason}"
        raise InfraError(msg, hint="is there a network?") from None
    except TimeoutError:
        msg = f"{url}: no answer for {_TIMEOUT_S} s"
        raise InfraError(msg) from None


def repository(url: str, revision: str, progress: Progress | None) -> Path | None:
    """A repository in the cache that has ``revision`` (a tag, a branch, a commit) of the one at ``url``.

    A tag or a commit stays what it is, so it is fetched once; a branch is fetched each time. Without
    ``progress`` nothing is fetched: None where the revision is not there yet. Raises InfraError where it
    cannot be fetched.
    """
    store = cache.Cache(cache_root(), "git", progress.say if progress else None)
    with store.lock(hashlib.sha256(url.encode()).hexdigest()[:16]) as path:
        if not (path / "HEAD").is_file():
            git(path, "init", "-q", "--bare")
        known = any(_has(path, name) for name in (f"refs/tags/{revision}", *_commit(revision)))
        if progress is None:
            return path if known or _has(path, f"refs/heads/{revision}") else None
        if not known:
            with progress.task(f"source  {url} {revision}"):
                _fetch(path, url, revision)
        return path


def _has(path: Path, name: str) -> bool:
    return bool(commit_of(path, name))


def _commit(revision: str) -> list[str]:
    return [revision] if _COMMIT.fullmatch(revision) else []


def _fetch(path: Path, url: str, revision: str) -> None:
    tag, branch = f"refs/tags/{revision}", f"refs/heads/{revision}"
    wanted = [f"+{tag}:{tag}", f"+{branch}:{branch}", *_commit(revision)]
    failed = ""
    for what in wanted:
        # One revision without its history: 250 MB of a kernel instead of 3 GB.
        answer = git(path, "fetch", "-q", "--depth=1", "--no-tags", url, what, GIT_TERMINAL_PROMPT="0")
        if answer.returncode == 0:
            return
        said = answer.stderr.decode(errors="replace").strip().splitlines()
        failed = failed or (said[-1] if said else f"status {answer.returncode}")
    msg = f"{url}: {revision} cannot be fetched: {failed}"
    raise InfraError(msg, hint=f"git ls-remote {url}")
