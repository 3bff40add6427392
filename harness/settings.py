"""Where things are: project root, caches, run directory."""

from __future__ import annotations

import functools
import os
import pwd
from pathlib import Path

from harness.errors import InfraError, UserError

_CACHE_HINT = "set XDG_CACHE_HOME to a directory that you can write to, by its absolute path"


def _is_root(path: Path) -> bool:
    return (path / "kernels").is_dir() and (path / "testcases").is_dir()


@functools.cache
def project_root() -> Path:
    """The directory that holds ``kernels/``, ``testcases/`` and ``results/``.

    ``$BPFROOTS_ROOT``, else the nearest parent of the working directory that has
    both, else the checkout this package is installed from.
    """
    given = os.environ.get("BPFROOTS_ROOT")
    if given:
        root = Path(given).resolve()
        if not _is_root(root):
            msg = f"BPFROOTS_ROOT={given}: no kernels/ and testcases/ there"
            raise UserError(msg, hint="point it at a bpfroots checkout, or unset it")
        return root
    here = Path.cwd().resolve()
    for path in (here, *here.parents):
        if _is_root(path):
            return path
    checkout = Path(__file__).resolve().parent.parent
    if _is_root(checkout):
        return checkout
    msg = f"no bpfroots project at or above {here}"
    raise UserError(msg, hint="run inside a checkout, or set BPFROOTS_ROOT")


def cache_root() -> Path:
    """``$XDG_CACHE_HOME/bpfroots``, else ``~/.cache/bpfroots``, created 0700. Kernels, images and keys live
    here.

    Raises UserError where the variable's value is no place, InfraError where it cannot be created; both
    name the variable.
    """
    shown, base = _cache_home()
    if not base.is_absolute():
        msg = f"{shown}: not an absolute path"
        raise UserError(msg, hint=_CACHE_HINT)
    root = base / "bpfroots"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        msg = f"{shown}: {root} cannot be created: {error.strerror}"
        raise InfraError(msg, hint=_CACHE_HINT) from None
    return root


def _cache_home() -> tuple[str, Path]:
    """What decides where caches are, as a user would write it, and the directory that follows from it."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return f"XDG_CACHE_HOME={given}", Path(given)
    if home := os.environ.get("HOME"):
        return f"HOME={home}", Path(home) / ".cache"
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        msg = f"HOME is not set, and user {os.getuid()} has no home directory"
        raise UserError(msg, hint=_CACHE_HINT) from None
    return f"home directory {home} (HOME is not set)", Path(home) / ".cache"


def jobs() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))
