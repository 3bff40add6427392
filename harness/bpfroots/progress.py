"""What long work tells the person waiting for it. Always on stderr; data goes to stdout."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from bpfroots import log
from bpfroots.escape import visible

if TYPE_CHECKING:
    # Imported where a terminal wants to see something move: that takes as long as a guest to start.
    import rich.console
    import rich.progress

_log = logging.getLogger(__name__)
_quiet = False
# Those that are on the terminal now: lines go above them.
_bars: list[rich.progress.Progress] = []


@functools.cache
def _stderr() -> rich.console.Console:
    """One for all: it keeps lines and bars from tearing each other. sys.stderr is looked up at each line."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def be_quiet() -> None:
    """From now on nothing but results and errors is printed (-q)."""
    global _quiet
    _quiet = True


class _LogLines(logging.Handler):
    """Log records on stderr, above a bar; not those of this module, which are there already."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != __name__:
            from rich.text import Text

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
        self._stream = stream
        self._told_quiet = quiet

    @property
    def _quiet(self) -> bool:
        return _quiet or self._told_quiet

    @functools.cached_property
    def _console(self) -> rich.console.Console:
        if self._stream is None:
            return _stderr()
        from rich.console import Console

        return Console(file=self._stream, highlight=False)

    def say(self, text: str) -> None:
        """One line that stays."""
        _log.info("%s", text)
        if self._quiet:
            return
        # One line is one line: whoever reads a log greps for it.
        line = visible(text)
        if _bars:
            self._console.print(line, markup=False, soft_wrap=True)
            return
        stream = self._stream or sys.stderr
        with contextlib.suppress(OSError):  # work does not end because nothing shows its progress
            stream.write(f"{line}\n")
            stream.flush()

    @contextmanager
    def task(self, label: str, unit: str = "") -> Iterator[Task]:
        """A step that takes time: a bar on a terminal, one closing line everywhere."""
        start = time.monotonic()
        label = visible(label)
        if self._quiet or not (self._stream or sys.stderr).isatty():
            task = Task(None, None)
            self.say(f"{label} ...")
            yield task
        else:
            _log.info("%s ...", label)
            with self._bar(unit) as bar:
                task = Task(bar, bar.add_task(label, total=None))
                yield task
        elapsed = time.monotonic() - start
        self.say(f"{label}  {task.summary}  {_duration(elapsed)}".replace("    ", "  "))

    @contextmanager
    def _bar(self, unit: str) -> Iterator[rich.progress.Progress]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        _bars.append(bar)
        try:
            with bar:
                yield bar
        finally:
            _bars.remove(bar)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
