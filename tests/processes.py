"""Watching processes that are not ours, by event."""

from __future__ import annotations

import os
import select


def gone(pid: int, deadline: float = 30.0) -> bool:
    """Wait for a process to end, by pidfd; True where it has (so has a zombie that is not reaped)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], deadline)[0])
    finally:
        os.close(fd)
