"""What all benches share: where they run, and taking turns."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from bpfroots import process
from bpfroots.bench.model import Context
from bpfroots.errors import InfraError
from bpfroots.jobs.kit import Kit, prepare
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel
from bpfroots.machine.accel import qemu_version
from bpfroots.progress import Progress
from bpfroots.settings import cache_root, jobs, project, results_root

Document = TypeVar("Document")


@dataclass(frozen=True)
class Bench:
    """The kernel as ``--kernel`` has it, the accelerator, and how many samples are taken."""

    argument: str
    accel: Accel
    runs: int
    progress: Progress

    @functools.cached_property
    def kit(self) -> Kit:
        return prepare([self.argument], self.progress)

    def context(self, kernel: Kernel) -> Context:
        """Where it is measured; ask before the first sample."""
        return Context(
            started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            kernel=kernel.name,
            release=kernel.release,
            kernel_key=kernel.key,
            accel=self.accel.name,
            qemu=qemu_version(),
            cores=jobs(),
            cpu=_cpu(),
            load=round(os.getloadavg()[0], 2),
        )


def environment() -> dict[str, str]:
    """Of a bpfroots that is measured: it finds the project that this one has."""
    return {**os.environ, "BPFROOTS_ROOT": str(own)} if (own := project()) else dict(os.environ)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory with room for some GiB, gone whatever happens to us."""
    path = process.temporary_directory("bench-", cache_root())
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class _Kept(msgspec.Struct):
    """The run folder that a document of `--json` names."""

    run: str


def ours(
    bench: Bench,
    words: Sequence[str],
    document: type[Document],
    *,
    deadline: float,
    ends: Sequence[int] = (0, 1),
    separate: Mapping[str, str] | None = None,
) -> tuple[float, Document]:
    """`bpfroots WORDS --json` as a person types it: its seconds, and what is wanted of its document.

    ``ends`` are the exit codes it may have, ``separate`` what its environment has beside ours. Its run folder
    is removed: it is no result, and would be the newest run. Raises InfraError.
    """
    argv = [sys.executable, "-m", "bpfroots", *words, "--accel", bench.accel.name, "--json"]
    start = time.monotonic()
    done = process.run(argv, env=environment() | dict(separate or {}), timeout=deadline)
    seconds = time.monotonic() - start
    with contextlib.suppress(msgspec.MsgspecError):
        run = msgspec.json.decode(done.stdout, type=_Kept).run
        shutil.rmtree(results_root() / run, ignore_errors=True)
    if done.returncode not in ends:
        msg = f"bpfroots {words[0]} ended with status {done.returncode}"
        raise InfraError(msg, detail=done.stderr.decode(errors="replace")[-2000:])
    return seconds, msgspec.json.decode(done.stdout, type=document)


def take_turns(
    runs: int, sides: Sequence[Callable[[], float]], progress: Callable[[int], None]
) -> list[list[float]]:
    """``runs`` samples of each side, one after the other's: what each call gives."""
    samples: list[list[float]] = [[] for _ in sides]
    for done in range(runs):
        for side, found in zip(sides, samples, strict=True):
            found.append(side())
        progress(done + 1)
    return samples


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""
