"""RunInfo folders: results/RUN/{run.json, cells.jsonl, cells/, console/, report/}."""

from __future__ import annotations

import datetime
import itertools
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bpfroots import log, settings
from bpfroots.errors import InfraError, UserError
from bpfroots.results import old
from bpfroots.results.key import Key
from bpfroots.results.model import SCHEMA, Cell, CostFigure, RunInfo, RunResult, Step
from bpfroots.results.request import Kind

#: The folder of artefacts, with one for each cell.
CELLS = "cells"
_SELFTESTS = "selftests"
_RUN = "run.json"


# Kinds that ask one thing of kernel after kernel, or have compared already: `compare` has nothing to do.
_NO_COMPARISON = ("ab", "bisect", "bisect-step")

_Line = TypeVar("_Line", Cell, CostFigure, Step)


class RunStore:
    """One run folder. A cell is on disk before it is reported."""

    def __init__(self, path: Path, run: RunInfo) -> None:
        self.path = path
        self.run = run

    @classmethod
    def create(cls, kind: Kind, command: list[str], label: str = "") -> RunStore:
        """A new folder results/TIME-LABEL; the label is the kind where none is given. Raises InfraError where
        it cannot be written."""
        now = datetime.datetime.now(datetime.UTC)
        stem = f"{now:%Y-%m-%dT%H-%M-%SZ}-{label or kind}"
        results = settings.results_root()
        for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))):
            path = results / name
            try:
                (path / "console").mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise _cannot_write(path, error) from None
            break
        run = RunInfo(SCHEMA, path.name, command, now.isoformat(timespec="seconds"), kind=kind)
        store = cls(path, run)
        store.save()
        log.follow(path)
        return store

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """An existing folder, of an earlier version too. Raises UserError where it is none, or of a later
        version."""
        try:
            found = msgspec.json.decode((path / _RUN).read_bytes(), type=dict[str, Any])
            if found.get("schema", 0) > SCHEMA:
                msg = f"{path}: written by a later version of bpfroots"
                raise UserError(msg, hint="use that version")
            old.run(found)
            run = msgspec.convert(found, RunInfo)
        except FileNotFoundError:
            msg = f"{path}: not a run folder (no run.json)"
            raise UserError(msg, hint="ls results/") from None
        except msgspec.MsgspecError as error:
            msg = f"{path / 'run.json'}: {error}"
            raise UserError(msg) from None
        return cls(path, run)

    @property
    def _is_old(self) -> bool:
        return self.run.schema < SCHEMA

    def save(self) -> None:
        """Write run.json; a reader sees the old one or the new one."""
        replace_whole(self.path / _RUN, msgspec.json.format(msgspec.json.encode(self.run), indent=2) + b"\n")

    def discard(self) -> None:
        """Remove the folder: nothing was begun."""
        log.leave()
        shutil.rmtree(self.path, ignore_errors=True)

    def finish(self) -> None:
        """The run is over: measured costs go into cells.jsonl, whoever reads it alone."""
        if (self.path / "costs.jsonl").is_file():
            lines = b"".join(msgspec.json.encode(cell) + b"\n" for cell in self.cells())
            replace_whole(self.path / "cells.jsonl", lines)
        self.run.finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.save()

    def add(self, cell: Cell) -> None:
        """Append a finished cell: one write, so a reader or a crash never leaves half a line between."""
        append_lines(self.path / "cells.jsonl", msgspec.json.encode(cell) + b"\n")

    def add_costs(self, figures: Sequence[CostFigure]) -> None:
        """Append measured costs; `cells` and `finish` put them where they belong."""
        if figures:
            lines = b"".join(msgspec.json.encode(figure) + b"\n" for figure in figures)
            append_lines(self.path / "costs.jsonl", lines)

    def repair(self) -> None:
        """Cut off what a kill left of a line: what is appended next begins one of its own. What is logged
        goes to the folder again."""
        log.follow(self.path)
        for name in ("cells.jsonl", "costs.jsonl", "steps.jsonl"):
            cut_torn_line(self.path / name)

    def cells(self) -> list[Cell]:
        """All finished cells. A torn last line (killed while writing) is not a finished cell."""
        cells, _ = old.cells_and_steps(self.run, self._read("cells.jsonl", Cell))
        costs: dict[Key, list[CostFigure]] = {}
        for figure in self._read("costs.jsonl", CostFigure):
            costs.setdefault(figure.key, []).append(figure)
        for cell in cells:
            add_costs(cell, costs.get(cell.key, []))
        return cells

    def _read(self, name: str, type_: type[_Line]) -> list[_Line]:
        """The lines of a file that is appended to, but for a torn last one."""
        path = self.path / name
        if not path.is_file():
            return []
        found = []
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                found.append(self._decoded(line, type_))
            except msgspec.MsgspecError as error:
                if number == len(lines):
                    break
                msg = f"{path}:{number}: {error}"
                raise UserError(msg) from None
        return found

    def _decoded(self, line: bytes, type_: type[_Line]) -> _Line:
        if not self._is_old:
            return msgspec.json.decode(line, type=type_)
        found = msgspec.json.decode(line)
        kernels = {kernel.name for kernel in self.run.kernels}
        if type_ is Cell:
            old.cell(found, kernels)
        else:
            old.attempt(found, kernels)
        if type_ is Step:
            old.step(found)
        return msgspec.convert(found, type_)

    def console(self, kernel: str) -> Path:
        """A path for the next console log of this kernel: console/KERNEL-N.log."""
        directory = self.path / "console"
        for number in itertools.count(1 + len(list(directory.glob(f"{kernel}-*.log")))):
            path = directory / f"{kernel}-{number}.log"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                continue  # another thread's
            except OSError as error:
                raise _cannot_write(path, error) from None
            return path
        raise AssertionError

    def selftest(self, kernel: str, name: str) -> Path:
        """A path for what a selftest of the kernel tree leaves: selftests/KERNEL/NAME."""
        directory = self.path / _SELFTESTS / kernel
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(directory, error) from None
        return directory / name

    def add_step(self, step: Step) -> None:
        """Append a step that came to an end."""
        append_lines(self.path / "steps.jsonl", msgspec.json.encode(step) + b"\n")

    def steps(self) -> list[Step]:
        """The steps that came to an end, good or bad."""
        _, once = old.cells_and_steps(self.run, self._read("cells.jsonl", Cell) if self._is_old else [])
        return self._read("steps.jsonl", Step) + once

    def selftest_results(self, step: Step) -> Path | None:
        """What a program of the kernel's tree said test by test; None for another kind of step."""
        path = self.path / _SELFTESTS / step.kernel / f"{step.program}.jsonl"
        return path if step.program and path.is_file() else None

    def artefact(self, cell: Cell, name: str, data: bytes) -> None:
        """Keep a file of a cell, in its own folder (`Key.path`)."""
        relative = Path(CELLS) / cell.key.path / name
        path = self.path / relative
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise _cannot_write(path, error) from None
        cell.artefacts[name] = str(relative)


def add_costs(cell: Cell, figures: Iterable[CostFigure]) -> None:
    """Put measured costs into a cell; doing it twice does no harm."""
    roots = {root.name: root for root in cell.roots}
    for figure in figures:
        root = roots[figure.root]
        run = next((run for run in root.runs if run.input == figure.input), None)
        if run is None:
            run = RunResult(figure.input)
            root.runs.append(run)
        setattr(run, figure.measure, figure.value)
        if not figure.exact and figure.measure not in run.not_exact:
            run.not_exact.append(figure.measure)


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file of a run folder; a reader sees the old one or the new one. Raises InfraError."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from None


def append_lines(path: Path, lines: bytes) -> None:
    """Append to a file of a run folder in one write. Raises InfraError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(fd, lines)
        finally:
            os.close(fd)
    except OSError as error:
        raise _cannot_write(path, error) from None
    if written != len(lines):
        msg = f"{path}: disk full"
        raise InfraError(msg, hint="free some space; bpfroots run again")


def cut_torn_line(path: Path) -> None:
    """Cut off what a kill left of a file's last line."""
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _cannot_write(path: Path, error: OSError) -> InfraError:
    return InfraError(
        f"{path}: {error.strerror}", hint="free some space, or check the permissions of results/"
    )


def run_folders() -> list[Path]:
    """All run folders, oldest first."""
    results = settings.results_root()
    return sorted(path.parent for path in results.glob(f"*/{_RUN}"))


def _compares(folder: Path) -> bool:
    """Whether it has cells to compare: not selftests alone, one cell on commit after commit, or
    two kernels that were compared already."""
    only_selftests = (folder / _SELFTESTS).is_dir() and not (folder / "cells.jsonl").is_file()
    return not only_selftests and RunStore.open(folder).run.kind not in _NO_COMPARISON


def find_run(name: str | None) -> Path:
    """A run by path, name or unique prefix; the newest to compare for None. Raises UserError."""
    folders = run_folders()
    if name is None:
        newest = next((folder for folder in reversed(folders) if _compares(folder)), None)
        if newest is None:
            msg = "no runs yet in results/"
            raise UserError(msg, hint="bpfroots run")
        return newest
    if Path(name).is_dir():
        return Path(name).resolve()
    matches = [path for path in folders if path.name.startswith(Path(name).name)]
    if len(matches) != 1:
        msg = f"{name}: {'several runs match' if matches else 'no such run'}"
        raise UserError(msg, hint="ls results/")
    return matches[0]
