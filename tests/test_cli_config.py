"""The file with options that a user always gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("BPFROOTS_CONFIG", str(path))
    return path


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bpfroots", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _cases(*arguments: str) -> set[str]:
    return {case["name"] for case in json.loads(_run("cases", *arguments, "--json").stdout)}


def test_an_option_comes_from_the_file_unless_it_is_given(file: Path) -> None:
    everything = _cases()
    file.write_text('[cases]\nk = "example"\n\n[run]\nkernel = "nowhere"\n')
    examples = _cases()
    assert examples == _cases("-k", "example")
    assert 0 < len(examples) < len(everything)
    assert _cases("-k", "body/loop-tc+xdp") == {"body/loop-tc+xdp"}


def test_repeatable_options_and_commands_of_commands(file: Path) -> None:
    file.write_text('[kernel.list]\njson = true\n\n[run]\nkernel = ["nowhere", "elsewhere"]\n')
    assert json.loads(_run("kernel", "list").stdout)
    done = _run("run", "-k", "example")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_where_it_is_without_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BPFROOTS_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "bpfroots").mkdir()
    (tmp_path / "bpfroots" / "config.toml").write_text('[cases]\nk = "example"\n')
    assert _cases() == _cases("-k", "example")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[load\n", "config.toml: Expected ']'"),
        ("load = 1\n", "config.toml: load is not a table"),
        ('[load]\nkernels = ["x"]\n', "config.toml: [load] kernels: there is no such option\n  try: kernel?"),
        (
            '[load]\naccel = "xen"\n',
            "config.toml: load: accel = 'xen': 'xen' is not one of 'auto', 'kvm', 'tcg'",
        ),
        ('[load]\ntimeout = "soon"\n', "config.toml: load: timeout = 'soon'"),
    ],
)
def test_a_mistake_is_named_and_costs_other_commands_nothing(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    done = _run("load", "x.bpf.c")
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    if text != "[load\n":
        assert _run("cases", "-k", "example").returncode == 0
