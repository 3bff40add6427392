"""The history database: what goes in comes out, it stays small and quick, and it survives its writers."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from bpfroots.errors import UserError
from bpfroots.history import page
from bpfroots.history.database import History, State
from bpfroots.history.record import catch_up, of_case
from bpfroots.history.trend import trend
from bpfroots.results import selftests as selftest
from bpfroots.results.key import Key
from bpfroots.results.model import Cell, Cost, Expected, Root, RunResult, Step
from bpfroots.results.store import RunStore
from tests.nights import accepted, key, night, record, synthetic

_QUICK = 2.0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("kernels", "testcases", "results"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("BPFROOTS_ROOT", str(tmp_path))
    monkeypatch.setattr("bpfroots.settings.project", lambda: tmp_path)
    return tmp_path


def _bpfroots(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bpfroots", "history", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    cells = {
        key("a/1"): accepted(),
        key("a/2"): State(outcome="guest_crash", splat="BUG in f", reason="BUG in f"),
    }
    with History(tmp_path / "h.db") as history:
        run = record(history, 0, cells)
        assert history.cells(run.id) == cells
        assert (run.name, run.good, run.kernels["patched"].source_id) == (night(0).run, True, f"git:{0:040x}")
        assert history.outcomes([run.id]) == {run.id: {"pass": 1, "guest_crash": 1}}


def test_recording_again_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    with History(tmp_path / "h.db") as history:
        record(history, 0, {key("a/1"): accepted(), key("a/2"): accepted()})
        run = record(history, 0, {key("a/1"): accepted(7.0)})
        assert [one.name for one in history.runs()] == [run.name]
        assert history.cells(run.id) == {key("a/1"): accepted(7.0)}


def test_a_file_that_is_no_history_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    path.write_text("not a database, but notes about something")
    with pytest.raises(UserError, match=r"h\.db: file is not a database"):
        History(path)
    assert path.read_text().startswith("not a database")


def test_one_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    History(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="has version 99"):
        History(path)


_WRITER = """
import sys
from pathlib import Path
from bpfroots.history.database import History
from tests.nights import accepted, key, night
with History(Path(sys.argv[1])) as history:
    for number in range(int(sys.argv[2]), int(sys.argv[2]) + 10):
        history.record(night(number), [(key(f"a/{n}"), accepted(n)) for n in range(200)])
"""


def test_several_writers_at_once(tmp_path: Path) -> None:
    """Also the making of the file: each begins with none."""
    path = tmp_path / "h.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(first)]) for first in (0, 10, 20)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with History(path) as history:
        runs = history.runs()
        assert [run.name for run in runs] == [night(number).run for number in range(30)]
        assert all(len(history.cells(run.id)) == 200 for run in runs)


def test_a_writer_that_is_killed_leaves_whole_runs(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    script = _WRITER.replace("range(int(sys.argv[2]), int(sys.argv[2]) + 10)", "range(1000)").replace(
        "for n in range(200)])", "for n in range(200)]); print(number, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        writer.kill()
    with History(path) as history:
        runs = history.runs()
        assert len(runs) >= 5
        assert all(len(history.cells(run.id)) == 200 for run in runs)


def test_everything_in_words_for_those_who_look_with_sql(tmp_path: Path) -> None:
    """`datasette` shows the tables and views of any SQLite file; this is the one to look at."""
    with History(tmp_path / "h.db") as history:
        record(history, 0, {key("a/1"): accepted(12.0)})
    with sqlite3.connect(tmp_path / "h.db") as db:
        db.row_factory = sqlite3.Row
        (row,) = db.execute("SELECT * FROM history WHERE case_name = 'a/1'")
        assert dict(row) | {"insns_per_run": 12.0, "verdict": "accept", "job": "nightly"} == dict(row)
        assert row["source_id"] == f"git:{0:040x}"
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def _cell(case: str = "example/a", retval: int = 2) -> Cell:
    root = Root("on_xdp", "xdp", "accept", runs=[RunResult("p64", retval)])
    return Cell(
        case,
        "patched",
        "duplicate",
        outcome="pass",
        verdict="accept",
        expected=Expected("accept"),
        roots=[root],
        cost=Cost(roots=1, jit_bytes=80),
    )


def test_folders_that_are_not_in_it_are_recorded(project: Path) -> None:
    store = RunStore.create("run", ["bpfroots", "run"])
    store.add(_cell())
    tests = [
        selftest.VerifierTest(7, "p", "calls: basic", "ok", ["OK"]),
        selftest.VerifierTest(8, "p", "calls: basic", "fail", ["x", "FAIL bad"]),
    ]
    store.add_step(
        Step(case="kernel/test_verifier", kernel="patched", outcome="pass", program="test_verifier")
    )
    path = store.selftest("patched", "test_verifier.jsonl")
    path.write_bytes(b"".join(msgspec.json.encode(test) + b"\n" for test in tests))
    with History() as history:
        assert catch_up(history) == []  # it is still running
        store.finish()
        assert catch_up(history) == [store.run.run]
        assert catch_up(history) == []
        (run,) = history.runs()
        found = history.cells(run.id)
    assert {str(one): state.outcome for one, state in found.items()} == {
        "example/a (duplicate, patched)": "pass",
        "kernel/test_verifier (patched)": "pass",
        "test_verifier/calls: basic [p] (patched)": "pass",
        "test_verifier/calls: basic [p] 2 (patched)": "fail",
    }
    state = found[Key("example/a", "duplicate", "patched")]
    assert state.figures["jit_bytes"] == 80
    assert state.result


def test_another_result_is_another_state(project: Path) -> None:
    for retval in (2, 2, 1):
        store = RunStore.create("run", [])
        store.add(_cell(retval=retval))
        store.artefact(_cell(), "on_xdp.verifier.log", b"processed 1 insns")
        store.finish()
    with History() as history:
        catch_up(history)
        (cell,) = of_case(history, "example/a", project / "results")
    assert [span.runs for span in cell.spans] == [2, 1]
    assert cell.artefacts == str(store.path / "cells/example/a/patched/duplicate")


def test_a_damaged_folder_is_passed_over(project: Path) -> None:
    (project / "results/2026-01-01T00-00-00Z-run").mkdir()
    with History() as history:
        assert catch_up(history) == []


def test_the_command_for_a_person_and_for_a_program(project: Path) -> None:
    with History() as history:
        record(history, 0, {key("a/1"): accepted(), key("a/2"): accepted()})
        record(history, 1, {key("a/1"): accepted(200.0), key("a/2"): accepted()}, good=False)
    done = _bpfroots()
    assert done.returncode == 0, done.stderr
    assert "2 cells: 1 regression, 0 flaky" in done.stdout
    assert f"a/1 (duplicate, patched): insns per run 100 → 200 (x 2.000); since {night(1).run}" in done.stdout
    found = json.loads(_bpfroots("--json").stdout)
    assert [run["outcomes"] for run in found["runs"]] == [{"pass": 2}, {"pass": 2}]
    assert [one["kind"] for one in found["trend"]["regressions"]] == ["insns_per_run"]
    assert "since 2026-01-02T03-00-00Z-nightly, 1 run · pass (accept)" in _bpfroots("a/1").stdout
    spans = json.loads(_bpfroots("a/1", "--json").stdout)["cells"][0]["spans"]
    assert [span["state"]["figures"]["insns_per_run"] for span in spans] == [100.0, 200.0]
    listed = _bpfroots("--accept", night(1).run).stdout.splitlines()
    assert next(line.split() for line in listed if line.startswith(night(1).run))[-1] == "yes"
    with History() as history:
        record(history, 2, {key("a/1"): accepted(200.0), key("a/2"): accepted()})
    assert "2 cells: 0 regressions" in _bpfroots().stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a/3"], "try: bpfroots history a/1"),
        (["--job", "other"], "there is: nightly"),
        (["--accept", "2020"], "2020: no such run"),
    ],
)
def test_what_is_not_there_is_one_line(project: Path, arguments: list[str], says: str) -> None:
    with History() as history:
        record(history, 0, {key("a/1"): accepted()})
    done = _bpfroots(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hundred_nights_of_five_thousand_cells(project: Path) -> None:
    """The whole command, its start included, within 2 s; docs/history.md tells the size."""
    with synthetic(project / "results/history.db", 100, 5000) as history:
        runs = history.runs()
        (project / "results" / runs[-1].name).mkdir()
        start = time.process_time()
        found = trend(history, runs[-1])
        assert time.process_time() - start < _QUICK
        start = time.process_time()
        page.write(history, runs[-1], found, project / "results" / runs[-1].name, [])
        assert time.process_time() - start < _QUICK
    assert found.cells == 5000
    assert found.regressions
    size = (project / "results/history.db").stat().st_size
    assert size < 12 * 2**20
    for arguments in ([], ["gen/arithmetic-kprobe+xdp-depth17"]):
        before = os.times()
        assert _bpfroots(*arguments).returncode == 0
        after = os.times()
        assert (
            after.children_user + after.children_system - before.children_user - before.children_system
            < _QUICK
        )
