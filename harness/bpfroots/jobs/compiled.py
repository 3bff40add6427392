"""The objects of the cells of a run: compiled, or as they are given."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bpfroots.errors import UserError
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.spec import CellFiles, CellSpec, ProgramFile
from bpfroots.programs import compile as compiling
from bpfroots.results.key import Key
from bpfroots.settings import jobs


@dataclass(frozen=True)
class Compiled:
    """``objects`` by `CellSpec.key`; ``unusable`` says why a user's own program has none."""

    objects: dict[Key, CellFiles]
    unusable: dict[Key, str]


def compile_cells(kit: Kit, specs: Sequence[CellSpec]) -> Compiled:
    """The objects of every cell that is not skipped.

    Raises UserError for our own C that does not compile, a library or target that does not, and where no
    program is left.
    """
    wanted = {part: spec for spec in specs for part in spec.parts if part.is_source and not spec.unusable}

    def one(part: ProgramFile, spec: CellSpec) -> Path | UserError:
        shown, near = spec.name, tuple[Path, ...]()
        if part.file:
            shown, near = part.file.name, (part.file.parent, *part.include)
        try:
            return compiling.compile_source(kit.toolchain, kit.objects, part.source, shown, near)
        except UserError as error:
            if spec.case is not None or part is not spec.program:
                raise
            return error

    with ThreadPoolExecutor(jobs()) as pool:
        built = dict(zip(wanted, pool.map(one, wanted.keys(), wanted.values()), strict=True))
    compiled = Compiled({}, {})
    for spec in specs:
        if not spec.skip:
            _sort(spec, built, compiled)
    errors = [found for found in built.values() if isinstance(found, UserError)]
    if errors and not compiled.objects:
        raise errors[0]
    return compiled


def _sort(spec: CellSpec, built: dict[ProgramFile, Path | UserError], compiled: Compiled) -> None:
    """Put one cell where it belongs."""

    def file(part: ProgramFile | None) -> Path | None:
        found = (part.object or built.get(part)) if part else None
        return None if isinstance(found, UserError) else found

    found = built.get(spec.program)
    program = file(spec.program)
    if spec.unusable or isinstance(found, UserError):
        compiled.unusable[spec.key] = spec.unusable or str(found)
    elif program:
        compiled.objects[spec.key] = CellFiles(program, file(spec.library), file(spec.target))
