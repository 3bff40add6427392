"""Where cells run: what a run has before its first guest, and who runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bpfroots.images import Image
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.spec import CellSpec
from bpfroots.machine import Accel, Machine
from bpfroots.progress import Progress
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore

if TYPE_CHECKING:
    from bpfroots.jobs.verdicts import Verdicts


class Executor(Protocol):
    """Guests of other machines: `bpfroots.cluster`."""

    def accel(self, requested: str) -> Accel:
        """What ``auto``, ``kvm`` or ``tcg`` is there. Raises InfraError where it is not to be had."""
        ...

    def build(self, names: Sequence[str], progress: Progress) -> None:
        """Have kernels, as they are asked for, built there and brought here; what cannot be is left."""
        ...

    def run(
        self, image: Image, accel: Accel, specs: Sequence[CellSpec], verdicts: Verdicts
    ) -> Iterator[Cell]:
        """Every cell once, on the kernel of ``verdicts``, which judges it. Raises KernelError, InfraError."""
        ...


@dataclass(frozen=True)
class Site:
    """Kernels, image and compiler, the run folder, and the guests.

    ``guests`` at once, by default what the host carries. ``keep`` gets the guest before its end, which waits
    for it. ``executor`` runs the cells, instead of guests of this process; ``accel`` is that of its guests.
    """

    kit: Kit
    store: RunStore
    accel: Accel
    guests: int | None = None
    keep: Callable[[Machine], None] | None = None
    executor: Executor | None = None
