"""Every report from one made-up run over real verifier logs and JIT images."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from bpfroots.analysis.changes import changes
from bpfroots.analysis.compare import compare
from bpfroots.analysis.kernels import OtherKernel
from bpfroots.bench import model as bench
from bpfroots.bench import page as bench_page
from bpfroots.report import html, ktap, terminal, veristat
from bpfroots.report import junit as junit_report
from bpfroots.results import model
from bpfroots.results.model import Cell, Cost, KernelInfo, RunInfo
from bpfroots.results.request import Objects, Request
from tests.report_cells import EVIL, loaded, make_cell


@pytest.fixture
def run() -> RunInfo:
    return RunInfo(
        model.SCHEMA,
        "2026-11-23T06-12-40Z-compare",
        ["bpfroots", "compare", EVIL],
        "2026-11-23T06:12:40Z",
        kernels=[KernelInfo("baseline", "6.12.117", "linux-source-6.12", compiler="gcc 12.2")],
        qemu="QEMU 7.2.22",
        accel="tcg",
        accel_reason="KVM is there but runs no guest",
        finished="2026-11-23T06:14:02Z",
    )


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    """A shared image, a refusal, a failure, a crash, unsupported and inexpressible cells, hostile text."""
    refused = loaded("calls", "reject", "reject-different-pointers")
    return [
        make_cell(tmp_path, "example/kprobe+skb", "tail_call", load=loaded("tail_variable")),
        make_cell(tmp_path, "example/kprobe+skb", "duplicate", load=loaded("calls")),
        make_cell(tmp_path, "example/kprobe+skb", "multi_root", outcome="unsupported", reason="E2BIG"),
        make_cell(tmp_path, "body/loop", "tail_call", outcome="skip", reason="it returns a value"),
        make_cell(tmp_path, "body/loop", "duplicate", load=loaded("calls")),
        make_cell(tmp_path, "body/loop", "multi_root", load=refused),
        make_cell(tmp_path, "ctx/ambiguous", "duplicate", outcome="fail", load=refused, reason=EVIL),
        make_cell(tmp_path, f"evil/{EVIL} # ]]>\x01", "duplicate", outcome="guest_crash", reason="a\nb\x02"),
        make_cell(tmp_path, "example/kprobe+skb", "duplicate", "patched", load=loaded("calls_again")),
    ]


class Page(HTMLParser):
    """Links, scripts and ids of a page; fails on tags that do not nest."""

    _VOID = frozenset({"meta", "link", "input", "br"})
    _OPTIONAL = frozenset({"li", "option", "p"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [found[name] or "" for name in ("href", "src") if name in found]
        self.ids += [found["id"] or ""] if "id" in found else []
        self.scripts += tag == "script"
        if tag not in self._VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def pages(run_dir: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in (run_dir / "report").rglob("*.html")}


def test_every_report_is_written(tmp_path: Path, run: RunInfo, cells: list[Cell]) -> None:
    index = html.write_reports(tmp_path, run, cells)
    assert index == tmp_path / "report" / "index.html"
    for name in ("junit.xml", "results.ktap", "veristat.csv", "veristat-patched.csv", "report/report.css"):
        assert (tmp_path / name).is_file()
    # Again over the same folder, as `bpfroots report` does.
    assert html.write_reports(tmp_path, run, cells) == index


def test_links_lead_somewhere(tmp_path: Path, run: RunInfo, cells: list[Cell]) -> None:
    (tmp_path / "run.json").touch()
    (tmp_path / "cells.jsonl").touch()
    html.write_reports(tmp_path, run, cells)
    found = pages(tmp_path)
    assert len(found) == 5
    for path, page in found.items():
        assert len(page.ids) == len(set(page.ids))
        for link in page.links:
            assert not re.match(r"(https?:)?//", link)
            if link.startswith("#"):
                assert link[1:] in page.ids
            elif not link.startswith("data:"):
                target = (path.parent / unquote(link)).resolve()
                assert target.is_file(), (path, link)
                assert target.is_relative_to(tmp_path.resolve())


def test_hostile_text_stays_text(tmp_path: Path, run: RunInfo, cells: list[Cell]) -> None:
    html.write_reports(tmp_path, run, cells)
    for path, page in pages(tmp_path).items():
        assert EVIL not in path.read_text()
        assert page.scripts == 1, path


def test_page_says_what_a_reader_needs(tmp_path: Path, run: RunInfo, cells: list[Cell]) -> None:
    html.write_reports(tmp_path, run, cells)
    page = (tmp_path / "report" / "case" / "example" / "kprobe+skb.html").read_text()
    assert "called by on_kprobe, on_skb" in page
    assert re.search(r'class="thunk"><i>\w+ </i>jmp __x86_indirect_thunk_rcx', page)
    assert "results[0]" in page
    assert "bpfroots run -k" in page
    index = (tmp_path / "report" / "index.html").read_text()
    assert "Not as expected" in index
    assert "KVM is there but runs no guest" in index


def test_the_index_links_to_the_page_of_the_newest_bench(
    tmp_path: Path, run: RunInfo, cells: list[Cell]
) -> None:
    run_dir = tmp_path / "run"
    link = 'href="../../bench/index.html"'
    assert link not in html.write(run_dir, run, cells).read_text()
    context = bench.Context("2026-01-02T03:04:05+00:00", "patched", "6.12", "", "tcg", "", 2, "", 0.1)
    measured = bench.measurement(
        [0.25], [5.0], unit=bench.SECONDS, what=EVIL, context=context, name="virtme-ng 1.42"
    )
    bench.save(tmp_path, {"clone_ssh": measured})
    page = bench_page.write(tmp_path)
    index = html.write(run_dir, run, cells)
    assert link in index.read_text()
    assert (index.parent / "../../bench/index.html").resolve() == page.resolve()
    for words in (
        "clone_ssh",
        "0.250 s",
        "5.000 s",
        "virtme-ng 1.42",
        "20.00",
        "patched 6.12, tcg, 2026-01-02",
    ):
        assert words in page.read_text()
    assert EVIL not in page.read_text()


def test_the_page_of_a_load_compares_with_nothing(tmp_path: Path, run: RunInfo, cells: list[Cell]) -> None:
    """A user's own programs, under one mechanism: there is no tail call to compare with."""
    request = Request(("baseline",), Objects(("/x/mine.bpf.o",), ("duplicate",)), "load")
    page = html.write(
        tmp_path,
        msgspec.structs.replace(run, request=request),
        [cell for cell in cells if cell.mechanism == "duplicate"],
    ).read_text()
    assert "<h1>Programs that were loaded</h1>" in page
    assert "tail call" not in page.partition("<h2>Cases")[0]
    compared = html.write(tmp_path, run, cells).read_text()
    assert "against a tail call</h1>" in compared
    assert '<p class="caption">1.00 is' in compared


def test_artefacts_outside_the_run_are_not_read(tmp_path: Path, run: RunInfo) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (tmp_path / "secret").write_text("secret words")
    cell = make_cell(run_dir, "a/b", "duplicate", load=loaded("calls"))
    cell.artefacts["source.bpf.c"] = "../secret"
    html.write_reports(run_dir, run, [cell])
    assert "secret words" not in (run_dir / "report" / "case" / "a" / "b.html").read_text()


def test_missing_artefacts_and_an_empty_run(tmp_path: Path, run: RunInfo, cells: list[Cell]) -> None:
    for path in (tmp_path / "cells").rglob("*.*"):
        if path.is_file():
            path.unlink()
    assert html.write_reports(tmp_path, run, cells).is_file()
    assert html.write_reports(tmp_path / "empty", run, []).is_file()


def test_case_names_cannot_leave_the_folder_or_collide(tmp_path: Path, run: RunInfo) -> None:
    names = ["../../x", "a/b c", "a/b_c", "/etc/passwd"]
    html.write(tmp_path, run, [make_cell(tmp_path, name, "duplicate") for name in names])
    assert len(list((tmp_path / "report" / "case").rglob("*.html"))) == len(names)
    assert {path.name for path in tmp_path.iterdir()} == {"report"}


def test_junit(tmp_path: Path, cells: list[Cell]) -> None:
    junit_report.write(tmp_path / "junit.xml", cells)
    root = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  (our own output)
    assert [suite.get("name") for suite in root] == ["baseline", "patched"]
    assert [root[0].get(name) for name in ("tests", "failures", "skipped", "errors")] == ["8", "2", "2", "0"]
    (failure,) = root[0].findall(".//testcase[@name='ctx/ambiguous[duplicate]']/failure")
    assert failure.get("message") == EVIL
    assert "bpfroots run" in (failure.text or "")


def test_a_known_fault_is_no_failure_for_others(tmp_path: Path) -> None:
    known = make_cell(tmp_path, "a/b", "fd_name", outcome="xfail", reason="why: got reject")
    assert "    ok 1 fd_name # XFAIL why: got reject" in ktap.render([known]).splitlines()
    junit_report.write(tmp_path / "junit.xml", [known])
    (skipped,) = ET.parse(tmp_path / "junit.xml").getroot().findall(".//skipped")  # noqa: S314  (our own)
    assert (skipped.get("type"), skipped.get("message")) == ("xfail", "why: got reject")


def test_junit_says_how_long_each_took(tmp_path: Path, cells: list[Cell]) -> None:
    cells[0].duration_s, cells[1].duration_s = 1.5, 0.25
    junit_report.write(tmp_path / "junit.xml", cells)
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314  (our own output)
    assert [float(case.get("time", "-1")) for case in suite][:3] == [1.5, 0.25, 0]
    assert float(suite.get("time", "0")) == 1.75


def test_ktap(cells: list[Cell]) -> None:
    lines = ktap.render(cells).splitlines()
    assert lines[:2] == ["KTAP version 1", "1..2"]
    assert "    ok 3 multi_root # SKIP E2BIG" in lines
    assert "    not ok 1 duplicate" in lines
    assert lines[-1] == "ok 2 patched"
    for line in lines:
        assert re.fullmatch(
            r" *(KTAP version 1|1\.\.\d+|# .*|(not )?ok \d+ [^#]+( # (SKIP|XFAIL|TIMEOUT|ERROR)( .*)?)?)",
            line,
        )


def test_veristat_as_its_reader_reads_it(cells: list[Cell]) -> None:
    """parse_stats_csv: fields split at "," with strtok, numbers whole, every row complete, names unique."""
    text = veristat.render(cells, with_kernel=True)
    rows = list(csv.DictReader(io.StringIO(text), quoting=csv.QUOTE_NONE))
    assert rows
    assert text.splitlines()[0] == (
        "file_name,prog_name,verdict,duration,total_insns,total_states,"
        "peak_states,max_states_per_insn,max_mark_read_len"
    )
    for row in rows:
        assert all(row.values())
        assert row["verdict"] in ("success", "failure")
        assert all(re.fullmatch(r"\d+", row[name]) for name in list(row)[3:])
        assert "/" not in row["file_name"]
    names = [(row["file_name"], row["prog_name"]) for row in rows]
    assert len(names) == len(set(names))


def show(function: str, *arguments: object, **environment: str) -> str:
    stream = io.StringIO()
    getattr(terminal, function)(*arguments, terminal.console(stream))
    return stream.getvalue()


def test_headline_table(cells: list[Cell]) -> None:
    text = show("print_headline", compare([cell for cell in cells if cell.kernel == "baseline"]))
    assert re.search(r"^\s+tail_call +1 +1\.00 +1\.00 +1\.00 \(1\)", text, re.M)
    assert re.search(r"^\s+duplicate +2 +1\.00 +\d\.\d\d +0\.00", text, re.M)
    assert "not expressible as a tail call: 1 case, e.g. body/loop (it returns a value)" in text
    assert "refused by multi_root, accepted as duplicate: 1 case" in text
    assert "not as expected: 2 cells" in text
    assert "\x1b" not in text


def test_piped_table_cuts_no_name(tmp_path: Path) -> None:
    name = "family/" + "long" * 60 + "[bold]x[/bold]"
    comparison = compare([make_cell(tmp_path, name, "tail_call"), make_cell(tmp_path, name, "duplicate")])
    text = show("print_table", comparison)
    assert text.count(name) == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal_stream(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for variable in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    return _Terminal()


def test_colour_on_a_terminal(terminal_stream: _Terminal, cells: list[Cell]) -> None:
    terminal.print_headline(compare(cells), terminal.console(terminal_stream))
    assert "\x1b[1;31m" in terminal_stream.getvalue()


def test_no_colour_when_asked(
    terminal_stream: _Terminal, monkeypatch: pytest.MonkeyPatch, cells: list[Cell]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.print_headline(compare(cells), terminal.console(terminal_stream))
    assert "31m" not in terminal_stream.getvalue()


def test_narrow_terminal_leaves_columns_out_and_says_so(
    terminal_stream: _Terminal, cells: list[Cell]
) -> None:
    terminal.print_table(compare(cells[:6]), terminal.console(terminal_stream))
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal_stream.getvalue())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "left out for want of width: states, roots" in text
    assert re.search(r"^ +multi_root +reject", text, re.M)


def test_changes_between_two_runs(cells: list[Cell]) -> None:
    before = cells[:2]
    after = msgspec.convert(msgspec.to_builtins(before), list[Cell])
    after[1].cost = Cost(roots=2, jit_bytes=1)
    text = show("print_changes", changes(before, after))
    assert "jit_bytes" in text
    assert "2 cells in both, 1 without a difference" in text
    assert "differs" not in text
    other = msgspec.structs.replace(
        changes(before, after), kernels=[OtherKernel("linux", ["path", "source"])]
    )
    assert "kernel linux differs: path, source" in show("print_changes", other)
