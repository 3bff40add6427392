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


def is_repository(tree: Path) -> bool:
    return git(tree, "rev-parse", "--git-dir").returncode == 0


def is_clean(tree: Path) -> bool:
    """Whether the files that git knows are those of HEAD."""
    return not git(tree, "status", "--porcelain", "--untracked-files=no").stdout.strip()


def commit_of(tree: Path, revision: str) -> str:
    """The commit that ``revision`` names; empty where it names none."""
    found = git(tree, "rev-parse", "-q", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    return found.stdout.decode().strip() if found.returncode == 0 else ""
