"""What a run consists of: cells asked for, before anything was built or booted."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UserError
from harness.programs import elf, render
from harness.programs.cases import Case, Expectation
from harness.programs.packets import PACKETS
from harness.programs.protocol import Load, Mechanism, Step, TestRun


def cell_id(case: str, mechanism: str) -> str:
    """Unique within a kernel; names the load in the runner's protocol."""
    return f"{case}#{mechanism}"


@dataclass(frozen=True)
class Program:
    """What to load: ``source`` is C to compile, as the compiler is to see it, or ``object`` an ELF that
    exists. ``file`` is what a user's source was read from: its errors are named for it, its headers are
    beside it."""

    source: bytes = b""
    object: Path | None = None
    file: Path | None = None

    @property
    def is_source(self) -> bool:
        """Is there anything to compile? A user's file may be empty."""
        return bool(self.source or self.file)


@dataclass(frozen=True)
class Objects:
    """The files of a cell on this side; ``library`` only under fd_name."""

    program: Path
    library: Path | None = None

    def of(self, load: Load) -> dict[str, Path]:
        """The files by the names that ``load`` has for them."""
        files = {load.object: self.program}
        return files | {load.library: self.library} if self.library else files


@dataclass(frozen=True)
class CellSpec:
    """One case under one mechanism, on whichever kernel it is submitted for.

    ``library`` is loaded before ``program``, whose roots call its functions. ``skip`` says why there
    is nothing to load. ``case`` is the definition behind it, None for a user's own object.
    """

    name: str
    mechanism: Mechanism
    roots: list[str]
    steps: list[Step] = field(default_factory=list)
    expected: Expectation = field(default_factory=Expectation)
    program: Program = field(default_factory=Program)
    library: Program | None = None
    skip: str = ""
    case: Case | None = None
    reproduce: str = ""

    @property
    def id(self) -> str:
        return cell_id(self.name, self.mechanism)

    @property
    def inputs(self) -> dict[int, str]:
        """What each test run of ``steps`` feeds, by the step's index."""
        names = {data.hex(): name for name, data in PACKETS.items()}
        runs = ((n, step) for n, step in enumerate(self.steps) if isinstance(step, TestRun))
        return {n: names.get(step.data, f"step {n}") for n, step in runs}

    def load(self, slowdown: float) -> Load:
        """The runner's order for this cell; its deadline grows with the accelerator's ``slowdown``."""
        stem = self.name.replace("/", "_")
        return Load(
            id=self.id,
            mechanism=self.mechanism,
            object=f"{stem}.{render.form_of(self.mechanism)}.bpf.o",
            library=f"{stem}.library.bpf.o" if self.library else "",
            roots=self.roots,
            steps=self.steps,
            timeout_s=30.0 * slowdown,
        )


def case_cells(cases: Iterable[Case], mechanisms: Sequence[Mechanism]) -> list[CellSpec]:
    """The cells of cases. `duplicate` comes first in each: it is what the others are held against."""
    order = sorted(mechanisms, key=lambda mechanism: mechanism != "duplicate")
    return [_case_cell(case, mechanism) for case in cases for mechanism in order]


def _case_cell(case: Case, mechanism: Mechanism) -> CellSpec:
    skip = case.skip_reason(mechanism)
    by_name = mechanism == "fd_name" and not skip
    return CellSpec(
        name=case.name,
        mechanism=mechanism,
        roots=case.root_names,
        steps=case.steps(),
        expected=case.expectation(mechanism),
        program=Program() if skip else Program(render.render(case, render.form_of(mechanism)).encode()),
        library=Program(render.render(case, "library").encode()) if by_name else None,
        skip=skip,
        case=case,
    )


def object_cells(paths: Sequence[Path], mechanism: Mechanism, library: Path | None = None) -> list[CellSpec]:
    """The cells of a user's own .bpf.o or .bpf.c files; under fd_name they call what ``library`` exports.

    Raises UserError for what is neither.
    """
    if mechanism == "tail_call":
        msg = "load takes a finished program; only generated cases have a tail-call form"
        raise UserError(msg, hint="--mechanism duplicate")
    if (mechanism == "fd_name") != (library is not None):
        msg = "fd_name calls functions of a library, and no other mechanism does"
        raise UserError(msg, hint="--mechanism fd_name --lib OBJECT")
    loaded_before = _program(library.resolve()) if library else None
    cells: dict[str, CellSpec] = {}
    for path in paths:
        number = len(cells) if path.name in cells else 0
        cell = _object_cell(path.resolve(), mechanism, number, loaded_before)
        cells[path.name if path.name not in cells else cell.name] = cell
    return list(cells.values())


def _object_cell(path: Path, mechanism: Mechanism, number: int, library: Program | None) -> CellSpec:
    stem = path.name.removesuffix(".c").removesuffix(".o").removesuffix(".bpf")
    name = f"load/{stem}" + (f"-{number}" if number else "")
    argv = ["bpfroots", "load", str(path), "--kernel", "KERNEL", "--mechanism", mechanism]
    argv += ["--lib", str(library.file or library.object)] if library else []
    return CellSpec(name, mechanism, [], program=_program(path), library=library, reproduce=shlex.join(argv))


def _program(path: Path) -> Program:
    if path.suffix == ".c":
        return Program(source=_read(path), file=path)
    elf.programs(path)
    return Program(object=path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path}: {error.strerror}"
    raise UserError(msg)
