"""Notification: any command, with the summary of a night on its stdin."""

from __future__ import annotations

from collections.abc import Sequence

from bpfroots import process
from bpfroots.errors import InfraError

_DEADLINE = 300.0


def notify(command: Sequence[str], subject: str, summary: str) -> None:
    """Run ``command``; "{subject}" in its words is replaced. Raises InfraError where it fails."""
    argv = [word.replace("{subject}", subject) for word in command]
    done = process.run(argv, input=summary.encode(), timeout=_DEADLINE)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        msg = f"notify: {argv[0]}: {said.splitlines()[-1] if said else f'status {done.returncode}'}"
        raise InfraError(msg, hint="try the command of `notify` by hand")
