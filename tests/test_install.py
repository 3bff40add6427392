"""The built wheel, installed where there is no checkout: it has all that the commands need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests import ROOT

_TIMEOUT = 600


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a fresh environment; dependencies are those of the one we run in."""
    wheels = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT], check=True, timeout=_TIMEOUT)
    (wheel,) = wheels.glob("bpfroots-*.whl")
    target = tmp_path_factory.mktemp("environment")
    venv.create(target, with_pip=False)
    subprocess.run(
        [*pip, "--python", target / "bin/python", "install", "--no-deps", wheel], check=True, timeout=_TIMEOUT
    )
    (site,) = target.glob("lib/python*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    # Behind the wheel: what it has counts, and our own editable install is not looked at.
    (site / "dependencies.pth").write_text(f"import sys; sys.path.append({ours!r})\n")
    return target / "bin/bpfroots"


def _run(command: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = directory / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.run(
        [command, *arguments],
        cwd=directory,
        env={**kept, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )


def test_it_has_its_own_kernels_and_cases(installed: Path, tmp_path: Path) -> None:
    kernels = json.loads(_run(installed, tmp_path, "kernel", "list", "--json").stdout)
    assert {"baseline", "patched"} <= {kernel["name"] for kernel in kernels}
    cases = json.loads(_run(installed, tmp_path, "cases", "--json").stdout)
    assert len(cases) > 200


def test_doctor_works_in_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    found = json.loads(_run(installed, tmp_path, "doctor", "--json").stdout)
    (results,) = (check for check in found["checks"] if check["name"] == "results")
    assert results["ok"]
    assert str(tmp_path / "home/.local/state/bpfroots/results") in results["detail"]


def test_a_project_overlays_what_comes_with_it(installed: Path, tmp_path: Path) -> None:
    for folder in ("kernels", "testcases/cases"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "kernels/mine.toml").write_text('base = "baseline"\n')
    names = {
        kernel["name"] for kernel in json.loads(_run(installed, tmp_path, "kernel", "list", "--json").stdout)
    }
    assert {"mine", "baseline"} <= names


def test_it_has_manual_pages(installed: Path) -> None:
    pages = {page.name for page in (installed.parent.parent / "share/man/man1").glob("*.1")}
    assert {"bpfroots.1", "bpfroots-load.1", "bpfroots-kernel-build.1"} <= pages


def test_the_version_is_the_packages(installed: Path, tmp_path: Path) -> None:
    said = _run(installed, tmp_path, "--version").stdout
    assert said.startswith("bpfroots, version 0.")
