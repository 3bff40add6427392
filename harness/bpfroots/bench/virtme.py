"""virtme-ng, the nearest to what ours is: a command in a guest of a kernel, from the host's shell."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from bpfroots.errors import BpfrootsError, InfraError
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel
from bpfroots.process import run

_DEADLINE = 120.0
# The host's file system by virtiofs, which it prefers, or by 9p. The faster way is measured, so a vain wait
# for a virtiofsd does not count. Without CONFIG_BLOCK the kernel finds a 9p root only by its tag.
_WAYS = ((), ("--force-9p", "--append", "root=/dev/root"))


class NoPeer(BpfrootsError):
    """It cannot be had, or does not work here."""


@dataclass(frozen=True)
class Virtme:
    """virtme-ng for one kernel, the way in which it is fastest here."""

    name: str
    argv: tuple[str, ...]

    def command(self, command: str) -> str:
        """What is measured, for a person."""
        return shlex.join([Path(self.argv[0]).name, *self.argv[1:], "--", command])

    def seconds(self, command: str) -> float:
        """From its start to its end, with ``command`` run in a guest of its own. Raises NoPeer."""
        start = time.monotonic()
        done = _run([*self.argv, "--", command])
        elapsed = time.monotonic() - start
        if done.returncode:
            raise _failed(self.name, done)
        return elapsed


def find(kernel: Kernel, accel: Accel) -> Virtme:
    """virtme-ng, after a first run in each way. Raises NoPeer, which says why."""
    try:
        name = f"virtme-ng {importlib.metadata.version('virtme-ng')}"
    except importlib.metadata.PackageNotFoundError:
        msg = "virtme-ng is not installed"
        raise NoPeer(msg, hint="pip install -e '.[bench]'") from None
    beside = Path(sys.executable).with_name("vng")
    found = str(beside) if beside.exists() else shutil.which("vng")
    if found is None:
        msg = f"{name} has no command vng"
        raise NoPeer(msg)
    shape = ("--memory", f"{kernel.shape.memory_mib}M", "--cpus", str(kernel.shape.cpus))
    base = [found, "--run", str(kernel.image.path), *shape]
    if accel.name != "kvm":
        base.append("--disable-kvm")
    tried = [Virtme(name, (*base, *way)) for way in _WAYS]
    times: dict[float, Virtme] = {}
    failure: NoPeer | None = None
    for virtme in tried:
        try:
            # The second time: the first fills the host's page cache for all that follow.
            virtme.seconds("true")
            times[virtme.seconds("true")] = virtme
        except NoPeer as error:
            failure = error
    if not times:
        assert failure is not None  # noqa: S101
        raise failure
    return times[min(times)]


def _run(argv: list[str]) -> CompletedProcess[bytes]:
    # It looks for its own parts on PATH.
    path = f"{Path(argv[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        return run(argv, env={**os.environ, "PATH": path}, timeout=_DEADLINE)
    except InfraError as error:
        raise NoPeer(error.message) from None


def _failed(name: str, done: CompletedProcess[bytes]) -> NoPeer:
    said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()[-1:]
    msg = f"{name} ended with status {done.returncode}{': ' if said else ''}{''.join(said)}"
    return NoPeer(msg)
