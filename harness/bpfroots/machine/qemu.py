"""One QEMU process: started, listened to, and gone when we say so."""

from __future__ import annotations

import array
import contextlib
import fcntl
import logging
import os
import select
import socket
import subprocess
import tempfile
import termios
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bpfroots.machine.console import ConsoleLog
from bpfroots.machine.events import Marked, Post, QemuExited, SplatSeen
from bpfroots.process import spawn

if TYPE_CHECKING:
    from bpfroots.machine.qmp import Qmp

_log = logging.getLogger(__name__)

_READ = 1 << 16
_PIPE_SIZE = 1 << 20
# For what is already written when QEMU is gone; only a stuck disk takes longer.
_DRAIN = 5.0


class CommandLine(Protocol):
    """QEMU's arguments, given the descriptor of the QMP socket that it inherits."""

    def __call__(self, *, qmp_fd: int) -> Sequence[str]: ...


class QemuProcess:
    """QEMU with its console on a pipe and QMP on a socket pair: both end when it ends, whoever killed it.

    Raises InfraError where QEMU is not installed.
    """

    def __init__(self, command: CommandLine, console: ConsoleLog, name: str, post: Post) -> None:
        self._post = post
        self._console = console
        self._alive = True
        self._reading = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        qmp_socket, qmp_end = socket.socketpair()
        with qmp_end:
            fd = qmp_end.fileno()
            self.command = list(command(qmp_fd=fd))
            try:
                self._child = spawn(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._stderr,
                    pass_fds=(fd,),
                )
            except BaseException:
                qmp_socket.close()
                self._stderr.close()
                console.close()
                raise
        self._pipe = self._child.stdout.fileno()
        # A kernel must not lose its last words because this process had no time to read.
        with contextlib.suppress(PermissionError):  # the user's share of pipe memory is used up
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        os.set_blocking(self._pipe, False)
        self.pid = self._child.pid
        #: For the log, where guests of one kernel have to be told apart: "baseline[4711]".
        self.name = f"{name}[{self.pid}]"
        _log.info("%s: QEMU started, console: %s", self.name, console.path)
        self.qmp = _monitor(qmp_socket, self.name, post)
        self._reader = threading.Thread(target=self._read, name=f"bpfroots-console-{name}", daemon=True)
        self._waiter = threading.Thread(target=self._wait, name=f"bpfroots-exit-{name}", daemon=True)
        self._reader.start()
        self._waiter.start()

    def type(self, line: str) -> None:
        """Write a line to the guest's console, as its keyboard. Lost where QEMU is gone."""
        with contextlib.suppress(OSError):
            os.write(self._child.stdin.fileno(), line.encode() + b"\n")

    def stopped(self) -> bool:
        """Is the process stopped by a signal (state T in proc(5))?"""
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{self.pid}/stat").read_text()
            return stat.rpartition(")")[2].split()[0] in "Tt"
        return False

    def stderr(self) -> str:
        """The last lines QEMU wrote itself."""
        size = self._stderr.seek(0, 2)
        self._stderr.seek(max(0, size - 4096))
        return self._stderr.read().decode(errors="replace").strip()

    def catch_up(self) -> None:
        """Look at all the console has said until now.

        The emulated UART writes to our pipe before the guest's next instruction, so what
        the guest printed before something we know of is in the pipe by then.
        """
        size = array.array("i", [0])
        fcntl.ioctl(self._pipe, termios.FIONREAD, size)
        while size[0] > 0 and (taken := self._take(min(size[0], _READ))):
            size[0] -= taken

    def close(self) -> None:
        """Kill it and wait until nothing of it is left. Safe to call twice."""
        self._child.kill()
        self._waiter.join(2 * _DRAIN)
        self._child.stdin.close()
        if not self._reader.is_alive():
            self._child.stdout.close()
        self._stderr.close()

    def _read(self) -> None:
        readable = select.poll()
        readable.register(self._pipe, select.POLLIN)
        while self._alive:
            readable.poll()
            self._take(_READ)
        self._found(self._console.close())

    def _take(self, count: int) -> int:
        """Read what is there, ``count`` bytes at most; 0 where nothing is left or it has ended."""
        with self._reading:
            try:
                data = os.read(self._pipe, count)
            except BlockingIOError:
                return 0
            if not data:
                self._alive = False
            else:
                self._found(self._console.feed(data))
            return len(data)

    def _found(self, lines: list[str]) -> None:
        for line in lines:
            self._post(Marked(line) if line else SplatSeen())

    def _wait(self) -> None:
        status = self._child.wait()
        _log.info("%s: QEMU ended with status %d", self.name, status)
        self._reader.join(_DRAIN)
        try:
            self.qmp.drain(_DRAIN)
        finally:
            self._post(QemuExited(status))


def _monitor(connected: socket.socket, name: str, post: Post) -> Qmp:
    from bpfroots.machine.qmp import Qmp  # now, while QEMU starts: asyncio takes long to import

    return Qmp(connected, name, post)
