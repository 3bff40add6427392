"""Where things are: project root, caches, run directory."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from harness.errors import UserError


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
    """``$XDG_CACHE_HOME/bpfroots``, created 0700. Kernels, images and keys live here."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = (Path(base) if base else Path.home() / ".cache") / "bpfroots"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def jobs() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))
