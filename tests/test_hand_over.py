"""What other tools take from here, by their own schemas and checkers; each with a twin that they refuse."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kcidb_io
import pytest

from bpfroots.errors import UserError
from bpfroots.history.record import beside_cells
from bpfroots.nightly import config as configs
from bpfroots.nightly import units
from bpfroots.report import html, kcidb
from bpfroots.results.model import BUILD, SCHEMA, Cell, Cost, Expected, KernelInfo, RunInfo, Step
from bpfroots.results.store import RunStore
from tests import ROOT

_WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
_WORKFLOW = ROOT / ".github/workflows/nightly.yml"
_V5_3 = kcidb_io.schema.V5_3


# -- systemd

_verify = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")


def _analyze(*files: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "verify", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@_verify
def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    config = tmp_path / "odd $name, 100% mine.toml"
    config.write_text("")
    files = units.write(tmp_path / "units", "nightly", config, "*-*-* 02:30")
    assert [file.name for file in files] == ["bpfroots-nightly.service", "bpfroots-nightly.timer"]
    done = _analyze(*files)
    assert (done.returncode, done.stderr) == (0, "")


@_verify
@pytest.mark.parametrize(
    ("kind", "right", "wrong", "says"),
    [
        ("service", "ExecStart=", "ExecStrat=", "Unknown key 'ExecStrat'"),
        ("service", sys.executable, "/nowhere/python", "is not executable"),
        ("timer", "*-*-* 02:30", "at night", "Failed to parse calendar specification"),
    ],
)
def test_twin_a_broken_unit_is_not(tmp_path: Path, kind: str, right: str, wrong: str, says: str) -> None:
    files = units.write(tmp_path, "nightly", tmp_path / "night.toml", "*-*-* 02:30")
    (broken,) = [file for file in files if file.suffix == f".{kind}"]
    broken.write_text(broken.read_text().replace(right, wrong))
    assert says in _analyze(*files).stderr


# -- GitHub


def _check(path: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("check-jsonschema")
    command = [str(tool), "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("path", _WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_one(path: Path) -> None:
    done = _check(path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"), [("runs-on:", "run-on:"), ("cron:", "time:"), ("- uses:", "- use:")]
)
def test_twin_a_broken_workflow_is_none(tmp_path: Path, right: str, wrong: str) -> None:
    path = tmp_path / "nightly.yml"
    path.write_text(_WORKFLOW.read_text().replace(right, wrong, 1))
    assert _check(path).returncode == 1


def test_what_the_workflow_runs_is_here() -> None:
    words = re.findall(r"bpfroots nightly (\S+)", _WORKFLOW.read_text())
    (name,) = [word for word in words if word.endswith(".toml")]
    assert configs.load(ROOT / name).name == "nightly"


# -- KCIDB


def _run() -> RunInfo:
    commit = "0123456789abcdef0123456789abcdef01234567"
    kernels = [
        KernelInfo(
            "baseline",
            release="6.12.117",
            source_id="linux-source-6.12=6.12.117-1 sha256:ab",
            key="k1",
            compiler="gcc 12",
        ),
        KernelInfo("linux@master", release="6.18.0", source_id=f"git:{commit}", commit=commit, key="k2"),
    ]
    return RunInfo(
        SCHEMA, "2026-01-01T03-00-00Z-nightly", ["bpfroots"], "2026-01-01T03:00:00+00:00", kernels, job="x"
    )


def _cell(**changes: Any) -> Cell:
    values = {"case": "gen/a.b-kprobe+tc", "kernel": "baseline", "mechanism": "duplicate", "outcome": "pass"}
    return Cell(
        **{**values, "verdict": "accept", "expected": Expected("accept"), "cost": Cost(roots=2), **changes}
    )


_CELLS = [
    _cell(),
    _cell(case="a/1", outcome="fail", verdict="reject", reason="R1 \0 is not a pointer"),
    _cell(case="a/2", outcome="guest_crash", verdict="", reason="KASAN: use-after-free in f"),
    _cell(case="a/3", outcome="infra_error", verdict="", kernel="linux@master"),
    _cell(case="a/4", outcome="unsupported", verdict="", mechanism="multi_root", duration_s=1.5),
]
_STEPS = [
    Step(case=BUILD, kernel="baseline", outcome="pass"),
    Step(case=BUILD, kernel="broken", outcome="fail", reason="it does not compile"),
]


def test_kcidb_takes_it() -> None:
    document = kcidb.render("bpfroots", _run(), _CELLS, _STEPS)
    assert _V5_3.validate_exactly(document) == document
    assert [test["status"] for test in document["tests"]] == ["PASS", "FAIL", "FAIL", "MISS", "SKIP"]
    assert document["tests"][0]["path"] == "bpfroots.gen.a_b-kprobe_tc.duplicate"
    assert {build["config_name"]: build["status"] for build in document["builds"]} == {
        "baseline": "PASS",
        "linux@master": "PASS",
        "broken": "FAIL",
    }
    commits = [checkout.get("git_commit_hash") for checkout in document["checkouts"]]
    assert commits == [None, "0123456789abcdef0123456789abcdef01234567", None]
    ids = {build["id"] for build in document["builds"]}
    assert {test["build_id"] for test in document["tests"]} <= ids


@pytest.mark.parametrize("key", ["status", "path", "id"])
def test_twin_kcidb_refuses_what_is_wrong(key: str) -> None:
    document = kcidb.render("bpfroots", _run(), _CELLS, _STEPS)
    document["tests"][0][key] = "neither. this"
    with pytest.raises(jsonschema.ValidationError):
        _V5_3.validate_exactly(document)


def test_an_origin_has_a_form(tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    path.write_text(
        'kcidb_origin = "My CI"\n[[work]]\ntype = "cells"\nkernels = ["baseline"]\ncases = "example"\n'
    )
    with pytest.raises(UserError, match="kcidb_origin: 'My CI' is not an origin"):
        configs.load(path)


# -- JUnit and KTAP


def test_kcidb_takes_what_is_no_cell(tmp_path: Path) -> None:
    store = RunStore(tmp_path, _run())
    store.add_step(Step(case=BUILD, kernel="baseline", outcome="pass"))
    document = kcidb.render("bpfroots", _run(), beside_cells(store), store.steps())
    assert _V5_3.validate_exactly(document) == document
    (test,) = document["tests"]
    assert test["path"] == "bpfroots.kernel.build"
    assert test["id"].endswith("/baseline/kernel/build")
    assert "verdict" not in test["misc"]


def test_tests_of_the_tree_are_in_junit_and_ktap(tmp_path: Path) -> None:
    store = RunStore(tmp_path, _run())
    store.add(_cell())
    store.add_step(
        Step(case="kernel/test_verifier", kernel="baseline", outcome="pass", program="test_verifier")
    )
    lines = (
        b'{"id":"7/p","name":"calls: basic","status":"fail","lines":["#7/p calls: basic FAIL","FAIL bad"]}\n'
    )
    store.selftest("baseline", "test_verifier.jsonl").write_bytes(lines)
    html.write_reports(tmp_path, store.run, store.cells(), beside_cells(store))
    assert "\n  not ok 3 test_verifier/calls: basic [p]\n" in (tmp_path / "results.ktap").read_text()
    junit = (tmp_path / "junit.xml").read_text()
    assert 'name="test_verifier/calls: basic [p]"' in junit
    assert "FAIL bad" in junit
    assert "calls: basic" not in (tmp_path / "report/index.html").read_text()
