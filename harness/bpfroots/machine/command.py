"""A command that runs in a guest."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfroots.errors import GuestError
from bpfroots.machine.events import Chunk, SessionEnded
from bpfroots.machine.watch import Watch

if TYPE_CHECKING:
    from bpfroots.machine.ssh import Session

_STDERR_KEPT = 1 << 16


@dataclass(frozen=True)
class Completed:
    """A command's end. ``status`` -1: killed by a signal. ``stderr``: its last 64 KiB."""

    status: int
    stdout: bytes
    stderr: bytes


class Command:
    """A command in a guest: iterate over its lines of output, then look at ``status``.

    Lines come without their newline, as the guest writes them. Raises GuestCrash, GuestHang,
    GuestTimeout or GuestLost. Stopping early hangs up; the command itself may live on.
    """

    def __init__(
        self,
        watch: Watch,
        silence: Callable[[str], GuestError],
        session: Session,
        deadline: float,
        no_output: float,
    ) -> None:
        self._watch = watch
        self._silence = silence
        self._session = session
        self._deadline = deadline
        self._no_output = no_output
        self._stderr = bytearray()
        #: Exit status; -1 where a signal killed it, None while it runs.
        self.status: int | None = None
        self._lines = self._stream()

    @property
    def stderr(self) -> bytes:
        """The last 64 KiB of its errors."""
        return bytes(self._stderr)

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def close(self) -> None:
        """Hang up; there are no more lines."""
        self._lines.close()
        self._session.close()

    def _stream(self) -> Generator[bytes, None, None]:
        try:
            yield from self._follow()
        finally:
            self._session.close()

    def _follow(self) -> Iterator[bytes]:
        watch = self._watch
        end = time.monotonic() + self._deadline
        quiet = time.monotonic() + self._no_output
        partial_line = bytearray()
        while True:
            event = watch.next(min(end, quiet))
            match event:
                case None:
                    over = "not finished" if end <= quiet else "not a byte of output"
                    seconds = self._deadline if end <= quiet else self._no_output
                    what = f"{over} within {seconds:g} s"
                    raise self._silence(what)
                case Chunk(session=self._session.number, stream=stream, data=data):
                    quiet = time.monotonic() + self._no_output
                    if stream == "stderr":
                        self._stderr = (self._stderr + data)[-_STDERR_KEPT:]
                        continue
                    *lines, rest = data.split(b"\n")
                    for line in lines:
                        yield bytes(partial_line + line)
                        partial_line.clear()
                    partial_line += rest
                case SessionEnded(session=self._session.number, status=status, why=why):
                    if status is None:
                        watch.grace()
                    if why:
                        what = f"the command did not start ({why})"
                        raise self._silence(what)
                    watch.settled()
                    if partial_line:
                        yield bytes(partial_line)
                    self.status = -1 if status is None else status
                    return
                case _:
                    pass  # left over from a command that was given up
