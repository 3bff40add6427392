"""Everything that can happen to a machine, in the order in which we came to know it.

A waiter takes them from one queue under a deadline, so that no wait can miss QEMU's exit or a
panic while it looks at something else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal


@dataclass(frozen=True)
class Marked:
    """A console line with one of the marks."""

    line: str


@dataclass(frozen=True)
class SplatSeen:
    """A report begins on the console; `ConsoleLog.splats` has it."""


@dataclass(frozen=True)
class QmpEvent:
    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class QemuExited:
    """``status`` as in subprocess: negative for a signal. Console and QMP were read to the end."""

    status: int


@dataclass(frozen=True)
class Chunk:
    """Output of a command."""

    session: int
    stream: Literal["stdout", "stderr"]
    data: bytes


@dataclass(frozen=True)
class SessionEnded:
    """``status`` None: no exit status came; ``connected`` then tells whether the connection lives.

    A command killed by a signal has no exit status, but leaves the connection alone. ``why``:
    what kept it from starting, or broke it.
    """

    session: int
    status: int | None
    connected: bool
    why: str = ""


@dataclass(frozen=True)
class Answer:
    """Whether the guest answered a fresh SSH connection; ``why`` where it did not."""

    ok: bool
    why: str = ""


Event = Marked | SplatSeen | QmpEvent | QemuExited | Chunk | SessionEnded | Answer

#: Chunks that may wait for a consumer; beyond, the guest's output is held back by SSH's own window.
_MAX_CHUNKS = 64


class EventQueue:
    """Many writers, one reader. Only command output can block a writer; the rest is rare."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Event] = SimpleQueue()
        self._room = threading.Semaphore(_MAX_CHUNKS)
        self._closed = False

    def put(self, event: Event) -> None:
        if isinstance(event, Chunk) and not self._closed:
            self._room.acquire()
        self._queue.put(event)

    def get(self, until: float) -> Event | None:
        """The next event, or None at ``until`` (time.monotonic()). Past it: what is there already."""
        try:
            event = self._queue.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            return None
        if isinstance(event, Chunk):
            self._room.release()
        return event

    def close(self) -> None:
        """No one reads any more: let blocked writers go."""
        self._closed = True
        self._room.release(_MAX_CHUNKS)


Post = Callable[[Event], None]
