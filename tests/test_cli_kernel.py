"""bpfroots kernel ..., as a user runs it, on the fake kernel tree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots import kernels
from bpfroots.progress import Progress
from tests.kernel_project import Project, project


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


def _kernel(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpfroots", "kernel", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_list(fake: Project) -> None:
    fake.define("more", 'base = "baseline"\n')
    done = _kernel("list")
    assert done.returncode == 0
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["baseline", "not built"] in lines
    assert ["more", "not built  (on baseline)"] in lines


def test_list_says_what_is_built(fake: Project) -> None:
    kernels.ensure(kernels.resolve("baseline"), Progress(quiet=True))
    fake.define("more", 'base = "baseline"\ncmdline = ["quiet"]\n')
    fake.define(
        "gone",
        'config = []\n[source]\ntype = "debian-source"\npackage = "linux-source-0.1"\nversion = "1"\n',
    )
    listed = {entry["name"]: entry for entry in json.loads(_kernel("list", "--json").stdout)}
    assert listed["baseline"]["built"] is True
    assert listed["gone"]["built"] is None
    assert "package linux-source-0.1 is not installed" in listed["gone"]["error"]


def test_show_is_for_people(fake: Project) -> None:
    fake.define("more", 'base = "baseline"\n')
    shown = _kernel("show", "more").stdout
    assert "built       no" in shown.splitlines()
    assert not {"None", "True", "False"} & set(shown.split())
    assert not set("{}()[]'") & set(shown)


def test_list_has_a_broken_definition_with_its_error_and_the_others(fake: Project) -> None:
    fake.define("bad", 'colour = "red"\n')
    done = _kernel("list")
    assert done.returncode == 2
    # Those that come with the package are listed, too.
    bad, *others = done.stdout.splitlines()
    name, remark = bad.split(maxsplit=1)
    assert name == "bad"
    assert remark.startswith("cannot be used: kernels/bad.toml: Object contains unknown field `colour`")
    assert others[0].split()[0] == "baseline"
    listed = {entry["name"]: entry for entry in json.loads(_kernel("list", "--json").stdout)}
    assert "unknown field `colour`" in listed["bad"]["error"]
    assert listed["baseline"]["base"] is None
    assert _kernel("show", "baseline").returncode == 0
    assert _kernel("show", "bad").returncode == 2
