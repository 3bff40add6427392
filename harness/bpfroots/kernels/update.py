"""Bringing a git repository that kernels are taken from up to date."""

from __future__ import annotations

from pathlib import Path

from bpfroots.errors import InfraError, UserError
from bpfroots.kernels.git import git, is_repository


def fetch(tree: Path, remote: str) -> str:
    """`git fetch` from ``remote``; what it says of branches and tags that moved, "" where nothing has.

    Working tree and local branches stay as they are: a kernel is named TREE@REMOTE/BRANCH. Raises
    UserError where there is no repository or no such remote, InfraError where it cannot be reached.
    """
    if not is_repository(tree):
        msg = f"{tree}: no git repository"
        raise UserError(msg, hint="[[update]] tree is a clone of a kernel tree")
    if git(tree, "remote", "get-url", remote).returncode:
        msg = f"{tree}: no remote {remote}"
        raise UserError(msg, hint=f"git -C {tree} remote -v")
    # No one is there to be asked for a password.
    done = git(tree, "fetch", "--prune", "--tags", remote, GIT_TERMINAL_PROMPT="0")
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        msg = f"{tree}: git fetch {remote}: {said.splitlines()[0] if said else f'status {done.returncode}'}"
        raise InfraError(msg, detail=said, hint=f"git -C {tree} fetch {remote}")
    return said
