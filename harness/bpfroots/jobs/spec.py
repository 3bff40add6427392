"""What a run consists of: cells asked for, before anything was built or booted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from bpfroots import cache
from bpfroots.programs import render
from bpfroots.programs.allowed import Allowed
from bpfroots.programs.cases import Case, Expectation
from bpfroots.programs.packets import PACKETS
from bpfroots.programs.protocol import Load, Mechanism, Step, TestRun
from bpfroots.results.key import Key
from bpfroots.results.request import TIMEOUT_S

# A file name is 255 bytes at most (NAME_MAX), the suffix included.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class ProgramFile:
    """What to load: ``source`` is C to compile, as the compiler is to see it, or ``object`` an ELF that
    exists. ``file`` is what a user's source was read from: its errors are named for it, its headers are
    beside it and in the directories ``include``."""

    source: bytes = b""
    object: Path | None = None
    file: Path | None = None
    include: tuple[Path, ...] = ()

    @property
    def is_source(self) -> bool:
        """Is there anything to compile? A user's file may be empty."""
        return bool(self.source or self.file)


@dataclass(frozen=True)
class CellFiles:
    """The files of a cell on this side; ``library`` and ``target`` only where the cell has one."""

    program: Path
    library: Path | None = None
    target: Path | None = None

    def of(self, load: Load) -> dict[str, Path]:
        """The files by the names that ``load`` has for them."""
        files = {load.object: self.program, load.library: self.library, load.target: self.target}
        return {name: file for name, file in files.items() if file}

    @property
    def digest(self) -> str:
        """SHA-256 of the object; of those of all files where there are several."""
        digests = [cache.sha256(file) for file in (self.program, self.library, self.target) if file]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


@dataclass(frozen=True)
class CellSpec:
    """One case under one mechanism, on whichever kernel it is submitted for.

    ``library`` and ``target`` are loaded before ``program``, whose roots call functions of the one, and
    replace those of the other. ``attempt`` counts where the same runs again. ``skip`` says why the mechanism
    cannot express the case, ``unusable`` why a user's own object cannot be loaded. ``allowed``: which
    programs of it need not be accepted; ``any_verdict``: none need be. ``case`` is the definition behind it,
    None for a user's own object; ``arguments`` are then those of ``bpfroots load`` that make it again, on a
    kernel that is still to be named.
    """

    name: str
    mechanism: Mechanism
    roots: list[str]
    steps: list[Step] = field(default_factory=list)
    expected: Expectation = field(default_factory=Expectation)
    program: ProgramFile = field(default_factory=ProgramFile)
    library: ProgramFile | None = None
    target: ProgramFile | None = None
    attempt: int = 1
    globals: dict[str, str] = field(default_factory=dict)
    fixups: bool = False
    timeout_s: float = TIMEOUT_S
    skip: str = ""
    missing: str = ""
    unusable: str = ""
    allowed: tuple[Allowed, ...] = ()
    any_verdict: bool = False
    case: Case | None = None
    arguments: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.name, self.mechanism, attempt=self.attempt)

    @property
    def parts(self) -> list[ProgramFile]:
        """What is loaded: the program, and what it needs before."""
        return [part for part in (self.program, self.library, self.target) if part]

    @property
    def is_source(self) -> bool:
        """Is there anything to compile?"""
        return not self.unusable and any(part.is_source for part in self.parts)

    def on(self, release: str, options: Mapping[str, str] | None) -> CellSpec:
        """As a kernel of this release, configured with these options, is expected to answer it."""
        if self.case is None:
            return self
        expected = self.expected
        # One that was put in the place of the case's own stays.
        if expected == self.case.expectation(self.mechanism):
            expected = self.case.expectation(self.mechanism, release)
        return replace(self, expected=expected, missing=self.case.missing_in(release, options))

    @property
    def id(self) -> str:
        """Names the load in the runner's protocol."""
        return self.key.path

    @property
    def inputs(self) -> dict[int, str]:
        """What each test run of ``steps`` feeds, by the step's index."""
        names = {data.hex(): name for name, data in PACKETS.items()}
        runs = ((n, step) for n, step in enumerate(self.steps) if isinstance(step, TestRun))
        return {n: names.get(step.data, f"step {n}") for n, step in runs}

    def load(self, slowdown: float) -> Load:
        """The runner's order for this cell; its deadline grows with the accelerator's ``slowdown``."""
        stem = _file_name(self.name)
        return Load(
            id=self.id,
            mechanism=self.mechanism,
            object=f"{stem}.{render.form_of(self.mechanism)}.bpf.o",
            library=f"{stem}.library.bpf.o" if self.library else "",
            target=f"{stem}.target.bpf.o" if self.target else "",
            roots=self.roots,
            steps=self.steps,
            timeout_s=self.timeout_s * slowdown,
            globals=self.globals,
            fixups=self.fixups,
        )


def _file_name(name: str) -> str:
    """A file for a cell's object in the guest: no other name has it."""
    quoted = quote(name, safe="+")
    return quoted if len(quoted) <= _LONGEST_NAME else hashlib.sha256(name.encode()).hexdigest()


def case_cells(cases: Iterable[Case], mechanisms: Sequence[Mechanism]) -> list[CellSpec]:
    """The cells of cases. `duplicate` comes first in each: it is what the others are compared with."""
    order = sorted(mechanisms, key=lambda mechanism: mechanism != "duplicate")
    return [_case_cell(case, mechanism) for case in cases for mechanism in order]


def _case_cell(case: Case, mechanism: Mechanism) -> CellSpec:
    skip = case.not_expressible(mechanism)
    by_name = mechanism == "fd_name" and not skip
    return CellSpec(
        name=case.name,
        mechanism=mechanism,
        roots=case.root_names,
        steps=case.steps(),
        expected=case.expectation(mechanism),
        program=ProgramFile()
        if skip
        else ProgramFile(render.render(case, render.form_of(mechanism)).encode()),
        library=ProgramFile(render.render(case, "library").encode()) if by_name else None,
        skip=skip,
        case=case,
    )
