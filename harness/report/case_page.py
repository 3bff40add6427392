"""What the page of one case shows, read from its cells and their artefacts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from harness.analysis import verifier_log
from harness.analysis.cell import image_key, readable_maps
from harness.analysis.compare import Row
from harness.analysis.diff import code_added, log_difference
from harness.programs.protocol import MECHANISMS, Mechanism
from harness.results.model import BAD, Cell, JitImage, Root, RunResult

# A page stays light: longer artefacts are shown in part and linked.
_LOG_LINES = 400
_CODE_LINES = 1500
_MAP_ENTRIES = 64
_DIFFERENCE_LINES = 300

_HEADER = re.compile(r"^; (?P<symbol>\S+) addr=\S* bytes=(?P<bytes>\d+)")
_INSN = re.compile(r"^\s*([0-9a-f]+):  (\S+)(?: (.*))?$")
# A retpoline or ITS thunk, memory, a register.
_INDIRECT = re.compile(r"__x86_indirect|.*\[|r(\d+|[abcd]x|[sd]i|[bs]p)$")


@dataclass(frozen=True)
class _File:
    text: str
    path: str
    cut: bool


# Escaped here and not in the template: a page has thousands of instructions.
_PLAIN = Markup("<i>%s</i>%s %s")
_MARKED = Markup('<span class="%s"><i>%s</i>%s %s</span>')
_NEW = Markup("<ins>%s</ins>")
_LINKED = Markup('<span class="call"><i>%s</i>%s <a href="#%s">%s</a></span>')


@dataclass
class _Image:
    """One JIT image. ``shared`` names the programs that call it, ``equal`` counts equal code on the page."""

    anchor: str
    symbol: str
    bytes: int
    digest: str = ""
    shared: list[str] = field(default_factory=list)
    equal: int = 1
    plain: list[tuple[int, str]] = field(default_factory=list)
    code: list[Markup] = field(default_factory=list)
    #: Instructions of the same function that are only here, and only under `duplicate` on this kernel.
    more: int = 0
    fewer: int = 0
    #: Neither, and yet the bytes differ: an instruction may be encoded in several ways.
    otherwise: bool = False


@dataclass(frozen=True)
class _Program:
    """A program in one column. ``target``: it is tail-called and no root."""

    root: Root
    target: bool
    log: _File | None
    xlated: _File | None
    jit_path: str
    images: list[_Image]
    #: Where the verifier has spent its instructions; empty where the log is shown in part.
    work: list[verifier_log.Work] = field(default_factory=list)
    #: Of its log to that under `duplicate` on this kernel, normalised.
    log_difference: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Column:
    """One cell: a mechanism on a kernel."""

    cell: Cell
    row: Row | None
    bad: bool
    programs: dict[str, _Program]
    files: list[tuple[str, str]]


def context(
    run_dir: Path,
    cells: Sequence[Cell],
    rows: Mapping[tuple[str, str, Mechanism], Row],
    *,
    up: str,
) -> dict[str, object]:
    """The template's variables. ``run_dir`` is resolved; ``up`` leads from the page to report/."""
    cells = sorted(cells, key=lambda cell: (cell.kernel, MECHANISMS.index(cell.mechanism)))
    columns = [
        _column(run_dir, cell, rows.get((cell.case, cell.kernel, cell.mechanism)), f"c{index}")
        for index, cell in enumerate(cells)
    ]
    _mark_differences(columns)
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
        "figures": list(
            dict.fromkeys(name for column in columns if column.row for name in column.row.figures)
        ),
        "up": up,
        "files_up": "../" + up,
    }


def _mark_differences(columns: Sequence[_Column]) -> None:
    """Hold each program against the one that is loaded alone, with a copy of its own of every function."""
    copies = {column.cell.kernel: column for column in columns if column.cell.mechanism == "duplicate"}
    for column in columns:
        copy = copies.get(column.cell.kernel)
        if copy is None or column is copy:
            continue
        for name, program in column.programs.items():
            if reference := copy.programs.get(name):
                _mark_program(reference, program)


def _mark_program(reference: _Program, program: _Program) -> None:
    if reference.log and program.log and not (reference.log.cut or program.log.cut):
        program.log_difference.extend(
            log_difference(reference.log.text, program.log.text)[:_DIFFERENCE_LINES]
        )
    known = {image.symbol: image for image in reference.images}
    for image in program.images:
        other = known.get(image.symbol)
        if other is None or other.digest == image.digest:
            continue
        new = code_added(other.plain, image.plain)
        image.more, image.fewer = len(new), len(code_added(image.plain, other.plain))
        image.otherwise = not image.more and not image.fewer
        image.code = [_NEW % line if index in new else line for index, line in enumerate(image.code)]


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
    return cell.artefacts.get(name) or next(
        (path for path in cell.artefacts.values() if path.rsplit("/", 1)[-1] == name), ""
    )


def _column(run_dir: Path, cell: Cell, row: Row | None, prefix: str) -> _Column:
    callers: dict[str, list[str]] = {}
    for root in (*cell.roots, *cell.targets):
        for image in root.jit.images:
            if key := image_key(image):
                callers.setdefault(key, []).append(root.name)
    programs = {
        root.name: _program(run_dir, cell, root, target, callers, f"{prefix}-{index}")
        for index, (root, target) in enumerate(
            [*((root, False) for root in cell.roots), *((root, True) for root in cell.targets)]
        )
    }
    return _Column(cell, row, cell.outcome in BAD, programs, sorted(cell.artefacts.items()))


def _program(
    run_dir: Path, cell: Cell, root: Root, target: bool, callers: Mapping[str, list[str]], prefix: str
) -> _Program:
    def read(suffix: str, lines: int, *, end: bool = False) -> _File | None:
        path = _artefact(cell, f"{root.name}.{suffix}")
        return _read(run_dir, path, lines=lines, end=end) if path else None

    asm = read("jited.asm", _CODE_LINES)
    log = read("verifier.log", _LOG_LINES, end=True)
    return _Program(
        root,
        target,
        log=log,
        work=verifier_log.work(log.text) if log and not log.cut else [],
        xlated=read("xlated.txt", _CODE_LINES),
        jit_path=asm.path if asm and asm.cut else "",
        images=_images(asm.text if asm else "", root.jit.images, callers, prefix),
    )


def _images(
    asm: str, known: Sequence[JitImage], callers: Mapping[str, list[str]], prefix: str
) -> list[_Image]:
    images: list[_Image] = []
    lines = asm.splitlines()
    heads = [match.group("symbol") for line in lines if (match := _HEADER.match(line))]
    anchors = {symbol: f"{prefix}-{index}" for index, symbol in enumerate(heads)}
    for line in lines:
        head = _HEADER.match(line)
        if head:
            facts = known[len(images)] if len(images) < len(known) else None
            shared = callers.get(image_key(facts), []) if facts else []
            images.append(
                _Image(
                    f"{prefix}-{len(images)}",
                    head.group("symbol"),
                    int(head.group("bytes")),
                    digest=facts.sha256[:10] if facts else "",
                    shared=shared if len(shared) > 1 else [],
                )
            )
        elif images and (insn := _INSN.match(line)):
            text = f"{insn.group(2)} {insn.group(3) or ''}".rstrip()
            images[-1].plain.append((int(insn.group(1), 16), text))
            images[-1].code.append(_insn(insn, anchors))
    return images


def _insn(match: re.Match[str], anchors: Mapping[str, str]) -> Markup:
    offset, mnemonic, operands = match.group(1), match.group(2), match.group(3) or ""
    if mnemonic not in ("call", "jmp") or operands[:1].isdigit() or operands.endswith("return_thunk"):
        return _PLAIN % (offset, mnemonic, operands)
    if _INDIRECT.match(operands):
        return _MARKED % ("thunk", offset, mnemonic, operands)
    anchor = anchors.get(operands.split("+", 1)[0])
    if anchor is None:
        return _MARKED % ("call", offset, mnemonic, operands)
    return _LINKED % (offset, mnemonic, anchor, operands)


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
    found = [("", run.retval), (", insns per run", run.insns_per_run)]
    found.append((", insns per run without retpolines", run.insns_per_run_no_retpolines))
    return [(what, f"{value:,g}" if what else str(value)) for what, value in found if value is not None]
