"""The plugin without a guest: hints, names, usage errors. With one: test_spine_guest.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.test_kernels_resolve import bzimage


def _pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_kernel_cells_are_skipped_with_a_hint() -> None:
    done = _pytest()
    assert done.returncode == 0, done.stdout
    assert "pytest --kernel=baseline" in done.stdout
    assert "passed" not in done.stdout


def test_names_of_cells() -> None:
    done = _pytest("--kernel=baseline", "--collect-only", "-q", "-k", "body.toml and loop-tc and tail_call")
    names = [line for line in done.stdout.splitlines() if "::" in line]
    assert names == ["testcases/cases/body.toml::loop-tc+xdp-tail_call-baseline"]


def test_an_unknown_kernel_is_a_usage_error() -> None:
    done = _pytest("--kernel=nowhere")
    assert done.returncode == 4
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_equal_needs_two_kernels() -> None:
    done = _pytest("--kernel=baseline", "--equal=duplicate")
    assert done.returncode == 4
    assert "--kernel A --kernel B" in done.stderr


def test_two_kernels_of_one_file_name_have_two_names(tmp_path: Path) -> None:
    paths = [bzimage(tmp_path / name / "bzImage", b"") for name in ("a", "b")]
    kernels = [f"--kernel={path}" for path in (*paths, paths[0])]
    done = _pytest(*kernels, "--collect-only", "-q", "-k", "body.toml and loop-tc and tail_call")
    names = [line.rpartition("tail_call-")[2] for line in done.stdout.splitlines() if "::" in line]
    assert names == ["a-bzImage", "b-bzImage"]


def test_processes_of_xdist_are_not_used() -> None:
    """Each of them would run every cell; -k leaves none here, so that no guest is needed to see it."""
    done = _pytest("--kernel=baseline", "-n", "2", "-k", "nothing-is-called-this")
    assert done.returncode == 5, done.stdout
    assert "guests are spread by bpfroots itself" in done.stdout
    assert "workers" not in done.stdout
