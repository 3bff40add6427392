"""What a comparison leaves in its run folder: a page, one for each program that differs, text, JSON, CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bpfroots.ab import text, texts
from bpfroots.ab.model import KINDS, WHATS, ChangedProgram, Findings
from bpfroots.errors import UserError
from bpfroots.report import html, veristat
from bpfroots.results.key import Key
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore, replace_whole

#: Below the run folder, where it is the run's own report.
REPORT = "report"
# Programs with a page of their own; worst come first.
_PAGES = 300
# Of a longer log its end is shown, in bytes.
_LOG = 1 << 20
_ASM_HEAD = re.compile(r"^; (\S+) addr=\S* (bytes=\d+).*$", re.M)


@dataclass(frozen=True)
class Section:
    """One kind of text of a program, on both kernels. ``files`` are relative to the run folder."""

    title: str
    beside: texts.Beside
    files: tuple[str, str]
    cut: bool


def write(
    run_dir: Path, found: Findings, cells: Sequence[Cell], name: str = "ab", folder: str = REPORT
) -> Path:
    """Write NAME.json, NAME.txt, and pages into a ``folder`` of the run; returns the index."""
    replace_whole(run_dir / f"{name}.json", msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    replace_whole(run_dir / f"{name}.txt", text.render(found, most=1000).encode())
    if folder == REPORT:
        veristat.write(run_dir, cells)
    pages = _pages(found.changes[:_PAGES])
    names = {_key(change): page for change, page in zip(found.changes, pages, strict=False)}
    index = html.write_page(
        run_dir / folder / "index.html",
        "ab.html.j2",
        name=name,
        found=found,
        groups=[(title, listed) for kind, title in KINDS.items() if (listed := _of(found, kind))],
        pages={change.name + change.mechanism: names.get(_key(change), "") for change in found.changes},
        whats=WHATS,
        sentence=text.sentence(found),
        value=text.value,
        percent=text.percent,
    )
    by_key = {cell.key: cell for cell in cells}
    for change, page in zip(found.changes, pages, strict=False):
        _write_program(run_dir, found, change, by_key, run_dir / folder / page)
    return index


def again(store: RunStore) -> Path:
    """Write the pages of a run again, of what it found. Raises UserError for one that was interrupted."""
    try:
        found = msgspec.json.decode((store.path / "ab.json").read_bytes(), type=Findings)
    except FileNotFoundError:
        msg = f"{store.run.run}: interrupted before there was a comparison"
        raise UserError(msg, hint="the same command continues it") from None
    return write(store.path, found, store.cells())


def _of(found: Findings, kind: str) -> list[ChangedProgram]:
    return [one for one in found.changes if one.kind == kind]


def _key(change: ChangedProgram) -> tuple[str, str, str]:
    return change.object, change.program, change.mechanism


def _pages(changes: Iterable[ChangedProgram]) -> list[str]:
    """A page for each, relative to the index; names are safe and unique."""
    taken: dict[str, int] = {}
    found = []
    for change in changes:
        parts = [*change.object.split("/"), *filter(None, (change.program, change.mechanism))]
        page = "program/" + html.safe_path(parts)
        number = taken[page] = taken.get(page, 0) + 1
        found.append(f"{page}{f'-{number}' if number > 1 else ''}.html")
    return found


def _write_program(
    run_dir: Path, found: Findings, change: ChangedProgram, cells: dict[Key, Cell], path: Path
) -> None:
    sides = [cells[Key(change.object, change.mechanism, side.kernel)] for side in (found.a, found.b)]
    depth = path.relative_to(run_dir).parts[1:]
    context = {
        "found": found,
        "change": change,
        "cells": sides,
        "sections": _sections(run_dir, change, sides),
        "whats": WHATS,
        "kinds": KINDS,
        "value": text.value,
        "up": "../" * (len(depth) - 1),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html.render("ab_program.html.j2", **context), encoding="utf-8")


def _sections(run_dir: Path, change: ChangedProgram, cells: Sequence[Cell]) -> list[Section]:
    """Log, translated and JIT code, of those that both kernels have; what differs is marked in them."""
    found = []
    for title, suffix, keys in (
        ("Verifier log", "verifier.log", texts.log_keys),
        ("JIT code", "jited.asm", texts.code_keys),
        ("Translated code", "xlated.txt", texts.log_keys),
    ):
        files = [cell.artefacts.get(f"{change.program}.{suffix}", "") for cell in cells]
        if not any(files):
            continue
        read = [_lines(run_dir / file) if file else ([], False) for file in files]
        beside = texts.beside(read[0][0], read[1][0], keys)
        cut = beside.cut or any(part for _, part in read)
        found.append(Section(title, beside, (files[0], files[1]), cut))
    return found


def _lines(path: Path) -> tuple[list[str], bool]:
    """The lines of a file, and whether they are its end alone."""
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - _LOG))
        content = file.read().decode(errors="replace")
    lines = _ASM_HEAD.sub(r"; \1 \2", content).split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    return (lines[1:], True) if size > _LOG else (lines, False)
