"""What is logged, and where it goes: -v, -q, --log-file, and the run.log of a run folder."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots import log, process
from bpfroots.results.store import RunStore

_DEADLINE = 120
_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:DEBUG|INFO) +[\w.]+: ")
# Asks the cache, and needs nothing that takes time.
_SHOW = ("kernel", "show", "baseline")


def _bpfroots(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpfroots", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for a kernel that another bpfroots builds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[log._RunLog]:
    """One that has seen nothing yet."""
    root = logging.getLogger("bpfroots")
    monkeypatch.setattr(log, "_run_log", log._RunLog())
    before = list(root.handlers)
    yield log._run_log
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)


@pytest.mark.parametrize("words", [("-vv", *_SHOW), ("-v", *_SHOW, "-v"), (*_SHOW, "--verbose", "-v")])
def test_every_cache_entry_is_named_at_vv(words: tuple[str, ...]) -> None:
    done = _bpfroots(*words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} cache: .*/\w+/\S+: (there|not there)$", done.stderr, re.M)


@pytest.mark.parametrize("words", [_SHOW, ("-v", *_SHOW), (*_SHOW, "-q")])
def test_twin_without_it_none_is(words: tuple[str, ...]) -> None:
    done = _bpfroots(*words)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_log_file_has_all_of_it_and_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert _bpfroots("--log-file", str(path), *_SHOW).stderr == ""
    first = path.read_text()
    assert "cache: " in first
    assert _bpfroots(*_SHOW, "-q", f"--log-file={path}").returncode == 0
    both = path.read_text()
    assert both.startswith(first)
    assert len(both) > len(first)
    assert all(_LINE.match(line) or line.startswith("    ") for line in both.splitlines())


def test_the_configuration_file_has_these_options_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[kernel.show]\nverbose = 2\n")
    monkeypatch.setenv("BPFROOTS_CONFIG", str(config))
    assert " cache: " in _bpfroots(*_SHOW).stderr


def test_a_log_file_has_the_traceback_of_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    done = _bpfroots("kernel", "show", "nowhere", "--log-file", str(path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "    Traceback" in path.read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-q", *_SHOW, "-v"), "-q prints less and -v prints more"),
        (("--log-file", "/nowhere/log", *_SHOW), "--log-file /nowhere/log: cannot be written: No such file"),
    ],
)
def test_what_makes_no_sense_is_one_line(words: tuple[str, ...], says: str) -> None:
    done = _bpfroots(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr.splitlines()[0]


def test_an_option_of_the_guests_command_is_not_ours() -> None:
    from bpfroots.cli import cli

    shell = cli.get_command(cli.make_context("bpfroots", ["shell"]), "shell")
    assert shell is not None
    assert shell.make_context("shell", ["uname", "-v", "-q"]).params["command"] == ("uname", "-v", "-q")


def test_quiet_leaves_results_and_errors(tmp_path: Path) -> None:
    code = (
        "from bpfroots.progress import Progress, be_quiet\nbe_quiet()\np = Progress()\np.say('said')\n"
        "with p.task('task'): pass\n"
    )
    for text, shown in ((code, ""), (code.replace("be_quiet()\n", ""), "said\ntask ...\n")):
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        assert done.stderr.startswith(shown)
        assert bool(done.stderr) == bool(shown)


_BAR = """
import logging, threading
from bpfroots.progress import Progress, print_log
print_log(logging.INFO)
log = logging.getLogger("bpfroots.jobs.worker")
progress = Progress()
def work(n):
    for i in range(60):
        log.info("worker %d has line %d that is whole", n, i)
with progress.task("guests", "cells") as task:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads: t.start()
    for i in range(300):
        task.update(i, 300)
        if i % 10 == 0: Progress().say(f"line {i} that stays")
    for t in threads: t.join()
"""


def _on_terminal(code: str) -> str:
    """What a program writes to a terminal."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=child, stderr=child, env=environment
    ) as running:
        os.close(child)
        found = b""
        while True:
            try:
                data = os.read(parent, 1 << 16)
            except OSError:  # EIO: the last one has closed it
                break
            if not data:
                break
            found += data
    os.close(parent)
    assert running.returncode == 0, found
    return found.decode()


def test_a_bar_and_the_log_do_not_tear_each_other() -> None:
    shown = _on_terminal(_BAR)
    assert "━" in shown  # there was a bar
    # What stands in a line once the bar that was in it is erased.
    lines = [
        re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rpartition("\x1b[2K")[2]) for line in shown.split("\n")
    ]
    kept = [line.strip("\r") for line in lines]
    logged = [line for line in kept if "worker" in line]
    assert len(logged) == 240
    assert all(
        re.fullmatch(r"[\d:.]{12} jobs\.worker: worker \d has line \d+ that is whole", line)
        for line in logged
    )
    assert [line for line in kept if "that stays" in line] == [
        f"line {i} that stays" for i in range(0, 300, 10)
    ]


def test_a_run_folder_has_what_came_before_it_too(
    run_log: log._RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BPFROOTS_ROOT", str(tmp_path))
    monkeypatch.setattr("bpfroots.settings.results_root", lambda: tmp_path)
    log.begin()
    one = logging.getLogger("bpfroots.machine.qmp")
    one.debug("before")
    first = RunStore.create("run", [])
    one.debug("during")
    second = RunStore.create("run", [])
    one.info("of the second\nin \x1b[2J two lines")
    first.repair()
    one.info("resumed")
    texts = [_LINE.sub("", (store.path / log.RUN_LOG).read_text()) for store in (first, second)]
    assert texts == ["before\nduring\nresumed\n", "of the second\n    in \\x1b[2J two lines\n"]


def test_a_full_disk_ends_nothing(run_log: log._RunLog, capfd: pytest.CaptureFixture[str]) -> None:
    log.to_file(Path("/dev/full"))
    logging.getLogger("bpfroots.cache").info("no room for this")
    log.follow(Path("/nowhere"))
    logging.getLogger("bpfroots.cache").info("nor is there a folder")
    assert capfd.readouterr() == ("", "")


def test_what_a_child_is_told_is_not_logged(run_log: log._RunLog, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.to_file(path)
    process.run(["cat", "-u"], input=b"a secret")
    text = path.read_text()
    assert "cat -u" in text
    assert "status 0 after" in text
    assert "secret" not in text
