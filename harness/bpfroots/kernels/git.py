"""Running git on trees that are not the one we were started in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bpfroots.process import run

_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


def environment(**more: str) -> dict[str, str]:
    """Ours without what a hook or ``git bisect run`` says about *its* repository."""
    kept = {k: v for k, v in os.environ.items() if k not in _REPOSITORY}
    return {**kept, "LC_ALL": "C", **more}


def git(tree: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """``git -C tree arguments``, with further environment variables; nothing is checked."""
    return run(["git", "-C", tree, *arguments], env=environment(**more))
