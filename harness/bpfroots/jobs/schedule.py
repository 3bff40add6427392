"""How many guests at once, and which cells go to one guest together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bpfroots.jobs.spec import CellSpec
from bpfroots.settings import jobs
from bpfroots.shape import Shape

# A guest's memory is taken only where it writes; QEMU itself and its translated code come on top.
_QEMU_MIB = 200
# Host memory that is left to others.
_SPARED_MIB = 512
# A batch costs a runner's start, 0.2 s under emulation; what a dying guest makes run again is one batch.
_BATCH = 64
_LEAST = 4


def guests_at_once(shape: Shape, wanted: int | None = None) -> int:
    """Guests that the cores and the free memory of this host carry; ``wanted`` only what memory does."""
    by_memory = (available_mib() - _SPARED_MIB) // memory_of(shape.memory_mib)
    by_cores = wanted or max(1, jobs() // shape.cpus)
    return max(1, min(by_memory, by_cores))


def memory_of(memory_mib: int) -> int:
    """What a guest with so much memory takes of its host, in MiB, at the most."""
    return memory_mib + _QEMU_MIB


def batches(specs: Iterable[CellSpec], guests: int) -> list[list[CellSpec]]:
    """Cells in order, the cells of a case together: they are compared with each other."""
    cases: dict[str, list[CellSpec]] = {}
    for spec in specs:
        cases.setdefault(spec.name, []).append(spec)
    left = sum(map(len, cases.values()))
    # Smaller and smaller ones, so that no guest is idle for long at the end.
    parts = 2 * guests if guests > 1 else 1
    least = min(_LEAST, -(-left // parts))
    found: list[list[CellSpec]] = []
    room = 0
    for case in cases.values():
        if room <= 0:
            room = max(least, min(_BATCH, -(-left // parts)))
            found.append([])
        found[-1] += case
        room -= len(case)
        left -= len(case)
    return found


def available_mib() -> int:
    """What the kernel thinks can be taken without swapping (/proc/meminfo, MemAvailable)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return _SPARED_MIB
