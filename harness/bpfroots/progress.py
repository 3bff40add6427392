"""What long work tells the person waiting for it. Always on stderr; data goes to stdout."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import rich.console
import rich.progress
from rich.text import Text

from bpfroots import log
from bpfroots.escape import visible

_log = logging.getLogger(__name__)
_quiet = False


@functools.cache
def _stderr() -> rich.console.Console:
    """One for all: it keeps lines and bars from tearing each other. sys.stderr is looked up at each line."""
    return rich.console.Console(stderr=True, highlight=False)


def be_quiet() -> None:
    """From now on nothing but results and errors is printed (-q)."""
    global _quiet
    _quiet = True


class _LogLines(logging.Handler):
    """Log records on stderr, above a bar; not those of this module, which are there already."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != __name__:
            _stderr().print(Text(self.format(record), style="bright_black"), soft_wrap=True)


@functools.cache
def _lines() -> _LogLines:
    made = _LogLines()
    made.setFormatter(log.Lines(date=False))
    return made


def print_log(level: int) -> None:
    """Print what is logged at ``level`` or above (-v, -vv)."""
    _lines().setLevel(level)
    log.add(_lines())


class Task:
    """One thing in progress. Without a terminal only its start and end are written."""

    def __init__(self, bar: rich.progress.Progress | None, task: rich.progress.TaskID | None) -> None:
        self._bar = bar
        self._task = task
        self.summary = ""

    def update(self, done: int, total: int | None = None) -> None:
        """``done`` of ``total`` units are finished."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)


class Progress:
    """Steps of a command. Steps that are already done cost no line. All lines are logged, too."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._console = rich.console.Console(file=stream, highlight=False) if stream else _stderr()
        self._told_quiet = quiet

    @property
    def _quiet(self) -> bool:
        return _quiet or self._told_quiet

    def say(self, text: str) -> None:
        """One line that stays."""
        _log.info("%s", text)
        if not self._quiet:
            # One line is one line: whoever reads a log greps for it.
            self._console.print(visible(text), markup=False, soft_wrap=True)

    @contextmanager
    def task(self, label: str, unit: str = "") -> Iterator[Task]:
        """A step that takes time: a bar on a terminal, one closing line everywhere."""
        start = time.monotonic()
        label = visible(label)
        if self._quiet or not self._console.is_terminal:
            task = Task(None, None)
            self.say(f"{label} ...")
            yield task
        else:
            _log.info("%s ...", label)
            bar = rich.progress.Progress(
                rich.progress.TextColumn("{task.description}", markup=False),
                rich.progress.BarColumn(bar_width=24),
                rich.progress.TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
                rich.progress.TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            with bar:
                task = Task(bar, bar.add_task(label, total=None))
                yield task
        elapsed = time.monotonic() - start
        self.say(f"{label}  {task.summary}  {_duration(elapsed)}".replace("    ", "  "))


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
