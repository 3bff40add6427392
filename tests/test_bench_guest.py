"""`bench` measures what it says: with real guests, and with its peers where they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bpfroots.bench import comparing, programs, testing
from bpfroots.bench.common import Bench
from bpfroots.jobs.kit import Kit
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress
from bpfroots.settings import cache_root, results_root
from tests import ROOT
from tests.test_resume_guest import _project

pytestmark = [pytest.mark.guest, pytest.mark.quiet, pytest.mark.usefixtures("kit")]

_DEADLINE = 1200


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """This project, with results of its own."""
    return _project(tmp_path)


def _bench(root: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "bench", *arguments, "--kernel", "baseline", "--json"],
        env={**os.environ, "BPFROOTS_ROOT": str(root), "PYTHONPATH": str(ROOT)},
        cwd=root,
        capture_output=True,
        timeout=_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_clones_beside_virtme_ng(root: Path) -> None:
    found = _bench(root, "clone", "--runs", "2")
    assert list(found) == ["clone_ssh", "clone_serial"]
    for one in found.values():
        assert one["unit"] == "s"
        assert one["runs"] == len(one["ours"]["samples"]) == 2
        assert 0 < one["ours"]["min"] <= one["ours"]["median"] <= one["ours"]["max"]
        assert one["context"]["kernel"] == "baseline"
        if one["peer"] is None:
            assert one["reason"] == "virtme-ng is not installed"
            continue
        assert one["peer"]["name"] == "virtme-ng 1.42"
        assert len(one["peer"]["samples"]) == 2
        assert one["ratio"] == pytest.approx(one["peer"]["median"] / one["ours"]["median"])
    assert found["clone_serial"]["ours"]["max"] < found["clone_ssh"]["ours"]["max"]


def test_throughput_beside_veristat_is_kept_and_shown(root: Path) -> None:
    """All programs are accepted by both sides, or it would not end well."""
    one = _bench(root, "throughput", "--runs", "1")["throughput"]
    assert one["unit"] == "programs/s"
    assert one["peer"]["name"] == "veristat of baseline's tree"
    assert one["ratio"] == pytest.approx(one["ours"]["median"] / one["peer"]["median"])
    assert set(one["more"]) == {"with_transfer", "full_collection"}
    assert one["more"]["full_collection"]["median"] < one["ours"]["median"]
    assert len(list((root / "results/bench").glob("*.json"))) == 1
    assert _bench(root, "--show") == {"throughput": one}


def test_ab_beside_veristat_over_a_corpus(kit: Kit, tmp_path: Path) -> None:
    """Nothing of it stays, and its figures are of all programs that compile."""
    for name, source in {**programs.sources(), "broken.bpf.c": b"not C"}.items():
        (tmp_path / name).write_bytes(source)
    (tmp_path / "few.toml").write_text('source = "."\nobjects = ["*.bpf.c"]\n')
    runs = set(results_root().iterdir())
    bench = Bench("patched", choose_accel(), 1, Progress(quiet=True))
    found = comparing.measure(bench, 1, str(tmp_path / "few.toml"))
    assert found.what.startswith("bpfroots ab --kernel baseline --kernel patched, of 6 programs in 6 objects")
    assert found.peer
    assert found.ratio == pytest.approx(found.peer.median / found.ours.median)
    assert set(results_root().iterdir()) == runs
    assert not list(cache_root().glob("bench-*"))


@pytest.mark.skipif(
    "BPFROOTS_SELFTEST" not in os.environ,
    reason="builds a kernel for the tree's tests, half an hour: BPFROOTS_SELFTEST=1",
)
def test_selftest_beside_one_guest(kit: Kit) -> None:
    """Both run the same tests, and nothing of it stays."""
    runs = set(results_root().iterdir())
    bench = Bench("patched", choose_accel(), 1, Progress(quiet=True))
    found = testing.measure(bench, 1, ["atomics", "verifier_and"])
    assert "of 2 tests 0 fail, from" in found.what
    assert found.what.endswith("of 2 tests 0 fail")
    assert found.peer
    assert found.ratio == pytest.approx(found.peer.median / found.ours.median)
    assert set(results_root().iterdir()) == runs
    assert not list(cache_root().glob("bench-*"))


def test_a_load_is_no_run_of_anybodys(kit: Kit, root: Path) -> None:
    found = _bench(root, "load", "--runs", "1")["load"]
    assert found["ours"]["median"] > 0
    assert [path.name for path in (root / "results").iterdir()] == ["bench"]
    assert found["context"]["kernel_key"] == kit.kernels[0].key
