"""The console monitor: bytes in any shape, bounded memory, a file whose line numbers hold."""

import tracemalloc
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from bpfroots.machine import console
from bpfroots.machine.console import ConsoleLog

MARK = "bpfroots: ready"


def test_lines_marks_and_splats_with_numbers(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path / "c.log", (MARK,))
    assert log.feed(b"[ 0.1] one\r\n[ 0.2] bpf") == []
    assert log.feed(b"roots: rea") == []
    assert log.feed(b"dy\r\n[ 0.3] WARNING: CPU: 0 PID: 1 at a.c:3 f+0x1/0x2\r\n") == [
        "[ 0.2] bpfroots: ready",
        "",
    ]
    assert [(s.title, s.line) for s in log.splats()] == [("WARNING in f at a.c:3", 3)]
    assert log.close() == []
    assert (tmp_path / "c.log").read_text().splitlines()[2].startswith("[ 0.3] WARNING")


def test_the_unfinished_last_line_counts(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path / "c.log")
    log.feed(b"first\nKernel panic - not syncing: the e")
    assert log.tail() == ["first", "Kernel panic - not syncing: the e"]
    assert log.close() == [""]
    assert log.splats()[0].line == 2
    assert (tmp_path / "c.log").read_bytes() == b"first\nKernel panic - not syncing: the e\n"


def test_nul_escapes_and_invalid_utf8(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path / "c.log", (MARK,))
    assert log.feed(b"\x1bc\x1b[?7l\x1b[2J\0\xff\xfe bpf\0roots: ready\r\r\n") == ["�� bpfroots: ready"]
    log.close()
    assert (tmp_path / "c.log").read_bytes() == b"\xff\xfe bpfroots: ready\n"


_TEXT = st.lists(
    st.sampled_from(
        [
            b"line\n",
            b"\r\n",
            b"\n",
            b"\0",
            b"\xff",
            b"[ 1.0] BUG: x\n",
            b"bpfroots: ready\n",
            b"part",
            b"\x1b[1m",
        ]
    ),
    max_size=40,
).map(b"".join)


@given(_TEXT, st.lists(st.integers(0, 400), max_size=8))
def test_chunks_make_no_difference(data: bytes, cuts: list[int]) -> None:
    with TemporaryDirectory() as directory:
        whole = ConsoleLog(Path(directory, "whole"), (MARK,))
        parts = ConsoleLog(Path(directory, "parts"), (MARK,))
        expected = whole.feed(data) + whole.close()
        bounds = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
        found = [f for a, b in pairwise(bounds) for f in parts.feed(data[a:b])]
        assert found + parts.close() == expected
        assert parts.splats() == whole.splats()
        assert parts.tail() == whole.tail()
        assert Path(directory, "parts").read_bytes() == Path(directory, "whole").read_bytes()


def _peak_of_flood(path: Path, chunk: bytes, count: int) -> int:
    log = ConsoleLog(path)
    log.feed(chunk)
    tracemalloc.start()
    for _ in range(count):
        log.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close()
    return peak


def test_a_flood_of_lines_needs_no_memory(tmp_path: Path) -> None:
    chunk = b"[    1.000000] the same line again and again, eighty bytes of it, no more than\n" * 800
    assert _peak_of_flood(tmp_path / "c.log", chunk, 80) < 2_000_000


def test_a_line_without_end_needs_no_memory(tmp_path: Path) -> None:
    assert _peak_of_flood(tmp_path / "c.log", b"x" * 65536, 400) < 2_000_000


def test_the_file_has_a_limit(tmp_path: Path) -> None:
    limit, console.MAX_LOG = console.MAX_LOG, 1000
    try:
        log = ConsoleLog(tmp_path / "c.log")
        for _ in range(100):
            log.feed(b"x" * 99 + b"\n")
        log.feed(b"BUG: after the cut\n")
        log.close()
    finally:
        console.MAX_LOG = limit
    assert (tmp_path / "c.log").stat().st_size < 1200
    assert log.splats()[0].line == 101
