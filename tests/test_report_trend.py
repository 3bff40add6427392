"""The page of a job's nights: what it says, what it points at, and that it opens in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from selenium import webdriver

from bpfroots.history import page as history_page
from bpfroots.history.database import History, State
from bpfroots.history.trend import trend
from bpfroots.report import html
from bpfroots.results.model import Cell, Cost, Expected
from bpfroots.results.store import RunStore
from tests.nights import accepted, key, night, record
from tests.test_report import Page
from tests.test_report_browser import browser
from tests.test_report_browser import pytestmark as needs_browser

__all__ = ["browser"]

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Of the third night, in which a figure is worse since the second; the first one's folder is gone."""
    cell = Cell(
        "a/slow",
        "patched",
        "duplicate",
        outcome="pass",
        verdict="accept",
        expected=Expected("accept"),
        cost=Cost(roots=1),
    )
    for number in (1, 2):
        folder = tmp_path / night(number).run
        store = RunStore(folder, night(number))
        folder.mkdir()
        store.save()
        store.artefact(cell, "on_xdp.verifier.log", b"processed 7 insns")
        store.add(cell)
        html.write_reports(folder, store.run, [cell])
    quiet = {key("a/calm"): accepted(), key("a/wild"): accepted(result=EVIL)}
    with History(tmp_path / "history.db") as history:
        record(history, 0, {key("a/slow"): accepted(100.0)} | quiet)
        record(history, 1, {key("a/slow"): accepted(120.0)} | quiet, good=False)
        broken = State(outcome="fail", verdict="reject", message=EVIL, reason=f"expected accept: {EVIL}")
        run = record(history, 2, {key("a/slow"): accepted(120.0), key("a/wild"): broken}, good=False)
        return history_page.write(history, run, trend(history, run), folder, [cell])


def test_it_says_what_since_when_and_what_changed(page: Path) -> None:
    text = re.sub(r"<[^>]*>", " ", page.read_text())
    words = " ".join(text.split())
    assert "nightly: 2 regressions" in words
    assert (
        f"a/slow files patched duplicate insns per run 100 120 1.20 {night(1).run} {night(0).run} source git:"
        in words
    )
    assert "1 cells that were there before" in words
    assert f"{night(1).run} first bad run 3 0 no" in words


def test_every_link_leads_somewhere(page: Path) -> None:
    local = [link for link in Page(page.read_text()).links if not link.startswith("data:")]
    assert f"../../{night(1).run}/report/index.html" in local
    assert not any(night(0).run in link for link in local)
    assert [link for link in local if not (page.parent / unquote(link)).exists()] == []
    assert 'href="history.html"' in (page.parent / "index.html").read_text()


def test_what_programs_say_is_text(page: Path) -> None:
    assert "alert(1)" in page.read_text()
    assert EVIL not in page.read_text()


def test_a_figure_has_a_plot_with_its_first_bad_run_marked(page: Path) -> None:
    (plot,) = re.findall(r'<svg[^>]*aria-label="a/slow: insns per run".*?</svg>', page.read_text(), re.S)
    assert plot.count("<circle") == 3
    assert f"first bad run {night(1).run}" in plot


@needs_browser
def test_it_opens_in_a_browser(browser: webdriver.Chrome, page: Path) -> None:
    browser.get(page.as_uri())
    assert browser.title == f"bpfroots nightly: {night(2).run}"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []  # type: ignore[no-untyped-call]
