"""What `ab` prints, and its pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpfroots.ab import page, run, text, texts
from bpfroots.ab.model import Findings, Side
from bpfroots.ab.pair import Asked
from bpfroots.errors import BootError, UserError
from bpfroots.progress import Progress
from bpfroots.results.model import SCHEMA, RunInfo
from bpfroots.results.request import Together
from bpfroots.results.store import RunStore
from tests.ab_lab import LOG, AbLab


@pytest.fixture
def lab(tmp_path: Path) -> AbLab:
    return AbLab(tmp_path)


def test_side_by_side_marks_what_differs() -> None:
    a = [f"{n}: (b7) r0 = {n % 2}" for n in range(40)]
    b = [*a[:20], "20: (b7) r9 = 9", *(f"{n + 1}: (b7) r0 = {n % 2}" for n in range(20, 40))]
    shown = texts.beside(a, b, texts.log_keys)
    assert [(row.a, row.b) for row in shown.rows if row.changed] == [(None, "20: (b7) r9 = 9")]
    assert sum(row.fold or row.a is not None for row in shown.rows) == 40
    assert not shown.cut


def test_side_by_side_of_much_that_differs_is_cut() -> None:
    shown = texts.beside([f"a{n}" for n in range(5000)], [f"b{n}" for n in range(5000)], texts.log_keys)
    assert shown.cut
    assert len(shown.rows) < 5000


def test_the_pages_of_a_run(lab: AbLab, tmp_path: Path) -> None:
    lab.add("old")
    lab.add("new", processed_insns=110, log=LOG.replace("R0_w=0", "R0_w=<1>"), code="0ther")
    found = lab.compare()
    index = page.write(tmp_path, found, lab.cells)
    said = index.read_text()
    assert "1 program in 1 object: 1 differ" in said
    assert 'href="program/load/a.bpf.o/p/duplicate.html"' in said
    program = (index.parent / "program/load/a.bpf.o/p/duplicate.html").read_text()
    assert "R0_w=&lt;1&gt;" in program
    assert 'class="changed"' in program
    for line in program.split('href="')[1:]:
        target = line.partition('"')[0].partition("#")[0]
        assert (
            not target
            or target.startswith("data:")
            or (index.parent / "program/load/a.bpf.o/p" / target).exists()
        )
    assert json.loads((tmp_path / "ab.json").read_text())["changes"][0]["program"] == "p"
    assert "verified insns  100 -> 110 (+10.0%)" in (tmp_path / "ab.txt").read_text()
    assert (
        (tmp_path / "veristat-new.csv")
        .read_text()
        .splitlines()[1]
        .startswith("load.a.bpf.o:duplicate,p,success")
    )


def test_the_pages_can_be_written_again(lab: AbLab, tmp_path: Path) -> None:
    lab.add("old")
    lab.add("new", processed_insns=110)
    index = page.write(tmp_path, lab.compare(), lab.cells)
    first = index.read_text()
    store = RunStore(tmp_path, RunInfo(SCHEMA, "r", [], ""))
    for cell in lab.cells:
        store.add(cell)
    index.unlink()
    assert page.again(store).read_text() == first
    (tmp_path / "ab.json").unlink()
    with pytest.raises(UserError, match="interrupted"):
        page.again(store)


def test_a_document_has_every_key(lab: AbLab, tmp_path: Path) -> None:
    lab.add("old")
    lab.add("new")
    page.write(tmp_path, lab.compare(), lab.cells)
    found = json.loads((tmp_path / "ab.json").read_text())
    assert (found["changes"], found["failing"], found["problems"]) == ([], {}, [])


def test_the_text_fits_a_mail(lab: AbLab) -> None:
    lab.add("old", message="R1 !read_ok")
    lab.add("new", message="; ".join(["R1 invalid mem access 'scalar'"] * 9))
    assert max(map(len, text.render(lab.compare()).splitlines())) <= 80


@pytest.mark.parametrize("kernel", ["old", "new"])
def test_a_kernel_that_does_not_boot_is_named(kernel: str) -> None:
    error = BootError("the kernel died during boot: panic: no root")
    error.kernel = kernel
    found = Findings(Side("old", "6.12", "baseline"), Side("new", "6.12", "patched"))
    wanted = Asked(("baseline", "patched"), Together(()))
    problem = run._not_booted(error, found, wanted, Progress(quiet=True))
    assert problem is not None
    assert (problem.kernel, problem.what, problem.patch) == (kernel, "does not boot", "")
    assert problem.lines == ["the kernel died during boot: panic: no root"]
