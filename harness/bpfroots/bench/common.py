"""What all benches share: where they run, and taking turns."""

from __future__ import annotations

import datetime
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfroots.bench.model import Context
from bpfroots.jobs.kit import Kit, prepare
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel
from bpfroots.machine.accel import qemu_version
from bpfroots.progress import Progress
from bpfroots.settings import jobs, project


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
