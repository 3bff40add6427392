"""rebase-series on the fake kernel tree: what applies, what needs fuzz, what a person has to resolve."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.errors import UserError
from bpfroots.kernels import Definition, resolve
from bpfroots.kernels.rebase import Rebased, finish, start
from bpfroots.progress import Progress
from tests.kernel_project import Project, patch, project

_FINE = patch("kernel/core.c", "return insn", "return insn + 1")
_STALE = patch("kernel/verifier.c", "return -13", "return -14")
_FUZZY = _STALE.replace(" int check_mem_access(int off)", " int check_mem_access(int offset)")
_CONFLICT = _STALE.replace("-\t\treturn -13", "-\t\treturn -99")
_COVER = """From 0000 Mon Sep 17 00:00:00 2001
From: A Developer <a@example.org>
Date: Mon, 23 Nov 2026 08:13:16 +0000
Subject: [PATCH 0/2] fake: an idea

Why this is a good idea.

A Developer (2):
  fake: old list

 kernel/core.c | 2 +-
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        made.define("patched", 'base = "baseline"\nseries = "change"\n')
        yield made


def _mail(number: int, subject: str, text: str) -> tuple[str, str]:
    """As git format-patch writes it: git am wants to know who, and when."""
    head = (
        "From 1234 Mon Sep 17 00:00:00 2001\nFrom: A Developer <a@example.org>\n"
        f"Date: Mon, 23 Nov 2026 08:13:16 +0000\nSubject: [PATCH {number}/2] {subject}\n\nWhy.\n---\n"
    )
    return f"000{number}-{subject.replace(' ', '-')}.patch", head + text.partition("---\n")[2]


def _definition() -> Definition:
    request = resolve("patched")
    assert isinstance(request, Definition)
    return request


def _start(tree: Path) -> Rebased:
    return start(_definition(), tree, Progress(quiet=True))


def _git(tree: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", tree, *arguments], check=True, capture_output=True, text=True).stdout


def test_all_apply(fake: Project, tmp_path: Path) -> None:
    directory = fake.series("change", _mail(1, "core", _FINE), _mail(2, "mem", _STALE))
    done = _start(tmp_path / "tree")
    assert (done.applied, done.patches, done.fuzzy, done.conflict) == (2, 2, {}, "")
    assert _git(tmp_path / "tree", "log", "--format=%an: %s", "-2") == "A Developer: mem\nA Developer: core\n"
    assert [path.name for path in finish(_definition(), tmp_path / "tree")] == [
        "0001-core.patch",
        "0002-mem.patch",
    ]
    assert (directory / "series").read_text() == "# in order\n0001-core.patch\n0002-mem.patch\n"
    fake.ensure("patched")


def test_fuzz_is_said_and_gone_after_finish(fake: Project, tmp_path: Path) -> None:
    directory = fake.series("change", _mail(1, "core", _FINE), _mail(2, "mem", _FUZZY))
    done = _start(tmp_path / "tree")
    assert (done.applied, done.conflict) == (2, "")
    assert "Hunk #1 succeeded" in done.fuzzy["0002-mem.patch"]
    finish(_definition(), tmp_path / "tree")
    assert " int check_mem_access(int off)" in (directory / "0002-mem.patch").read_text()
    fake.ensure("patched")
    assert "fuzz" not in fake.said.getvalue()


def test_a_conflict_is_left_to_be_resolved(fake: Project, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    directory = fake.series("change", _mail(1, "mem", _CONFLICT), _mail(2, "core", _FINE))
    (directory / "0000-cover-letter.patch").write_text(_COVER)
    done = _start(tree)
    assert (done.applied, done.conflict, done.rejects) == (0, "0001-mem.patch", ["kernel/verifier.c.rej"])
    with pytest.raises(UserError, match="git am is still in progress"):
        finish(_definition(), tree)
    with pytest.raises(UserError, match="not empty"):
        _start(tree)

    file = tree / "kernel/verifier.c"
    file.write_text(file.read_text().replace("return -13", "return -15"))
    with pytest.raises(UserError, match="git am is still in progress"):
        finish(_definition(), tree)
    _git(tree, "add", "kernel/verifier.c")
    _git(tree, "am", "--continue")
    finish(_definition(), tree)
    kernel = fake.ensure("patched")
    assert kernel.source is not None
    assert "return -15" in (kernel.source / "kernel/verifier.c").read_text()
    cover = (directory / "0000-cover-letter.patch").read_text()
    assert "Subject: [PATCH 0/2] fake: an idea\n" in cover
    assert cover.count("Why this is a good idea.") == 1
    assert "fake: old list" not in cover
    assert "A Developer (2):\n  mem\n  core\n" in cover


def test_a_series_without_a_list(fake: Project, tmp_path: Path) -> None:
    """Numbers of the subjects, and CRLF; what is written back is listed."""
    directory = fake.root / "kernels/patches/change"
    directory.mkdir()
    for name, number, (_, text) in (("a", 2, _mail(2, "mem", _STALE)), ("b", 1, _mail(1, "core", _FINE))):
        numbered = re.sub(r"\[PATCH[^\]]*\]", f"[PATCH {number}/2]", text)
        (directory / f"{name}.patch").write_bytes(numbered.replace("\n", "\r\n").encode())
    assert _start(tmp_path / "tree").applied == 2
    assert _git(tmp_path / "tree", "log", "--format=%s", "-2") == "mem\ncore\n"
    finish(_definition(), tmp_path / "tree")
    assert (directory / "series").read_text() == "0001-core.patch\n0002-mem.patch\n"
    fake.ensure("patched")


def test_a_mailbox_is_not_written_to(fake: Project, tmp_path: Path) -> None:
    box = fake.root / "kernels/patches/change.mbox"
    box.write_text(_mail(1, "core", _FINE)[1])
    fake.define("patched", 'base = "baseline"\nseries = "change.mbox"\n')
    assert _start(tmp_path / "tree").applied == 1
    with pytest.raises(UserError, match=r"change\.mbox: the series is a file"):
        finish(_definition(), tmp_path / "tree")


def test_a_patch_that_is_no_mail(fake: Project, tmp_path: Path) -> None:
    fake.series("change", ("0001.patch", _FINE.partition("---\n")[2]))
    fake.ensure("patched")
    with pytest.raises(UserError, match="git am takes none of the patches"):
        _start(tmp_path / "tree")


def test_one_of_several_series(fake: Project, tmp_path: Path) -> None:
    first = fake.series("change", _mail(1, "core", _FINE))
    second = fake.series("more", _mail(1, "mem", _STALE))
    fake.define("patched", 'base = "baseline"\nseries = ["change", "more"]\n')
    with pytest.raises(UserError, match="kernel patched has several series") as caught:
        _start(tmp_path / "tree")
    assert caught.value.hint == "--series names one of them: change, more"
    with pytest.raises(UserError, match="kernel patched has no series other"):
        start(_definition(), tmp_path / "tree", Progress(quiet=True), "other")
    done = start(_definition(), tmp_path / "tree", Progress(quiet=True), "more")
    assert (done.applied, done.patches, done.conflict) == (1, 1, "")
    assert _git(tmp_path / "tree", "log", "--format=%s", "-2") == "mem\ncore\n"
    before = (first / "0001-core.patch").read_bytes()
    assert [path.name for path in finish(_definition(), tmp_path / "tree", "more")] == ["0001-mem.patch"]
    assert (second / "series").read_text() == "# in order\n0001-mem.patch\n"
    assert (first / "0001-core.patch").read_bytes() == before
    fake.ensure("patched")


def test_work_that_is_not_committed_is_not_passed_over(fake: Project, tmp_path: Path) -> None:
    fake.series("change", _mail(1, "core", _FINE))
    _start(tmp_path / "tree")
    (tmp_path / "tree/lib/sort.c").write_text("int sort;\n")
    with pytest.raises(UserError, match="changes that are not committed"):
        finish(_definition(), tmp_path / "tree")
    with pytest.raises(UserError, match="no tree of rebase-series"):
        finish(_definition(), tmp_path)


def test_the_source_in_the_cache_stays_as_it_is(fake: Project, tmp_path: Path) -> None:
    fake.series("change", _mail(1, "core", _FINE))
    fake.ensure("baseline")
    _start(tmp_path / "tree")
    (origin,) = (fake.cache / "bpfroots/source").glob("*/linux")
    assert "insn + 1" not in (origin / "kernel/core.c").read_text()
    assert not (origin / ".git").exists()
