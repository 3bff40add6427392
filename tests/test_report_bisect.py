"""What a bisection leaves for people: the end of its output, a page, the text of a mail."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

from bpfroots.bisect import page as report
from bpfroots.bisect.change import change
from bpfroots.bisect.model import Bisection, Commit, Found, Judgement
from bpfroots.report import terminal
from bpfroots.results.model import Cell, Root

_GOOD = Commit("a" * 40, "linux", "A <a@example.org>")
_FIRST = Commit("b" * 40, "bpf: Check <less>", "B <b@example.org>")
_BAD = Commit("c" * 40, "bpf: More", "C <c@example.org>")


def _cell(tmp_path: Path, kernel: str, verdict: str, log: str, asm: str) -> Cell:
    artefacts = {}
    for name, text in (("f.verifier.log", log), ("f.jited.asm", asm)):
        (tmp_path / kernel).mkdir(exist_ok=True)
        (tmp_path / kernel / name).write_text(text)
        artefacts[name] = f"{kernel}/{name}"
    message = "" if verdict == "accept" else "R1 invalid mem access"
    root = Root("f", "xdp", verdict, message=message)  # type: ignore[arg-type]
    return Cell("c", kernel, "duplicate", outcome="pass", verdict=verdict, roots=[root], artefacts=artefacts)  # type: ignore[arg-type]


@pytest.fixture
def bisection(tmp_path: Path) -> Bisection:
    before = _cell(
        tmp_path, "a" * 12, "accept", "0: (b7) r0 = 2\n1: (95) exit\n", "; f addr=12 bytes=3\nret\n"
    )
    after = _cell(
        tmp_path, "b" * 12, "reject", "0: (b7) r0 = 2\nR1 invalid mem access\n", "; f addr=99 bytes=3\nret\n"
    )
    judgements = [
        Judgement(_GOOD.id, "good", "1 run", passes=1, built=True),
        Judgement(_BAD.id, "bad", "reject: R1 invalid mem access", failures=5, built=True),
        Judgement(_FIRST.id, "bad", "reject: R1 invalid mem access", failures=1, built=True),
    ]
    return Bisection(
        question="load/x",
        expect=["accept"],
        good=_GOOD,
        bad=_BAD,
        found=Found([_FIRST.id], 0.9987, 0.99, 2, judgements),
        suspects=[_FIRST],
        commits={commit.id: commit for commit in (_GOOD, _FIRST, _BAD)},
        release="6.12.117",
        compiler="gcc 12",
        command=["bpfroots", "bisect", "run"],
        seconds=301.2,
        wall_seconds=333.3,
        change=change(tmp_path, before, after),
        diffstat=" kernel/bpf/verifier.c | 2 +-",
        config="config",
        source='SEC("xdp") int f(struct xdp_md *ctx)\n',
        reproduce="bpfroots load x.bpf.c --kernel KERNEL",
    )


def test_the_difference_is_what_differs(bisection: Bisection) -> None:
    assert bisection.change is not None
    assert bisection.change.values["verdict"] == ("accept", "reject")
    assert bisection.change.values["message"] == ("", "R1 invalid mem access")
    # Code at another address is the same code.
    assert list(bisection.change.texts) == ["verifier log of f"]
    assert "+R1 invalid mem access" in bisection.change.texts["verifier log of f"]


def test_for_a_terminal(bisection: Bisection) -> None:
    stream = io.StringIO()
    report.print_bisection(bisection, terminal.console(stream))
    said = stream.getvalue()
    assert 'first bad commit: bbbbbbbbbbbb ("bpf: Check <less>")' in said
    assert "accept -> reject" in said
    assert "  2 commits, 3 kernels built, 0 skipped, 7 runs; 5:01 for kernels and runs, 5:33 in all;" in said
    assert "confidence 99.87 %\n" in said


def test_mail(bisection: Bisection) -> None:
    text = report.mail(bisection)
    assert text.startswith("To: B <b@example.org>\nCc: bpf@vger.kernel.org, regressions@lists.linux.dev\n")
    assert "Subject: [REGRESSION] bpf: Check <less>: reject: R1 invalid mem access\n" in text
    assert '\nFixes: bbbbbbbbbbbb ("bpf: Check <less>")\n' in text
    assert f"#regzbot introduced: {'b' * 40}" in text
    assert "  +R1 invalid mem access" in text
    assert '  SEC("xdp") int f' in text
    assert "Reproducer: bpfroots load x.bpf.c --kernel KERNEL" in text
    assert "6.12.117, gcc 12" in text


def test_the_same_kernel_as_another_says_what_that_one_says(bisection: Bisection) -> None:
    *_, first = bisection.found.judgements
    first.why, first.same_as = "the same kernel as cccccccccccc", _BAD.id
    assert "Subject: [REGRESSION] bpf: Check <less>: reject: R1 invalid mem access\n" in report.mail(
        bisection
    )


def test_how_long_a_resumed_one_took_and_what_merges_do_to_the_confidence(bisection: Bisection) -> None:
    bisection.resumed, bisection.merges = True, 2
    said = report.summary(bisection)
    assert "5:01 for kernels and runs, 5:33 since it was resumed" in said
    assert said.endswith("confidence 99.87 % (as if 2 merges between the ends were none)")
    bisection.found.rate = 0.3
    assert "(a bad kernel fails in 30 % of its runs; as if 2 merges" in report.summary(bisection)


def test_page(bisection: Bisection, tmp_path: Path) -> None:
    page, mail = report.write(tmp_path, bisection)
    html = page.read_text()
    assert "bpf: Check &lt;less&gt;" in html
    assert "+R1 invalid mem access" in html
    assert (page.parent / "report.css").is_file()
    assert mail.read_text() == report.mail(bisection)
    assert msgspec.json.decode((tmp_path / "outcome.json").read_bytes(), type=Bisection) == bisection


def test_several_suspects(bisection: Bisection, tmp_path: Path) -> None:
    bisection.suspects, bisection.change = [_FIRST, _BAD], None
    stream = io.StringIO()
    report.print_bisection(bisection, terminal.console(stream))
    assert "one of 2" in stream.getvalue()
    assert _BAD.named in stream.getvalue()
    assert report.mail(bisection) == ""
    page, _ = report.write(tmp_path, bisection)
    assert "One of these" in page.read_text()


def test_a_flaky_one_says_how_often_it_fails(bisection: Bisection) -> None:
    bisection.found.rate = 0.31
    assert "(a bad kernel fails in 31 % of its runs)" in report.summary(bisection)
    assert report.line(bisection.found.judgements[0], _GOOD) == "good  aaaaaaaaaaaa linux: 1 run (0 s)"
