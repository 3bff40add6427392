"""What the page of one case shows, read from its cells and their artefacts."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import escape

from bpfroots import arch
from bpfroots.analysis import groups, verifier_log
from bpfroots.analysis.cell import image_key, readable_maps
from bpfroots.analysis.compare import Row
from bpfroots.analysis.diff import code_added
from bpfroots.analysis.shared import SHARING
from bpfroots.programs.protocol import MECHANISMS
from bpfroots.report import text
from bpfroots.results.figures import FIGURES
from bpfroots.results.key import Key
from bpfroots.results.model import BAD, Cell, JitImage, Measure, Root, RunResult

# A page stays light: longer artefacts are shown in part and linked.
_LOG_LINES = 400
_CODE_LINES = 1500
_MAP_ENTRIES = 64

_HEADER = re.compile(r"^; (?P<symbol>\S+) addr=\S* bytes=(?P<bytes>\d+).*\n", re.M)
_INSN = re.compile(r"^ *([0-9a-f]+):  (.*)$", re.M)
# Of escaped lines: calls and jumps to a symbol, a register or memory, but not the return.
_LEAVES = re.compile(r"^(<i>\w+ </i>(?:call|jmp) )(?!0x|\d|\S*return_thunk)(.+)$", re.M)
_INDIRECT = re.compile(arch.GUEST.indirect)


@dataclass(frozen=True)
class _File:
    text: str
    path: str
    cut: bool


@dataclass
class _Image:
    """One JIT image. ``shared`` names the programs that call it, ``equal`` counts equal code on the page.

    ``above`` is the anchor of the same image under an earlier program of the column, where it is shown.
    """

    anchor: str
    symbol: str
    bytes: int
    asm: str
    facts: JitImage | None
    shared: list[str] = field(default_factory=list)
    above: str = ""
    equal: int = 1
    #: As HTML.
    code: str = ""
    #: Instructions of the same function that are only here, and only under `duplicate` on this kernel.
    more: int = 0
    fewer: int = 0
    #: Neither, and yet the bytes differ: an instruction may be encoded in several ways.
    otherwise: bool = False

    @property
    def digest(self) -> str:
        return self.facts.sha256[:10] if self.facts else ""

    @functools.cached_property
    def insns(self) -> list[tuple[int, str]]:
        return [(int(match[1], 16), match[2]) for match in _INSN.finditer(self.asm)]


@dataclass(frozen=True)
class _Program:
    """A program in one column. ``target``: it is called and no root. ``together``: the programs of its load,
    where there are several."""

    root: Root
    target: bool
    log: _File | None
    xlated: _File | None
    jit_path: str
    images: list[_Image]
    together: list[str] = field(default_factory=list)
    #: Where the verifier has spent its instructions; empty where the log is shown in part.
    work: list[verifier_log.Work] = field(default_factory=list)


@dataclass(frozen=True)
class _Column:
    """One cell: a mechanism on a kernel. ``shared`` says what its programs share, where they may."""

    cell: Cell
    row: Row | None
    bad: bool
    programs: dict[str, _Program]
    files: list[tuple[str, str]]
    shared: list[str]


def context(
    run_dir: Path,
    cells: Sequence[Cell],
    rows: Mapping[Key, Row],
    *,
    up: str,
) -> dict[str, object]:
    """The template's variables. ``run_dir`` is resolved; ``up`` leads from the page to report/."""
    cells = sorted(cells, key=lambda cell: (cell.kernel, MECHANISMS.index(cell.mechanism)))
    columns = [_column(run_dir, cell, rows.get(cell.key), f"c{index}") for index, cell in enumerate(cells)]
    _mark_differences(columns)
    known = {name for column in columns if column.row for name in column.row.figures}
    images = [image for column in columns for program in column.programs.values() for image in program.images]
    digests = [image.digest for image in images]
    for image in images:
        image.equal = digests.count(image.digest) if image.digest else 1
    return {
        "columns": columns,
        "several_kernels": len({cell.kernel for cell in cells}) > 1,
        "names": list(dict.fromkeys(name for column in columns for name in column.programs)),
        "sources": _sources(run_dir, cells),
        "maps": _maps(cells),
        "runs": _runs(cells),
        "figures": [figure for figure in FIGURES if figure.name in known],
        "up": up,
        "files_up": "../" + up,
    }


def _mark_differences(columns: Sequence[_Column]) -> None:
    """Compare each program with the one that is loaded alone, with a copy of its own of every function."""
    copies = {column.cell.kernel: column for column in columns if column.cell.mechanism == "duplicate"}
    for column in columns:
        copy = copies.get(column.cell.kernel)
        if copy is None or column is copy:
            continue
        for name, program in column.programs.items():
            if reference := copy.programs.get(name):
                _mark_program(reference, program)


def _mark_program(reference: _Program, program: _Program) -> None:
    known = {image.symbol: image for image in reference.images}
    for image in program.images:
        other = known.get(image.symbol)
        if image.above or other is None or other.digest == image.digest:
            continue
        new = code_added(other.insns, image.insns)
        image.more, image.fewer = len(new), len(code_added(image.insns, other.insns))
        image.otherwise = not image.more and not image.fewer
        lines = image.code.split("\n")
        image.code = "\n".join(
            f"<ins>{line}</ins>" if index in new else line for index, line in enumerate(lines)
        )


def _read(run_dir: Path, relative: str, *, lines: int, end: bool) -> _File | None:
    """An artefact's text, its first or last ``lines`` lines. None where it is not there."""
    path = (run_dir / relative).resolve()
    if not path.is_relative_to(run_dir) or not path.is_file():
        return None
    content = path.read_text(encoding="utf-8", errors="replace")
    if content.count("\n") <= lines:
        return _File(content, relative, cut=False)
    kept = verifier_log.tail(content, lines) if end else "\n".join(content.split("\n", lines)[:lines])
    return _File(kept, relative, cut=True)


def _artefact(cell: Cell, name: str) -> str:
    return cell.artefacts.get(name, "")


def _column(run_dir: Path, cell: Cell, row: Row | None, prefix: str) -> _Column:
    callers = groups.callers(cell.programs)
    shown: dict[str, str] = {}
    programs = {
        root.name: _program(run_dir, cell, root, target, f"{prefix}-{index}")
        for index, (root, target) in enumerate(
            [*((root, False) for root in cell.roots), *((root, True) for root in cell.targets)]
        )
    }
    for program in programs.values():
        _show_images(program, callers, shown)
    shared = text.groups(groups.groups(cell)) if cell.mechanism in SHARING and cell.verifications else []
    return _Column(cell, row, cell.outcome in BAD, programs, sorted(cell.artefacts.items()), shared)


def _show_images(program: _Program, callers: Mapping[str, list[str]], shown: dict[str, str]) -> None:
    """Write each image of a column once; ``shown`` has the anchors of those before."""
    anchors = {image.symbol: image.anchor for image in program.images}
    for image in program.images:
        key = image_key(image.facts) if image.facts else ""
        if len(callers.get(key, [])) > 1:
            image.shared = callers[key]
            image.above = shown.get(key, "")
            shown.setdefault(key, image.anchor)
        if not image.above:
            image.code = _code(image.asm, anchors)


def _program(run_dir: Path, cell: Cell, root: Root, target: bool, prefix: str) -> _Program:
    def read(suffix: str, lines: int, *, end: bool = False) -> _File | None:
        path = _artefact(cell, f"{root.name}.{suffix}")
        return _read(run_dir, path, lines=lines, end=end) if path else None

    log, asm = read("verifier.log", _LOG_LINES, end=True), read("jited.asm", _CODE_LINES)
    return _Program(
        root,
        target,
        log=log,
        together=load.programs if (load := cell.load_of(root.name)) and load.programs[1:] else [],
        work=verifier_log.work(log.text) if log and not log.cut else [],
        xlated=read("xlated.txt", _CODE_LINES),
        jit_path=asm.path if asm and asm.cut else "",
        images=_images(asm.text if asm else "", root.jit.images, prefix),
    )


def _images(asm: str, known: Sequence[JitImage], prefix: str) -> list[_Image]:
    heads = list(_HEADER.finditer(asm))
    ends = [*(head.start() for head in heads[1:]), len(asm)]
    return [
        _Image(
            f"{prefix}-{index}",
            head["symbol"],
            int(head["bytes"]),
            asm[head.end() : end],
            known[index] if index < len(known) else None,
        )
        for index, (head, end) in enumerate(zip(heads, ends, strict=False))
    ]


def _code(asm: str, anchors: Mapping[str, str]) -> str:
    """Instructions as HTML, by whole images: a report has hundreds of thousands of them."""

    def leaves(match: re.Match[str]) -> str:
        insn, target = match.groups()
        if _INDIRECT.match(target):
            return f'<span class="thunk">{insn}{target}</span>'
        if anchor := anchors.get(target.split("+", 1)[0]):
            target = f'<a href="#{anchor}">{target}</a>'
        return f'<span class="call">{insn}{target}</span>'

    lines = _INSN.sub(r"<i>\1 </i>\2", str(escape(asm.strip("\n"))))
    return _LEAVES.sub(leaves, lines)


def _sources(run_dir: Path, cells: Sequence[Cell]) -> list[tuple[str, _File]]:
    """Each different C source once, under the names of the mechanisms that load it."""
    found: dict[str, tuple[list[str], _File]] = {}
    for cell in cells:
        path = _artefact(cell, "source.bpf.c")
        file = _read(run_dir, path, lines=_CODE_LINES, end=False) if path else None
        if file:
            names, _ = found.setdefault(file.text, ([], file))
            if cell.mechanism not in names:
                names.append(cell.mechanism)
    return [(", ".join(names), file) for names, file in found.values()]


def _maps(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """Rows "map[key]" → value per cell."""
    tables = [readable_maps(cell.results) for cell in cells]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    return [(key, [table.get(key, "") for table in tables]) for key in keys[:_MAP_ENTRIES]]


def _runs(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """Rows "root, input" → return value, and instructions per run where they were counted, per cell."""
    tables = [
        {
            f"{root.name} · {run.input}{what}": shown
            for root in cell.roots
            for run in root.runs
            for what, shown in _run(run)
        }
        for cell in cells
    ]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    return [(key, [table.get(key, "") for table in tables]) for key in keys]


def _run(run: RunResult) -> list[tuple[str, str]]:
    found = [("", str(run.retval))] if run.retval is not None else []
    measures: dict[Measure, str] = {
        "insns_per_run": ", insns per run",
        "insns_per_run_no_retpolines": ", insns per run without retpolines",
        "ns_per_run": ", ns per run on this host",
    }
    for measure, what in measures.items():
        value: float | None = getattr(run, measure)
        if value is not None:
            found.append((what, f"{value:,g}" + (" (not exact)" if measure in run.not_exact else "")))
    return found
