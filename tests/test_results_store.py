"""Run folders: nothing finished is lost, whatever happens to the writer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpfroots import log
from bpfroots.errors import InfraError, UserError
from bpfroots.results import store as stores
from bpfroots.results.model import Cell
from bpfroots.results.request import Kind
from bpfroots.results.store import RunStore


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "testcases").mkdir()
    monkeypatch.setattr("bpfroots.settings.project", lambda: tmp_path)
    return tmp_path


def _cell(name: str = "example/a") -> Cell:
    return Cell(case=name, kernel="baseline", mechanism="duplicate", outcome="pass", verdict="accept")


def _fill(store: RunStore) -> None:
    for number in range(10_000):
        store.add(_cell(f"example/{number}"))


def test_cells_come_back_as_they_went(root: Path) -> None:
    store = RunStore.create("run", ["bpfroots", "run"])
    cells = [_cell(), _cell("example/b")]
    for cell in cells:
        store.add(cell)
    store.finish()
    again = RunStore.open(store.path)
    assert again.cells() == cells
    assert again.run == store.run
    assert stores.find_run(None) == store.path


@pytest.mark.parametrize("kind", ["bisect", "bisect-step"])
def test_a_bisection_is_not_the_newest_run(root: Path, kind: Kind) -> None:
    run = RunStore.create("run", [], "a-run")  # those of one second go by their labels
    for _ in range(2):
        later = RunStore.create(kind, [])
        later.add(_cell())
        assert stores.find_run(None) == run.path
    assert stores.find_run(later.path.name) == later.path
    other = RunStore.create("run", [], "bisect-too")
    assert stores.find_run(None) == other.path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, 400))
def test_a_torn_last_line_loses_only_itself(root: Path, kept: int) -> None:
    store = RunStore.create("run", [])
    store.add(_cell())
    whole = (store.path / "cells.jsonl").read_bytes()
    store.add(_cell("example/b"))
    torn = (store.path / "cells.jsonl").read_bytes()[: len(whole) + kept]
    (store.path / "cells.jsonl").write_bytes(torn)
    cells = RunStore.open(store.path).cells()
    assert cells[0] == _cell()
    assert len(cells) in {1, 2}


def test_a_damaged_line_is_named(root: Path) -> None:
    store = RunStore.create("run", [])
    store.add(_cell())
    path = store.path / "cells.jsonl"
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(UserError, match=r"cells.jsonl:1: "):
        store.cells()


def test_two_runs_in_one_second_get_two_folders(root: Path) -> None:
    paths = {RunStore.create("run", []).path for _ in range(5)}
    assert len(paths) == 5


def test_artefacts_are_where_the_cell_says(root: Path) -> None:
    store, cell = RunStore.create("run", []), _cell()
    store.artefact(cell, "k.verifier.log", b"processed 1 insns")
    assert cell.artefacts == {"k.verifier.log": "cells/example/a/baseline/duplicate/k.verifier.log"}
    assert (store.path / cell.artefacts["k.verifier.log"]).read_bytes() == b"processed 1 insns"


@pytest.mark.parametrize("name", ["nonsense", "2099"])
def test_no_such_run(root: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such run"):
        stores.find_run(name)


def test_not_a_run_folder(root: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        RunStore.open(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_a_full_disk_is_one_line_and_keeps_what_was_written(root: Path) -> None:
    small = root / "results"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        store = RunStore.create("run", [])
        store.add(_cell())
        with pytest.raises(InfraError, match=r"cells.jsonl|No space") as caught:
            _fill(store)
        assert caught.value.exit_code == 4
        assert store.cells()[0] == _cell()
    finally:
        log.leave()
        subprocess.run(["umount", small], check=True)


def test_killed_while_writing(root: Path) -> None:
    """A writer killed at a random moment leaves only whole cells behind."""
    script = """
import sys
from pathlib import Path
from bpfroots import settings
settings.project = lambda: Path(sys.argv[1])
from bpfroots.results.model import Cell
from bpfroots.results.request import Kind
from bpfroots.results.store import RunStore
store = RunStore.create("run", [])
print(store.path, flush=True)
n = 0
while True:
    store.add(Cell(case=f"example/{n}", kernel="k", mechanism="duplicate", outcome="pass"))
    n += 1
    if n == 50: print("busy", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        path = Path(writer.stdout.readline().decode().strip())
        assert writer.stdout.readline() == b"busy\n"
        writer.send_signal(signal.SIGKILL)
    cells = RunStore.open(path).cells()
    assert len(cells) >= 50
    assert [cell.case for cell in cells] == [f"example/{n}" for n in range(len(cells))]
    shutil.rmtree(path)
