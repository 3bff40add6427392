"""Run folders: results/RUN/{run.json, cells.jsonl, cells/, console/, report/}."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path

import msgspec

from harness import settings
from harness.errors import InfraError, UserError
from harness.results.model import SCHEMA, Cell, Run

_SELFTESTS = "selftests"
_RUN_NAME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")


class RunStore:
    """One run folder. A cell is on disk before anybody hears of it."""

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self.run = run

    @classmethod
    def create(cls, label: str, command: list[str]) -> RunStore:
        """A new folder results/TIME-LABEL. Raises InfraError where it cannot be written."""
        now = datetime.datetime.now(datetime.UTC)
        stem = f"{now:%Y-%m-%dT%H-%M-%SZ}-{label}"
        results = settings.project_root() / "results"
        for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))):
            path = results / name
            try:
                (path / "console").mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise _cannot_write(path, error) from None
            break
        run = Run(schema=SCHEMA, run=path.name, command=command, started=now.isoformat(timespec="seconds"))
        store = cls(path, run)
        store.save()
        return store

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """An existing folder. Raises UserError where it is none."""
        try:
            run = msgspec.json.decode((path / "run.json").read_bytes(), type=Run)
        except FileNotFoundError:
            msg = f"{path}: not a run folder (no run.json)"
            raise UserError(msg, hint="ls results/") from None
        except msgspec.MsgspecError as error:
            msg = f"{path / 'run.json'}: {error}"
            raise UserError(msg) from None
        return cls(path, run)

    def save(self) -> None:
        """Write run.json; a reader sees the old one or the new one."""
        target = self.path / "run.json"
        temporary = target.with_suffix(".tmp")
        try:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self.run), indent=2) + b"\n")
            temporary.replace(target)
        except OSError as error:
            raise _cannot_write(target, error) from None

    def finish(self) -> None:
        self.run.finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.save()

    def add(self, cell: Cell) -> None:
        """Append a finished cell: one write, so a reader or a crash never leaves half a line between."""
        line = msgspec.json.encode(cell) + b"\n"
        path = self.path / "cells.jsonl"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                written = os.write(fd, line)
            finally:
                os.close(fd)
        except OSError as error:
            raise _cannot_write(path, error) from None
        if written != len(line):
            msg = f"{path}: disk full"
            raise InfraError(msg, hint="free some space; bpfroots run again")

    def cells(self) -> list[Cell]:
        """All finished cells. A torn last line (killed while writing) is not a finished cell."""
        path = self.path / "cells.jsonl"
        if not path.is_file():
            return []
        cells = []
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                cells.append(msgspec.json.decode(line, type=Cell))
            except msgspec.MsgspecError as error:
                if number == len(lines):
                    break
                msg = f"{path}:{number}: {error}"
                raise UserError(msg) from None
        return cells

    def console(self, kernel: str) -> Path:
        """A path for the next console log of this kernel: console/KERNEL-N.log."""
        directory = self.path / "console"
        number = 1 + len(list(directory.glob(f"{kernel}-*.log")))
        return directory / f"{kernel}-{number}.log"

    def selftest(self, kernel: str, name: str) -> Path:
        """A path for what a selftest of the kernel tree leaves: selftests/KERNEL/NAME."""
        directory = self.path / _SELFTESTS / kernel
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_write(directory, error) from None
        return directory / name

    def artefact(self, cell: Cell, name: str, data: bytes) -> None:
        """Keep a file of a cell: cells/CASE/KERNEL/MECHANISM/NAME."""
        relative = Path("cells") / cell.case / cell.kernel / cell.mechanism / name
        path = self.path / relative
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise _cannot_write(path, error) from None
        cell.artefacts[name] = str(relative)


def _cannot_write(path: Path, error: OSError) -> InfraError:
    return InfraError(
        f"{path}: {error.strerror}", hint="free some space, or check the permissions of results/"
    )


def run_folders() -> list[Path]:
    """All run folders, oldest first."""
    results = settings.project_root() / "results"
    return sorted(path for path in results.glob("*") if _RUN_NAME.match(path.name))


def find_run(name: str | None) -> Path:
    """A run by path, name or unique prefix; the newest of cells where ``name`` is None. Raises UserError."""
    folders = run_folders()
    if name is None:
        folders = [folder for folder in folders if not (folder / _SELFTESTS).is_dir()]
        if not folders:
            msg = "no runs yet in results/"
            raise UserError(msg, hint="bpfroots run")
        return folders[-1]
    if Path(name).is_dir():
        return Path(name).resolve()
    matches = [path for path in folders if path.name.startswith(Path(name).name)]
    if len(matches) != 1:
        msg = f"{name}: {'several runs match' if matches else 'no such run'}"
        raise UserError(msg, hint="ls results/")
    return matches[0]
