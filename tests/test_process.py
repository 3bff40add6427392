"""Nothing outlives us: real processes, real kills."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bpfroots import process
from bpfroots.errors import InfraError
from tests.processes import gone

_DEADLINE = 20.0

# Starts a shell with a child of its own and a directory, says who they are, waits to be killed.
_PARENT = """
import subprocess, sys
from bpfroots import process
child = process.spawn(["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE)
grandchild = child.stdout.readline().decode().strip()
print(child.pid, grandchild, process.temporary_directory(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_group_and_directory_go_with_the_parent(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout is not None
        child, grandchild, directory = parent.stdout.readline().decode().split()
        assert Path(directory).is_dir()
        parent.send_signal(how)
        parent.wait(_DEADLINE)
        assert gone(int(child))
        assert gone(int(grandchild))
    # The reaper removes the directory after the kills; its end is the event to wait for.
    subprocess.run(
        ["timeout", str(_DEADLINE), "sh", "-c", f"while [ -e {directory} ]; do :; done"], check=True
    )


def test_kill_takes_the_whole_group() -> None:
    with process.spawn(["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE) as child:
        grandchild = int(child.stdout.readline())
        child.kill()
        assert gone(grandchild)


def test_run_captures() -> None:
    done = process.run(["sh", "-c", "cat; echo no >&2; exit 3"], input=b"in")
    assert (done.stdout, done.stderr, done.returncode) == (b"in", b"no\n", 3)


def test_missing_program_names_itself() -> None:
    with pytest.raises(InfraError, match="no-such-tool: not found"):
        process.run(["no-such-tool"])


def test_timeout_is_an_error_and_kills() -> None:
    with pytest.raises(InfraError, match="no end after"):
        process.run(["sleep", "1000"], timeout=0.2)


def test_environment_of_children_is_clean() -> None:
    done = process.run(["env"])
    assert b"BPFROOTS_REAPER" not in done.stdout
