"""Cells that need not run again: same kernel, image, machine, program, steps and judge.

What is kept is in the cache under a key of all that could make a difference; only what was as expected
is kept, so that a cell that went wrong is always tried again. Where nothing is expected (`any_verdict`), an
object that cannot be loaded is an answer, too.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import time
from pathlib import Path

import msgspec

import bpfroots
from bpfroots.cache import Cache, add_files, sha256
from bpfroots.images import Image
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.spec import CellFiles, CellSpec
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel
from bpfroots.machine.accel import qemu_version
from bpfroots.results.model import Cell, CostFigure
from bpfroots.results.store import RunStore
from bpfroots.settings import bases, cache_root

_KEPT_DAYS = 30
_CELL = "cell.json"
_COSTS = "costs.json"
# All but what only shows cells. Nearly everything else has a part in what a cell says, and what has none
# today may have one tomorrow: a change there makes all cells new.
_SHOWS = ("cli", "report")


class Reuse:
    """Finished cells by content. ``keep`` and ``find`` are for one run's kit and accelerator."""

    def __init__(self, kit: Kit, accel: Accel) -> None:
        self._cells = Cache(cache_root(), "cells")
        self._costs = Cache(cache_root(), "costs")
        self._common = _common(kit, accel)

    def find(self, kernel: Kernel, spec: CellSpec, objects: CellFiles, store: RunStore) -> Cell | None:
        """The cell as it was, its artefacts in ``store``; None where it has to run."""
        entry = self._cells.peek(self._key(kernel, spec, objects))
        if entry is None:
            return None
        cell = msgspec.json.decode((entry / _CELL).read_bytes(), type=Cell)
        for name, relative in cell.artefacts.items():
            target = store.path / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(entry / name, target)
        self._cells.used(entry.name)
        return cell

    def keep(self, kernel: Kernel, spec: CellSpec, objects: CellFiles, store: RunStore, cell: Cell) -> None:
        """Remember a finished cell that is as expected."""
        if cell.outcome not in ("pass", "unsupported", *(("error",) if spec.any_verdict else ())):
            return

        def populate(out: Path) -> None:
            for name, relative in cell.artefacts.items():
                _link(store.path / relative, out / name)
            kept = msgspec.structs.replace(cell, reused=store.run.run)
            (out / _CELL).write_bytes(msgspec.json.encode(kept))

        self._cells.get(self._key(kernel, spec, objects), populate)

    def costs(self, kernel: Kernel, spec: CellSpec, objects: CellFiles) -> list[CostFigure] | None:
        """What `keep_costs` was given for this cell; None where it has to be measured."""
        entry = self._costs.peek(self._key(kernel, spec, objects))
        if entry is None:
            return None
        self._costs.used(entry.name)
        return msgspec.json.decode((entry / _COSTS).read_bytes(), type=list[CostFigure])

    def keep_costs(
        self, kernel: Kernel, spec: CellSpec, objects: CellFiles, figures: list[CostFigure]
    ) -> None:
        """Remember all figures of a cell, none where nothing of it can be measured."""

        def populate(out: Path) -> None:
            (out / _COSTS).write_bytes(msgspec.json.encode(figures))

        self._costs.get(self._key(kernel, spec, objects), populate)

    def prune(self) -> None:
        """Forget what was not used for a month."""
        before = time.time() - _KEPT_DAYS * 86400
        for cache in (self._cells, self._costs):
            for key, used in cache.by_use():
                if used < before:
                    cache.discard(key)

    def _key(self, kernel: Kernel, spec: CellSpec, objects: CellFiles) -> str:
        parts = (
            *self._common,
            # The name is in the cell, and two names may be one kernel.
            kernel.name,
            kernel.key,
            f"{kernel.shape.cpus} {kernel.shape.memory_mib} {kernel.countable}",
            f"{' '.join(kernel.append)} {sorted(kernel.provides)}",
            _digest(objects.program),
            _digest(objects.library) if objects.library else "",
            _digest(objects.target) if objects.target else "",
            *(
                hashlib.sha256(part.source).hexdigest() if part else ""
                for part in (spec.program, spec.library)
            ),
            msgspec.json.encode(spec.load(1.0)).decode(),
            msgspec.json.encode(spec.expected).decode(),
            " ".join(spec.case.equal) if spec.case else "",
            "any verdict" if spec.any_verdict else "",
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def inputs(kit: Kit, accel: Accel) -> str:
    """A digest of all but the kernel that could make a cell come out otherwise, the cases included."""
    key = hashlib.sha256("\0".join(_common(kit, accel)).encode())
    for base in bases():
        add_files(key, base, ["testcases"], "*")
    return key.hexdigest()


def tree_inputs(image: Image, clang: str, accel: Accel) -> str:
    """As `inputs`, for the tests of a kernel's own tree, which its key stands for: ``image`` is the one
    without tests, ``clang`` the version that built them."""
    parts = (image.digest, clang, accel.name, qemu_version(), _judges_digest())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _common(kit: Kit, accel: Accel) -> tuple[str, ...]:
    return kit.image.digest, kit.runner_sha256, accel.name, qemu_version(), _judges_digest()


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one that has no links
        shutil.copy2(source, target)


_digest = functools.cache(sha256)


@functools.cache
def _judges_digest() -> str:
    from importlib.metadata import version

    # JIT code is compared as capstone reads it.
    return f"{_code_digest(Path(bpfroots.__file__).parent)} capstone {version('capstone')}"


def _code_digest(package: Path) -> str:
    key = hashlib.sha256()
    add_files(key, package, sorted(p.name for p in package.iterdir() if p.name not in _SHOWS), "*.py")
    return key.hexdigest()
