"""The objects of the cells of a run: compiled, or as they are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bpfroots.errors import UserError
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.spec import CellFiles, CellSpec, ProgramFile
from bpfroots.programs import compile as compiling
from bpfroots.progress import Progress
from bpfroots.results.key import Key
from bpfroots.settings import jobs

# So many sources of a user take minutes the first time.
_MANY = 100

_Built = tuple[ProgramFile, Path | UserError]


@dataclass(frozen=True)
class Compiled:
    """``objects`` by `CellSpec.key`; ``unusable`` says why a user's own program has none."""

    objects: dict[Key, CellFiles]
    unusable: dict[Key, str]


def compile_cells(kit: Kit, specs: Sequence[CellSpec], progress: Progress | None = None) -> Compiled:
    """The objects of every cell that is not skipped. ``progress`` is told where there are many.

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
        done = zip(wanted, pool.map(one, wanted.keys(), wanted.values()), strict=True)
        built = dict(_told(done, wanted, progress or Progress(quiet=True)))
    compiled = Compiled({}, {})
    for spec in specs:
        if not spec.skip:
            _sort(spec, built, compiled)
    errors = [found for found in built.values() if isinstance(found, UserError)]
    if errors and not compiled.objects:
        raise errors[0]
    return compiled


def _told(
    done: Iterator[_Built], wanted: Mapping[ProgramFile, CellSpec], progress: Progress
) -> Iterator[_Built]:
    """The same, and where it takes long how far it is."""
    if sum(spec.case is None for spec in wanted.values()) < _MANY:
        yield from done
        return
    with progress.task(f"programs  {len(wanted):,} sources", "sources") as task:
        for number, item in enumerate(done, 1):
            task.update(number, len(wanted))
            yield item


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
