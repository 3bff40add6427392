"""What the programs of a cell have in common: loads of several programs, and functions of several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bpfroots.analysis.cell import image_key
from bpfroots.results.model import Cell, Root

_PREFIX = "bpf_prog_"


@dataclass(frozen=True)
class Groups:
    """``groups`` are the loads of several programs, accepted or not, ``alone`` the programs with a load of
    their own. ``shared`` has the programs that call a function, where they are several, by the function.
    """

    groups: list[list[str]]
    alone: list[str]
    shared: dict[str, list[str]]


def groups(cell: Cell) -> Groups:
    """Of programs that the kernel was not asked about there is nothing."""
    loads = [load.programs for load in cell.verifications]
    return Groups(
        [programs for programs in loads if len(programs) > 1],
        [programs[0] for programs in loads if len(programs) == 1],
        _shared(cell.programs),
    )


def callers(programs: Iterable[Root]) -> dict[str, list[str]]:
    """The names of the programs that have an image, by `image_key`."""
    found: dict[str, list[str]] = {}
    for program in programs:
        for image in program.jit.images:
            if key := image_key(image):
                found.setdefault(key, []).append(program.name)
    return found


def _shared(programs: list[Root]) -> dict[str, list[str]]:
    names = {image_key(image): image.symbol for program in programs for image in program.jit.images}
    shared: dict[str, list[str]] = {}
    for key, called_by in callers(programs).items():
        if len(called_by) > 1:
            # Two functions may have one name: static ones of two files.
            known = shared.setdefault(names[key].removeprefix(_PREFIX), [])
            known += [name for name in called_by if name not in known]
    return shared
