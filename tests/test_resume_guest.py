"""Runs that are interrupted at any moment: what was finished stays, the rest runs once, nothing is left."""

from __future__ import annotations

import json
import os
import random
import resource
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bpfroots.jobs.spec import case_cells
from bpfroots.programs import cases as definitions
from bpfroots.programs.protocol import MECHANISMS
from bpfroots.results.key import Key
from bpfroots.results.store import RunStore
from tests import ROOT

pytestmark = pytest.mark.guest

#: How often the harness is killed; BPFROOTS_KILLS=100 is the slow set.
_KILLS = int(os.environ.get("BPFROOTS_KILLS", "10"))
_MARK = "BPFROOTS_TEST_MARK"
_CASES = ["run", "-k", "data", "--kernel", "baseline", "--json"]


def _project(folder: Path) -> Path:
    """This project, with results of its own."""
    for name in ("kernels", "testcases", "images"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "results").mkdir(exist_ok=True)
    return folder


def _start(root: Path, mark: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "bpfroots", *arguments],
        env={**os.environ, "BPFROOTS_ROOT": str(root), _MARK: mark},
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def _marked(mark: str) -> Iterator[int]:
    """Processes, of any depth, that came from a run with this mark."""
    wanted = f"{_MARK}={mark}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in environ.read_bytes():
                yield int(environ.parent.name)


def _all_gone(mark: str) -> bool:
    for pid in _marked(mark):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([fd], [], [], 20)[0]:
                return False
        finally:
            os.close(fd)
    return True


def _only_run(root: Path) -> Path | None:
    return next((path for path in sorted((root / "results").iterdir()) if (path / "run.json").exists()), None)


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    """A run that came to its end in spite of the kills is followed by another one."""
    seed = random.randrange(1 << 32)  # noqa: S311
    chance = random.Random(seed)  # noqa: S311
    kills = runs = 0
    while kills < _KILLS:
        runs += 1
        folder = tmp_path / str(runs)
        folder.mkdir()
        kills += _killed(_project(folder), chance, _KILLS - kills, f"seed {seed}, run {runs}")
    print(f"{kills} kills, {runs} runs")  # noqa: T201


def _killed(root: Path, chance: random.Random, most: int, where: str) -> int:
    """How often a run was killed, and what resumed it, before it ended; ``most`` times at the most."""
    mark = uuid.uuid4().hex
    finished: set[Key] = set()
    kills = 0
    while kills < most:
        run = _only_run(root)
        arguments = ["run", "--resume", run.name, "--json"] if run else _CASES
        with _start(root, mark, *arguments) as harness:
            # Not a wait for something to be over: the moment is what is tested.
            with suppress(subprocess.TimeoutExpired):
                harness.wait(chance.uniform(0.1, 3.0))
            ended = harness.poll() is not None
            harness.kill()
        assert _all_gone(mark), where
        if run := _only_run(root):
            now = {cell.key for cell in RunStore.open(run).cells()}
            assert finished <= now, where
            finished = now
        if ended:
            break
        kills += 1
    run = _only_run(root)
    with _start(root, mark, *(["run", "--resume", run.name, "--json"] if run else _CASES)) as harness:
        out, err = harness.communicate(timeout=300)
    assert harness.returncode == 0, (where, err)
    cells = [Key(cell["case"], cell["mechanism"]) for cell in json.loads(out)["cells"]]
    assert len(cells) == len(set(cells)), where
    assert set(cells) == {spec.key for spec in case_cells(definitions.select("data"), MECHANISMS)}, where
    assert _all_gone(mark), where
    return kills


@pytest.fixture
def small_results(tmp_path: Path) -> Iterator[Path]:
    """A project whose results have 300 KiB of room."""
    root = _project(tmp_path)
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "results", str(root / "results")]
    if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no right to mount a small disk")
    yield root
    subprocess.run(["umount", str(root / "results")], check=True)


def test_a_full_disk_and_going_on_with_more_room(small_results: Path) -> None:
    mark = uuid.uuid4().hex
    with _start(small_results, mark, *_CASES) as harness:
        err = harness.communicate(timeout=300)[1].decode()
    assert harness.returncode == 4
    assert "No space left" in err or "disk full" in err
    assert "Traceback" not in err
    assert _all_gone(mark)
    run = _only_run(small_results)
    assert run is not None
    kept = {cell.key for cell in RunStore.open(run).cells()}
    room = ["mount", "-o", "remount,size=100m", str(small_results / "results")]
    subprocess.run(room, check=True)
    with _start(small_results, mark, "run", "--resume", run.name, "--json") as harness:
        out, err2 = harness.communicate(timeout=300)
    assert harness.returncode == 0, err2
    assert kept < {Key(c["case"], c["mechanism"], c["kernel"]) for c in json.loads(out)["cells"]}


def test_a_host_short_of_memory_is_told_in_a_line(tmp_path: Path) -> None:
    """QEMU's own words, and exit 4: no cell is blamed for it."""
    root, mark = _project(tmp_path), uuid.uuid4().hex

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    with _start(root, mark, *_CASES, preexec_fn=limit) as harness:
        err = harness.communicate(timeout=300)[1].decode()
    assert harness.returncode == 4, err
    assert "Traceback" not in err
    assert "emory" in err
    assert _all_gone(mark)


def test_what_was_asked_for_can_not_be_changed_on_the_way(tmp_path: Path) -> None:
    root, mark = _project(tmp_path), uuid.uuid4().hex
    with _start(root, mark, "run", "--resume", "2026", "--kernel", "patched") as harness:
        err = harness.communicate(timeout=60)[1].decode()
    assert harness.returncode == 2
    assert "drop --kernel\n" in err
