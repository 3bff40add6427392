"""What happens inside: Python's `logging` below "bpfroots", for whoever has to find out why something hangs.

Each module logs under its own name: builds and guests at INFO; commands, events of QEMU, connections and
cache hits at DEBUG. Nothing that a guest is told on its standard input is logged: it may be a secret.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from pathlib import Path

from bpfroots.escape import visible

#: The file of a run folder.
RUN_LOG = "run.log"
# Of what happened before there was a run folder: enough for all that is found in caches.
_KEPT = 2000

_root = logging.getLogger(__package__)
# Without a handler of the application's, Python would print warnings of a library.
_root.addHandler(logging.NullHandler())


class Lines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z DEBUG machine.qmp: TEXT``; without ``date`` neither date nor level.

    Times are UTC. All is `visible`. Further lines of a text are indented, so that each record begins a line.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self, *, date: bool) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03d"
            + ("Z %(levelname)-5s %(module_name)s: %(message)s" if date else " %(module_name)s: %(message)s"),
            "%Y-%m-%dT%H:%M:%S" if date else "%H:%M:%S",
        )

    def format(self, record: logging.LogRecord) -> str:
        record.module_name = record.name.removeprefix(f"{__package__}.")
        return visible(super().format(record)).replace("\n", "\n    ")


class _File(logging.FileHandler):
    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(Lines(date=True))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """A full disk must not end, or cover with tracebacks, the work that is logged."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class _RunLog(logging.Handler):
    """Keeps the latest records until there is a run folder; from then on writes to that."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._early: deque[logging.LogRecord] = deque(maxlen=_KEPT)
        self._file: _File | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._file:
            self._file.emit(record)
        else:
            self._early.append(record)

    def follow(self, path: Path) -> None:
        with contextlib.suppress(OSError):  # whoever writes the results says it
            file = _File(path)
            if self._file:
                self._file.close()
            while self._early:
                file.emit(self._early.popleft())
            self._file = file

    def leave(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


_run_log = _RunLog()


def begin() -> None:
    """Keep what is logged for the run folder that may come."""
    add(_run_log)


def follow(folder: Path) -> None:
    """From now on all that is logged goes to ``folder``/run.log as well: appended where the file is there."""
    begin()
    _run_log.acquire()
    try:
        _run_log.follow(folder / RUN_LOG)
    finally:
        _run_log.release()


def leave() -> None:
    """Close the file of the run folder: nothing is open there any more, and the folder can go."""
    _run_log.acquire()
    try:
        _run_log.leave()
    finally:
        _run_log.release()


def to_file(path: Path) -> None:
    """Append all that is logged to ``path``, until the end of the process. Raises OSError."""
    file = _File(path)
    add(file)


def add(handler: logging.Handler) -> None:
    """Hand all records to ``handler``, which has its own level. Adding it twice is adding it once."""
    _root.setLevel(logging.DEBUG)
    _root.addHandler(handler)
