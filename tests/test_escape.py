"""Text of foreign origin reaches people without a byte that a terminal would obey."""

from __future__ import annotations

import io
import os
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bpfroots.analysis.changes import changes
from bpfroots.analysis.compare import compare
from bpfroots.bench import table as bench
from bpfroots.bench.model import Context, Measurement, Spread
from bpfroots.bisect import page as bisect_report
from bpfroots.bisect.model import Bisection, Commit, FirstBad, Found, Judgement
from bpfroots.errors import InfraError
from bpfroots.escape import visible
from bpfroots.history import terminal as history
from bpfroots.history.database import Recorded, State
from bpfroots.history.record import CellHistory, Span
from bpfroots.history.trend import Finding, Flaky, Trend
from bpfroots.nightly import page as night
from bpfroots.nightly.state import WorkFailure
from bpfroots.progress import Progress
from bpfroots.report import failure, html, overview, terminal
from bpfroots.results.model import SCHEMA, Cell, KernelInfo, RunInfo
from bpfroots.results.selftests import VerifierTest
from bpfroots.selftest import output as selftest
from bpfroots.selftest import terminal as selftests
from tests import ROOT
from tests.report_cells import loaded, make_cell

#: A window title, a colour in 7 and in 8 bits, and control characters.
LOUD = "\x1b]0;owned\x07 \x1b[31mred \x9b31mred \x01\x7f\r."
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# What rich itself writes on a terminal: colours, and how it moves about while a bar is shown.
_RICH = re.compile(r"\x1b\[(\d+(;\d+)*m|\?25[lh]|[12]?[AKGM])|\r")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_obeyed_is_made_visible() -> None:
    assert visible(LOUD) == r"\x1b]0;owned\x07 \x1b[31mred \x9b31mred \x01\x7f\x0d."
    assert visible(os.fsdecode(b"M\xfcller")) == r"M\xfcller"
    assert visible("\ud83d") == r"\ud83d"
    assert visible("M\xfcller \u65e5\t\U0001f41d\n") == "M\xfcller \u65e5\t\U0001f41d\n"


@given(st.text(alphabet=st.characters()))
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert visible(_OBEYED.sub("", text)) == _OBEYED.sub("", text)
    assert not _OBEYED.search(visible(text))


# -- everything that writes text, fed with it


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """One that failed and one that crashed, with it in every field and file that is not of the harness."""
    refused = loaded("calls", "reject", "reject-different-pointers")
    logs = {
        load.number: zlib.compress(f"{refused.log(load)}\n; {LOUD}\n{LOUD}\nprocessed 3 insns\n".encode())
        for load in refused.loads
    }
    load = msgspec.structs.replace(refused, logs=logs)
    made = [
        make_cell(tmp_path, f"a/{LOUD}", "duplicate", f"k{LOUD}", outcome="fail", load=load, reason=LOUD),
        make_cell(tmp_path, f"b/{LOUD}", "duplicate", f"k{LOUD}", outcome="skip", reason=LOUD),
        make_cell(tmp_path, f"c/{LOUD}", "duplicate", f"k{LOUD}", outcome="infra_error", reason=LOUD),
        make_cell(tmp_path, f"d/{LOUD}", "tail_call", f"k{LOUD}", load=loaded("tail_variable")),
    ]
    for root in made[0].roots:
        root.name, root.type, root.message = f"{root.name}{LOUD}", LOUD, LOUD
    for found in made[0].verifications:
        found.programs = [f"{name}{LOUD}" for name in found.programs]
        found.message = found.failed = LOUD
    made[0].remarks, made[0].hint = [LOUD], LOUD
    made[0].artefacts = {name.replace(".v", f"{LOUD}.v"): path for name, path in made[0].artefacts.items()}
    return made


@pytest.fixture
def run() -> RunInfo:
    kernel = KernelInfo(f"k{LOUD}", LOUD, LOUD, compiler=LOUD)
    return RunInfo(SCHEMA, "RUN", ["bpfroots", LOUD], "", [kernel], qemu=LOUD, accel="tcg", accel_reason=LOUD)


def _bisection() -> Bisection:
    commit = Commit("a" * 40, LOUD, LOUD)
    judgement = Judgement(commit.id, "bad", LOUD, failures=1)
    return Bisection(
        question=LOUD,
        expect=[LOUD],
        good=commit,
        bad=commit,
        found=Found([commit.id], 0.99, 0.99, 1, [judgement]),
        suspects=[commit],
        commits={commit.id: commit},
        release=LOUD,
        compiler=LOUD,
        command=[LOUD],
        seconds=1.0,
        change=FirstBad(LOUD, {LOUD: (LOUD, LOUD)}, {LOUD: [LOUD]}, LOUD),
        source=LOUD,
        reproduce=LOUD,
    )


def _trend() -> Trend:
    finding = Finding(LOUD, LOUD, "duplicate", "verdict", LOUD, LOUD, LOUD, LOUD, LOUD, LOUD)
    flaky = Flaky(LOUD, LOUD, "duplicate", "verdict", {LOUD: 2}, LOUD, bad=True)
    return Trend(LOUD, LOUD, 1, [finding], [finding], [flaky], [LOUD], [LOUD], [LOUD])


def _ran(kernel: str, lines: list[str]) -> selftest.Ran:
    output = selftest.Output([VerifierTest(1, "p", LOUD, "fail", lines)], lines, LOUD)
    return selftest.Ran(kernel, 1.0, LOUD, LOUD, output)


def _measured() -> dict[str, Measurement]:
    spread = Spread(1, 1, 1, [1])
    context = Context(LOUD, LOUD, LOUD, LOUD, LOUD, LOUD, 1, LOUD, 0.0)
    return {LOUD: Measurement(spread, None, None, "s", 1, LOUD, context, LOUD, {LOUD: spread})}


_PRINTERS: dict[str, Callable[[list[Cell], Console], Any]] = {
    "headline": lambda cells, out: terminal.print_headline(compare(cells), out, title=LOUD),
    "table": lambda cells, out: terminal.print_table(compare(cells), out),
    "changes": lambda cells, out: terminal.print_changes(changes(cells, _others(cells)), out),
    "runs": lambda _, out: history.print_runs([Recorded(1, LOUD, LOUD, LOUD, LOUD, LOUD, None, {})], {}, out),
    "history": lambda _, out: history.print_case(
        [CellHistory(LOUD, LOUD, LOUD, [Span(LOUD, LOUD, 1, State("fail", message=LOUD))], LOUD)], out
    ),
    "bisection": lambda _, out: bisect_report.print_bisection(_bisection(), out),
    "selftests": lambda _, out: selftests.print_selftests(
        [_ran(f"a{LOUD}", ["a"]), _ran(f"b{LOUD}", [LOUD])],
        {f"b{LOUD}": [selftest.Difference("1/p", LOUD, ["a"], [LOUD])]},
        out,
    ),
    "trend": lambda _, out: out.print("\n".join(history.trend_lines(_trend()))),
}


def _others(cells: list[Cell]) -> list[Cell]:
    """The same cells with other outcomes and reasons."""
    return [msgspec.structs.replace(cell, outcome="guest_hang", reason=f"other {LOUD}") for cell in cells]


@pytest.mark.parametrize("name", _PRINTERS)
def test_no_printer_lets_it_through(name: str, cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "1000")
    pipe, screen = io.StringIO(), _Terminal()
    for stream in (pipe, screen):
        _PRINTERS[name](cells, terminal.console(stream))
        # rich drops the bell by itself.
        assert r"\x1b]0;owned" in _RICH.sub("", stream.getvalue())
    assert not _OBEYED.search(pipe.getvalue())
    assert not _OBEYED.search(_RICH.sub("", screen.getvalue()))


def test_no_overview_lets_it_through(
    cells: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = {
        "name": LOUD,
        "roots": [LOUD],
        "mechanisms": {"duplicate": {"expect": LOUD, "xfail": LOUD}},
        "not_expressible": {"fd_name": LOUD},
    }
    overview.print_run(cells, tmp_path)
    overview.print_checks(False, [(LOUD, False, LOUD, LOUD)])
    overview.print_cases([case])
    bench.print_bench(_measured())
    shown = capsys.readouterr().out
    assert shown.count(r"\x1b]0;owned") > 10
    assert not _OBEYED.search(shown)


def test_no_text_lets_it_through(cells: list[Cell], tmp_path: Path) -> None:
    failures = [WorkFailure(LOUD, LOUD, 4)]
    for text in (
        failure.failure(cells[0], tmp_path),
        night.summary(_trend(), failures, cells, tmp_path / LOUD),
        night.subject(_trend(), failures, cells),
        bisect_report.mail(_bisection()),
        InfraError(LOUD, detail=LOUD, hint=LOUD).render(),
    ):
        assert r"\x1b]0;owned\x07" in text
        assert not _OBEYED.search(text)


@pytest.mark.parametrize("stream", [io.StringIO(), _Terminal()], ids=["pipe", "terminal"])
def test_no_progress_lets_it_through(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    progress = Progress(stream)
    progress.say(LOUD)
    with progress.task(LOUD) as task:
        task.update(1, 2)
        task.summary = LOUD
    progress.say(bisect_report.line(_bisection().found.judgements[0], _bisection().good))
    shown = _RICH.sub("", stream.getvalue())
    assert shown.count(r"\x1b]0;owned\x07") > 3
    assert not _OBEYED.search(shown)


def test_no_file_for_others_lets_it_through(cells: list[Cell], run: RunInfo, tmp_path: Path) -> None:
    artefact = tmp_path / next(path for name, path in cells[0].artefacts.items() if name.endswith(".log"))
    assert "\x1b]0;owned" in artefact.read_text(errors="replace")
    html.write_reports(tmp_path, run, cells)
    bisect_report.write(tmp_path, _bisection())
    written = [tmp_path / name for name in ("junit.xml", "results.ktap", "veristat.csv", "regression.txt")]
    written += (tmp_path / "report").rglob("*.*")
    assert len(written) > 10
    for path in written:
        text = path.read_bytes().decode()
        assert not _OBEYED.search(text), path
    pages = [path for path in written if path.suffix in (".html", ".xml", ".ktap", ".txt")]
    assert all(r"\x1b]0;owned\x07" in path.read_text() for path in pages)
    ET.parse(tmp_path / "junit.xml")  # noqa: S314  (our own output)


def test_commands_print_by_echo_alone() -> None:
    """click.echo writes whatever it gets."""
    allowed = {"options.py"}
    for path in sorted((ROOT / "harness/bpfroots/cli").glob("*.py")):
        assert path.name in allowed or not re.search(r"\bclick\.s?echo\(", path.read_text()), path


def test_twin_a_console_of_rich_alone_lets_it_through() -> None:
    stream = io.StringIO()
    Console(file=stream).print(LOUD)
    assert _OBEYED.search(stream.getvalue())
