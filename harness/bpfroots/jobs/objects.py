"""Cells of a user's own objects and sources: what `load` and `bisect --object` are given."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bpfroots.errors import UserError
from bpfroots.jobs.spec import CellSpec, ProgramFile
from bpfroots.programs import allowed, elf
from bpfroots.results.request import TIMEOUT_S, Objects

#: Below a directory: what is looked at.
_SUFFIXES = (".o", ".bpf.c")


def _arguments(how: Objects) -> list[str]:
    """Of the command line, but for file and mechanism."""
    words = ["--lib", how.library] if how.library else []
    words += ["--target", how.target] if how.target else []
    words += ["--expect", how.expect] if how.expect else []
    words += [] if how.fixups else ["--as-is"]
    for directory in how.include:
        words += ["-I", directory]
    for name, value in how.globals.items():
        words += ["-G", f"{name}={value}"]
    return words + (["--timeout", f"{how.timeout_s:g}"] if how.timeout_s != TIMEOUT_S else [])


def object_cells(how: Objects) -> list[CellSpec]:
    """The cells of .bpf.o and .bpf.c files and of directories with such files, under each mechanism.

    A cell is named for its path, without the directories that all have in common. A file that cannot be
    used has cells that say why (`CellSpec.unusable`). Raises UserError where none can be, and for a
    combination of options that has no meaning.
    """
    _check(how)
    include = tuple(map(Path, how.include))
    library, target = (_program(Path(path), include) if path else None for path in (how.library, how.target))
    exceptions = allowed.read(Path(how.expect)) if how.expect else ()
    cells: list[CellSpec] = []
    error: UserError | None = None
    for path, name in _named(_files(map(Path, how.paths)), how.name).items():
        program, unusable = _try(path, include)
        for mechanism in how.mechanisms:
            words = [str(path), "--mechanism", mechanism, *_arguments(how)]
            cells.append(
                CellSpec(
                    name,
                    mechanism,
                    [],
                    program=program,
                    library=library if mechanism == "fd_name" else None,
                    target=target,
                    globals=how.globals,
                    fixups=how.fixups,
                    timeout_s=how.timeout_s,
                    unusable=unusable.message if unusable else "",
                    allowed=exceptions,
                    any_verdict=how.any_verdict,
                    arguments=tuple(words),
                )
            )
        error = error or unusable
    if error and all(cell.unusable for cell in cells):
        raise error
    return cells


def _check(how: Objects) -> None:
    if "tail_call" in how.mechanisms:
        msg = "load takes a finished program; only generated cases have a tail-call form"
        raise UserError(msg, hint="--mechanism duplicate")
    if ("fd_name" in how.mechanisms) != bool(how.library):
        msg = "fd_name calls functions of a library, and no other mechanism does"
        raise UserError(msg, hint="--mechanism fd_name --lib OBJECT")


def absolute(path: Path) -> Path:
    """A symbolic link keeps its name: people know a file by the name that they gave."""
    return Path(os.path.normpath(path.absolute()))


def _files(paths: Iterable[Path]) -> list[Path]:
    """Absolute paths, each once; directories are walked."""
    found: list[Path] = []
    for path in paths:
        place = absolute(path)
        if not place.is_dir():
            found.append(place)
            continue
        below = sorted(file for file in place.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file())
        if not below:
            msg = f"{path}: no .bpf.c or .o below this directory"
            raise UserError(msg)
        found += below
    return list(dict.fromkeys(found))


def _named(paths: Sequence[Path], first: str) -> dict[Path, str]:
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return {path: f"{first}/{path.relative_to(common)}" for path in paths}


def _try(path: Path, include: tuple[Path, ...]) -> tuple[ProgramFile, UserError | None]:
    try:
        return _program(path, include), None
    except UserError as error:
        return ProgramFile(file=path), error


def _program(path: Path, include: tuple[Path, ...] = ()) -> ProgramFile:
    """Raises UserError for a file that is neither C nor a BPF object."""
    if path.suffix == ".c":
        return ProgramFile(source=_read(path), file=path, include=include)
    elf.programs(path)
    return ProgramFile(object=path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path}: {error.strerror}"
    raise UserError(msg)
