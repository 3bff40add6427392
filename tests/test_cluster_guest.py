"""A scheduler and three workers: one killed in the midst of a run, one stopped until it is given up.

What comes of it is what this machine's own guests give: no cell is lost, and none is there twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore
from tests.cluster import Cluster, Process
from tests.processes import gone

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]

_DEADLINE = 600
_CELLS = ["-k", "gen and xdp", "--mechanism", "duplicate", "--mechanism", "tail_call"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with contextlib.closing(Cluster(tmp_path)) as made:
        yield made


def _start(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bpfroots", "run", "--json", *_CELLS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    folder = Path(next(line.split()[-1] for line in process.stderr if line.startswith("results ")))
    return process, folder


def _end(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=_DEADLINE)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out)
    return found


def _wait_for_a_cell_that_ran(folder: Path) -> None:
    # tail -F waits by inotify. Cells that are skipped are there before any guest is.
    command = ["timeout", str(_DEADLINE), "tail", "-n", "+1", "-F", str(folder / "cells.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        assert any(b'"outcome":"pass"' in line for line in tail.stdout)
        tail.kill()


def _telling(cell: Cell) -> tuple[Any, ...]:
    """All of a cell that is the same in every run."""
    programs = [*cell.roots, *cell.targets]
    code = [[image.sha256 for image in root.jit.images] for root in programs]
    ran = [(run.input, run.retval, run.data_out) for root in programs for run in root.runs]
    logs = sorted(cell.artefacts)
    return cell.outcome, cell.verdict, cell.reason, cell.cost, code, ran, logs


def _guests(worker: Process) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split() if path.name.isdigit() else []
        except OSError:
            continue
        if fields and int(fields[1]) == worker.popen.pid:
            found.append(int(path.name))
    return found


def test_one_killed_and_one_stopped(cluster: Cluster) -> None:
    workers = [cluster.start() for _ in range(3)]
    process, folder = _start("--scheduler", cluster.address, **cluster.environment)
    _wait_for_a_cell_that_ran(folder)

    children = _guests(workers[0])
    workers[0].popen.kill()
    os.kill(workers[1].popen.pid, signal.SIGSTOP)
    found = _end(process)
    cluster.scheduler.said("heartbeat|Worker.*ttl|failed to")
    os.kill(workers[1].popen.pid, signal.SIGCONT)
    workers[1].said("announcing again")
    workers[1].said("Registered to:", times=2)
    workers[0].popen.wait()
    assert all(gone(pid) for pid in children)

    alone = _end(_start()[0])
    assert found["counts"] == alone["counts"]
    cells, others = (RunStore.open(Path(run["path"])).cells() for run in (found, alone))
    assert len(cells) == len({cell.key for cell in cells})
    assert {cell.key: _telling(cell) for cell in cells} == {cell.key: _telling(cell) for cell in others}
    for cell in cells:
        assert all((folder / path).is_file() for path in cell.artefacts.values())

    # The one that was given up is of use again: it is the only one left.
    workers[2].popen.kill()
    again = _end(_start("--scheduler", cluster.address, **cluster.environment)[0])
    assert again["counts"] == alone["counts"]
