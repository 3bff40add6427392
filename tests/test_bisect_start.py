"""A bisect step that fails in whatever way: git must never take it for a verdict."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import ROOT

_ROOT = ROOT
_FAULTS = Path(__file__).parent / "faults"
_DEADLINE = 120

# All that has an exit code of its own, and what has none.
_ERRORS = (
    "RuntimeError('broken')",
    "SystemExit(1)",
    "SystemExit(0)",
    "SystemExit('words')",
    "MemoryError()",
    "KeyboardInterrupt()",
    "OSError(28, 'No space left on device')",
    "UserError('usage')",
    "KernelError('of another kernel')",
    "InfraError('ours')",
    "GuestCrash('of no cell')",
)
_SOME = ("RuntimeError('broken')", "SystemExit(1)", "GuestCrash('of no cell')")
# From the first import to what is asked; what comes after that needs a guest.
_STAGES = (
    "bpfroots.cli",
    "click",
    "bpfroots.bisect.command",
    "bpfroots.bisect.step",
    "msgspec",
    "paramiko",
    "bpfroots.bisect.command:_asked",
    "bpfroots.bisect.step:step",
    "bpfroots.bisect.predicate:understand",
    "bpfroots.bisect.step:understand",
    "bpfroots.bisect.step:choose_accel",
)
# In the first of them, in the command, and in what it calls: all of the errors.
_EVERY_ERROR = ("bpfroots.cli", "bpfroots.bisect.command:_asked", "bpfroots.bisect.step:step")
_LATE_STAGES = (
    "bpfroots.bisect.step:prepare",
    "bpfroots.bisect.step:open_store",
    "bpfroots.bisect.step:PredicateRunner",
    "bpfroots.bisect.predicate:compile_cells",
    "bpfroots.bisect.predicate:Engine",
    "bpfroots.jobs.engine:schedule.batches",
    "bpfroots.bisect.expect:judge",
    "bpfroots.results.store:RunStore.add",
    "bpfroots.results.store:RunStore.finish",
    "click:echo",
)


def _command(tmp_path: Path, python: str = "") -> list[str | Path]:
    """bin/bpfroots beside a python, as it is installed."""
    bin_ = tmp_path / "bin"
    bin_.mkdir(exist_ok=True)
    shutil.copy(_ROOT / "bin/bpfroots", bin_)
    script = bin_ / "python"
    script.write_text(python or f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return [bin_ / "bpfroots", "bisect", "step"]


def _run(
    command: Sequence[str | Path], cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    path = f"{_FAULTS}:{_ROOT}:{_ROOT}/harness"
    return subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        env={**os.environ, "PYTHONPATH": path, "BPFROOTS_ROOT": str(_ROOT), **environment},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def _no_verdict(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode >= 129, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr


def _object(tmp_path: Path) -> Path:
    source = tmp_path / "x.bpf.c"
    source.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\nchar LICENSE[] SEC("license") = "GPL";\n'
        'SEC("xdp") int fine(struct xdp_md *ctx) { return XDP_PASS; }\n'
    )
    return source


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        *((stage, error) for stage in _STAGES for error in _SOME),
        *((stage, error) for stage in _EVERY_ERROR for error in _ERRORS if error not in _SOME),
    ],
)
def test_a_stage_that_raises_is_no_verdict(stage: str, error: str, tmp_path: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "bpfroots",
        "bisect",
        "step",
        "--object",
        _object(tmp_path),
    ]
    done = _run(command, FAULT=stage, FAULT_ERROR=error)
    _no_verdict(done)
    assert (done.returncode == 130) == error.startswith("KeyboardInterrupt")


@pytest.mark.guest
@pytest.mark.parametrize("error", _SOME)
@pytest.mark.parametrize("stage", _LATE_STAGES)
def test_a_late_stage_that_raises_is_no_verdict(stage: str, error: str, tmp_path: Path) -> None:
    command = [*_command(tmp_path), "--kernel", "baseline", "--object", _object(tmp_path)]
    _no_verdict(_run(command, FAULT=stage, FAULT_ERROR=error))


@pytest.mark.guest
def test_without_a_fault_there_is_a_verdict(tmp_path: Path) -> None:
    command = [*_command(tmp_path), "--kernel", "baseline", "--object", _object(tmp_path)]
    done = _run(command)
    assert (done.returncode, done.stdout) == (0, "good  baseline  1 run\n"), done.stderr
    done = _run([*command, "--expect", "reject"])
    assert (done.returncode, done.stdout) == (1, "bad  baseline  accept\n"), done.stderr
    done = _run([*command, "--expect", "insns_per_run<=1"])
    assert done.returncode == 129


@pytest.mark.parametrize(
    "python",
    [
        "#!/nowhere/python\n",
        "#!/bin/sh\nexit 1\n",
        "#!/bin/sh\nexit 120\n",
        "#!/bin/sh\nkill -9 $$\n",
        # A venv whose Python was upgraded: nothing is installed in it any more.
        f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.base_prefix}/bin/python3 -I "$@"\n',
        f'#!/bin/sh\nPYTHONHOME=/nowhere exec {sys.executable} "$@"\n',
    ],
)
def test_a_python_that_does_not_start_is_no_verdict(python: str, tmp_path: Path) -> None:
    done = _run([*_command(tmp_path, python), "--object", _object(tmp_path)])
    assert done.returncode >= 129, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--nonsense"],
        ["--case", "no-such"],
        ["--case", "example/kprobe+cgroup_skb", "--expect", "x"],
    ],
)
def test_usage_is_no_verdict(arguments: list[str], tmp_path: Path) -> None:
    done = _run([*_command(tmp_path), *arguments])
    assert done.returncode == 129, done.stderr


def test_a_tree_that_is_none_is_no_verdict(tmp_path: Path) -> None:
    done = _run([*_command(tmp_path), "--object", _object(tmp_path), "--linux", tmp_path])
    assert done.returncode == 129
    assert "no git work tree" in done.stderr


@pytest.mark.parametrize(
    "before", [["--"], ["-v"], ["--log-file", "x/-y"], ["--log-file=x/-y"], ["-v", "--log-file", "bisect"]]
)
def test_options_before_the_command_do_not_open_a_gap(before: list[str], tmp_path: Path) -> None:
    installed, *_ = _command(tmp_path)
    (tmp_path / "x").mkdir()
    for command in ([installed], [sys.executable, "-m", "bpfroots"]):
        done = _run([*command, *before, "bisect", "step", "--nonsense"], cwd=tmp_path)
        assert done.returncode == 129, done.stderr
        assert "--nonsense" in done.stderr
    assert _run([installed, *before, "nonsense"], cwd=tmp_path).returncode == 2


def test_a_signal_is_no_verdict(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bpfroots", "bisect", "step", "--object", _object(tmp_path)]
    error = f"__import__('os').kill(__import__('os').getpid(), {int(signal.SIGTERM)}) or RuntimeError()"
    _no_verdict(_run([str(word) for word in command], FAULT="bpfroots.bisect.step:step", FAULT_ERROR=error))


@pytest.mark.parametrize("fault", ["click", "bpfroots.bisect.step:step"])
def test_git_stops_and_takes_nothing_for_bad(fault: str, tmp_path: Path) -> None:
    def git(*words: str | Path) -> subprocess.CompletedProcess[str]:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        command = ["git", "-C", tmp_path / "tree", *identity, *words]
        return _run(command, FAULT=fault, FAULT_ERROR="SystemExit(1)")

    (tmp_path / "tree").mkdir()
    git("init", "-q")
    for number in range(5):
        git("commit", "-q", "--allow-empty", "-m", f"change {number}")
    git("bisect", "start", "HEAD", "HEAD~4")
    before = git("bisect", "log").stdout
    done = git("bisect", "run", *_command(tmp_path), "--object", _object(tmp_path))
    assert done.returncode != 0
    assert "first bad commit" not in done.stdout
    assert git("bisect", "log").stdout == before


def test_other_commands_are_as_they_were(tmp_path: Path) -> None:
    command, *_ = _command(tmp_path)
    assert _run([command, "--version"]).returncode == 0
    assert _run([command, "nonsense"]).returncode == 2


def test_it_is_what_is_installed() -> None:
    """The command that pip makes of an entry point would end with 1 where the package is not found."""
    installed = Path(sysconfig.get_path("scripts")) / "bpfroots"
    if not installed.exists():
        pytest.skip("bpfroots is not installed here")
    assert "BPFROOTS_BAD" in installed.read_text()
