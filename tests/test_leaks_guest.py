"""Cells without end: what a run takes from its host it gives back, and its guests are gone."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bpfroots.jobs.engine import Engine
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.run import open_store
from bpfroots.jobs.site import Site
from bpfroots.machine import choose_accel
from tests.faulty import cell

pytestmark = pytest.mark.guest

#: How many cells are run; BPFROOTS_CELLS=1000 is the slow set.
_CELLS = int(os.environ.get("BPFROOTS_CELLS", "200"))
_ROUND = 25
#: The first rounds import, connect and cache.
_SETTLED = 2
# Noise of the allocator. What a cell brings from its guest, kept, would be more: 20 KiB each.
_GROWTH_KIB = 3072


@dataclass(frozen=True)
class Held:
    """What this process holds of its host."""

    rss_kib: int
    descriptors: int
    threads: int
    children: int
    temporary: int
    files: int

    @classmethod
    def now(cls, folder: Path, temporary: list[str]) -> Held:
        gc.collect()
        status = Path("/proc/self/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return cls(
            int(resident.split()[1]),
            len(list(Path("/proc/self/fd").iterdir())),
            threading.active_count(),
            len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
            sum(1 for path in temporary if Path(path).exists()),
            sum(1 for path in folder.rglob("*") if path.is_file() and path.parent.name != "console"),
        )


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Temporary directories of this process, from now on."""
    made: list[str] = []
    make = tempfile.mkdtemp

    def note(*args: Any, **kwargs: Any) -> str:
        made.append(make(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", note)
    return made


def test_cells_without_end(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: list[str]
) -> None:
    """The same cells again and again, each time in a guest of their own."""
    monkeypatch.setattr("bpfroots.settings.project", lambda: tmp_path)
    accel = choose_accel("auto")
    store = open_store(kit, accel, "run", ["pytest"])
    engine = Engine(Site(kit, store, accel, guests=1))
    specs = [cell(f"leak/{n}") for n in range(_ROUND)]
    held: list[Held] = []
    for _ in range(max(_SETTLED + 2, _CELLS // _ROUND)):
        found = list(engine.submit(kit.kernels[0], specs))
        assert [one.outcome for one in found] == ["pass"] * _ROUND
        held.append(Held.now(store.path, temporary))
    settled, last = held[_SETTLED], held[-1]
    assert (last.descriptors, last.threads, last.children) == (
        settled.descriptors,
        settled.threads,
        settled.children,
    )
    assert (last.temporary, last.files) == (settled.temporary, settled.files)
    assert last.rss_kib - settled.rss_kib < _GROWTH_KIB, [one.rss_kib for one in held]
    assert len(store.cells()) == _ROUND * len(held)


def test_guests_without_end(kit: Kit, tmp_path: Path, temporary: list[str]) -> None:
    guests = Guests(kit, choose_accel("auto"))
    held: list[Held] = []
    for n in range(max(_SETTLED + 2, _CELLS // 10)):
        with guests.boot(kit.kernels[0], tmp_path / f"{n}.log") as machine:
            assert machine.output("echo fine").stdout == b"fine\n"
        held.append(Held.now(tmp_path, temporary))
    assert not guests.no_clones
    settled, last = held[_SETTLED], held[-1]
    assert (last.descriptors, last.threads, last.children) == (
        settled.descriptors,
        settled.threads,
        settled.children,
    )
    assert last.temporary == settled.temporary
    assert last.rss_kib - settled.rss_kib < _GROWTH_KIB, [one.rss_kib for one in held]
