"""Child processes that cannot outlive us.

Every child is the leader of its own process group and is known to the reaper
(_reaper.py) before it executes anything; `Child.kill` ends the whole group, and so does
the reaper when this process dies, SIGKILL included.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bpfroots.errors import InfraError

_log = logging.getLogger(__name__)

# Registers itself with the reaper, drops the reaper's pipe, becomes the command.
# The pipe is open in the child until the registration is written, so the
# reaper cannot see end-of-file before it knows the group.
# bash because dash knows no descriptor above 9; -p keeps it from reading $BASH_ENV.
_REGISTER = 'echo "+$$" >&"$BPFROOTS_REAPER"; exec {BPFROOTS_REAPER}>&-; unset BPFROOTS_REAPER; exec "$@"'


class _Reaper:
    def __init__(self) -> None:
        read, self.fd = os.pipe()
        script = Path(__file__).with_name("_reaper.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=read,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read)
        atexit.register(self._close)

    def tell(self, line: str) -> None:
        os.write(self.fd, line.encode() + b"\n")

    def _close(self) -> None:
        os.close(self.fd)
        self._process.wait()


_reaper_lock = threading.Lock()


@functools.cache
def _start_reaper(pid: int) -> _Reaper:  # noqa: ARG001  (one per process: a fork must not share it)
    return _Reaper()


def _reaper() -> _Reaper:
    with _reaper_lock:
        return _start_reaper(os.getpid())


class Child:
    """A running command and its process group."""

    def __init__(self, popen: subprocess.Popen[bytes], name: str) -> None:
        self.popen = popen
        self.name = name
        self.pid = popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self.popen.stdin is not None  # noqa: S101
        return self.popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.popen.stdout is not None  # noqa: S101
        return self.popen.stdout

    def poll(self) -> int | None:
        return self.popen.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Exit status, negative for a signal. Raises subprocess.TimeoutExpired."""
        status = self.popen.wait(timeout)
        self._forget()
        return status

    def kill(self) -> None:
        """Kill the whole group and reap the leader. Safe to call twice."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()
        self._forget()

    def _forget(self) -> None:
        # A group can outlive its leader (make's children): only an empty one is forgotten.
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            _reaper().tell(f"-{self.pid}")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream is not None:
                stream.close()


def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start ``argv`` in a process group of its own that dies with us.

    Raises InfraError where the program does not exist.
    """
    command = [str(a) for a in argv]
    if shutil.which(command[0], path=(env or os.environ).get("PATH")) is None:
        msg = f"{command[0]}: not found on this machine"
        raise InfraError(msg, hint="bpfroots setup")
    reaper = _reaper()
    popen = subprocess.Popen(
        ["/bin/bash", "-p", "-c", _REGISTER, command[0], *command],
        cwd=cwd,
        env={**(os.environ if env is None else env), "BPFROOTS_REAPER": str(reaper.fd)},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=(reaper.fd, *pass_fds),
    )
    _log.debug("%d: %s", popen.pid, shlex.join(command))
    return Child(popen, Path(command[0]).name)


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002  (subprocess's own name)
    timeout: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run ``argv`` to its end; output and errors are captured, nothing is checked.

    Raises InfraError where the program is missing or ``timeout`` (seconds) passes.
    """
    start = time.monotonic()
    with spawn(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            out, err = child.popen.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            msg = f"{child.name}: no end after {timeout:g} s"
            raise InfraError(msg, detail=" ".join(str(a) for a in argv)) from None
        _log.debug("%d: status %d after %.3f s", child.pid, child.popen.returncode, time.monotonic() - start)
        return subprocess.CompletedProcess([str(a) for a in argv], child.popen.returncode, out, err)


def temporary_directory(prefix: str = "bpfroots-", parent: Path | None = None) -> Path:
    """A private directory that is removed when this process ends, however it ends.

    Short on purpose: UNIX socket paths end at 108 bytes. ``parent`` is for what is too large for /tmp.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent or "/tmp"))  # noqa: S108
    _reaper().tell(f"d {path}")
    return path
