"""A kernel from nothing: `bpfroots kernel build` against make, with the same source and configuration."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time

from bpfroots import kernels, process
from bpfroots.bench.common import Bench, environment, scratch, take_turns
from bpfroots.bench.model import SECONDS, Measurement, measurement
from bpfroots.errors import InfraError
from bpfroots.kernels import Kernel
from bpfroots.settings import cache_root, jobs

_WHAT = (
    "bpfroots kernel build, no objects and no ccache, from an unpacked source to the checked and stored "
    "kernel; the peer's is make olddefconfig bzImage in the patched tree, without reproducible time stamps"
)
_DEADLINE = 4 * 3600.0


def measure(bench: Bench, runs: int) -> Measurement:
    """build. Raises InfraError where either fails."""
    kernel = kernels.ensure(kernels.resolve(bench.argument), bench.progress)
    if kernel.source is None or kernel.image.config is None:
        msg = f"{kernel.name} was not built by bpfroots: there is nothing to build"
        raise InfraError(msg)
    context = bench.context(kernel)
    with bench.progress.task(f"bench     build {kernel.name}", "runs") as task:
        sides = [lambda: _ours(bench.argument), lambda: _plain(kernel)]
        samples = take_turns(runs, sides, lambda done: task.update(done, runs))
    return measurement(
        samples[0],
        samples[1],
        unit=SECONDS,
        what=_WHAT,
        context=context,
        name="make",
        command=shlex.join(["make", f"-j{jobs()}", "olddefconfig", "bzImage"]),
    )


def _ours(argument: str) -> float:
    """In a cache of its own, but for the unpacked source."""
    with scratch() as room:
        root = room / "bpfroots"
        root.mkdir(mode=0o700)
        (root / "source").symlink_to(cache_root() / "source")
        argv = [sys.executable, "-m", "bpfroots", "kernel", "build", argument]
        separate = {"XDG_CACHE_HOME": str(room), "CCACHE_DISABLE": "1"}
        return _timed("bpfroots kernel build", argv, environment() | separate)


def _plain(kernel: Kernel) -> float:
    assert kernel.source is not None and kernel.image.config is not None  # noqa: S101, PT018
    with scratch() as room:
        shutil.copyfile(kernel.image.config, room / ".config")
        argv = ["make", "-C", str(kernel.source), f"O={room}", f"-j{jobs()}", "olddefconfig", "bzImage"]
        kept = ("PATH", "HOME", "TMPDIR", "USER", "LOGNAME")
        return _timed("make", argv, {name: os.environ[name] for name in kept if name in os.environ})


def _timed(what: str, argv: list[str], environment: dict[str, str]) -> float:
    start = time.monotonic()
    done = process.run(argv, env=environment, timeout=_DEADLINE)
    seconds = time.monotonic() - start
    if done.returncode:
        tail = (done.stdout + done.stderr).decode(errors="replace").splitlines()[-10:]
        msg = f"{what} ended with status {done.returncode}"
        raise InfraError(msg, detail="\n".join(tail))
    return seconds
