"""The guest's console: kept whole in a file, looked at line by line."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from bpfroots.machine.splats import Allowance, AllowedSplat, Rules, Scanner, Splat

_TAIL_LINES = 200
_TAIL_WIDTH = 400
#: A longer line is cut in two: a guest need not ever send a newline.
_MAX_LINE = 1 << 16
#: Past this the log file stops growing; the search for splats continues.
MAX_LOG = 1 << 28

#: The runner puts this and a load's id into the kernel log before it touches the load.
LOAD_MARK = "bpfroots: load "

# Firmware and shells colour the console and move its cursor.
_LOAD = LOAD_MARK.encode()
_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[c78=>])")


class ConsoleLog:
    """Takes the console's bytes as they come, writes them as lines to ``path``.

    CR and NUL are dropped; line numbers are those of the file. Memory is bounded for any input.
    Not thread-safe but for `tail`, `splats`, `allow` and `allowed`, which may be called while another thread
    feeds.
    """

    def __init__(self, path: Path, marks: Sequence[str] = (), rules: Rules | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.lines = 0
        self._file = path.open("wb")
        self._size = 0
        self._marks = [mark.encode() for mark in marks]
        self._scanner = Scanner(rules)
        #: The id of the load that was begun last.
        self.load = ""
        self._loads: list[str] = []
        self._partial = b""
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)

    def feed(self, data: bytes) -> list[str]:
        """What was found in the lines completed by ``data``: lines with a mark, and "" for a splat."""
        block = self._partial + data.translate(None, b"\0\r")
        *lines, self._partial = block.split(b"\n")
        while len(self._partial) > _MAX_LINE:
            lines.append(self._partial[:_MAX_LINE])
            self._partial = self._partial[_MAX_LINE:]
        return self._take(lines)

    def close(self) -> list[str]:
        """The unfinished last line is a line too: it may be a dying kernel's last word."""
        found = self._take([self._partial]) if self._partial else []
        self._partial = b""
        self._file.close()
        return found

    def tail(self, count: int = 20) -> list[str]:
        """The last ``count`` lines, the unfinished one included."""
        lines = [*self._tail.copy(), *([self._partial[:_TAIL_WIDTH]] if self._partial else [])]
        return [line.decode(errors="replace") for line in lines[-count:]]

    def splat_load(self, index: int) -> str:
        """The load that was running when report ``index`` of `splats` began."""
        return self._loads[index] if index < len(self._loads) else self.load

    def splats(self) -> list[Splat]:
        return self._scanner.splats()

    def allow(self, lines: Sequence[Allowance]) -> None:
        """From now on, what one of ``lines`` matches is in `allowed`, and no splat."""
        self._scanner.allow = lines

    def allowed(self) -> list[AllowedSplat]:
        return list(self._scanner.allowed)

    def _take(self, lines: list[bytes]) -> list[str]:
        found = []
        for index, raw in enumerate(lines):
            line = _ESCAPE.sub(b"", raw) if b"\x1b" in raw else raw
            lines[index] = line
            self.lines += 1
            for mark in self._marks:
                if mark in line:
                    found.append(line.decode(errors="replace"))
            if _LOAD in line:
                self.load = line.partition(_LOAD)[2].decode(errors="replace").strip()
            if self._scanner.feed(line.decode(errors="replace"), self.lines):
                self._loads.append(self.load)
                found.append("")
        self._tail.extend(line[:_TAIL_WIDTH] for line in lines[-_TAIL_LINES:])
        self._write(lines)
        return found

    def _write(self, lines: list[bytes]) -> None:
        if not lines or self._size >= MAX_LOG:
            return
        data = b"\n".join(lines) + b"\n"
        self._size += len(data)
        if self._size >= MAX_LOG:
            data += b"bpfroots: the log is cut here, the guest continued\n"
        self._file.write(data)
        # Whole lines are in the file whatever happens to this process next.
        self._file.flush()
