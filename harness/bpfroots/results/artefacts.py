"""One copy of equal files of all runs: results/artefacts/SHA256, to which run folders have hard links.

A run folder stays a folder of plain files. Its deletion cannot touch another run's: the file system counts
the links, and what none but the store has is swept.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from bpfroots import cache
from bpfroots.errors import InfraError
from bpfroots.results.store import run_folders

#: Below results/.
FOLDER = "artefacts"
# What is never written to again once its cell is finished.
_KEPT_IN = ("cells", "console")
_MODE = 0o444


def deposit(run: Path) -> tuple[int, int]:
    """Put the files of a finished run folder in the store of its results/: files, and those it had not.

    Where the file system has no links the folder stays as it is. Raises InfraError.
    """
    store = run.parent / FOLDER
    files = new = 0
    try:
        for part in _KEPT_IN:
            for directory, _, names in os.walk(run / part):
                for name in names:
                    files += 1
                    new += _deposit(Path(directory) / name, store)
    except OSError as error:
        msg = f"{error.filename}: {error.strerror}"
        raise InfraError(msg, hint="free some space, or check the permissions of results/") from None
    return files, new


def _deposit(file: Path, store: Path) -> bool:
    """Is it new there? The folder's name is at no moment without its file."""
    digest = cache.sha256(file)
    kept = store / digest[:2] / digest
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        file.chmod(_MODE)
        with contextlib.suppress(OSError):
            kept.hardlink_to(file)
        return True
    if kept.stat().st_ino != file.stat().st_ino:
        link = file.with_name(f".{file.name}.link")
        link.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # too many links to one file: it stays a copy
            link.hardlink_to(kept)
            link.replace(file)
    return False


def prune(results: Path, runs: Collection[str]) -> int:
    """Delete the folders of these runs, and what no other run has in the store; how many folders there were.

    The history keeps their rows. What else has links to a file, such as the cache of cells, counts as a run.
    """
    gone = [folder for folder in run_folders() if folder.name in runs]
    for folder in gone:
        # First under another name: half a folder is no run.
        folder.rename(folder.with_name(f".going-{folder.name}"))
    for left in results.glob(".going-*"):
        shutil.rmtree(left)
    for directory, _, names in os.walk(results / FOLDER):
        for path in (Path(directory) / name for name in names):
            if path.stat().st_nlink == 1:
                path.unlink()
    return len(gone)
