"""A series in the forms that people have it in, on a tree, a revision or a definition; nothing is built."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.ab import run as job
from bpfroots.ab import series as forms
from bpfroots.ab import text
from bpfroots.ab.pair import Asked
from bpfroots.errors import InfraError, KernelError, UserError
from bpfroots.kernels import Definition, ensure, resolve
from bpfroots.progress import Progress
from bpfroots.results.request import Objects, Together
from tests.kernel_project import Project, Tree, project

_FILE = "kernel/core.c"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def tree(fake: Project, tmp_path: Path) -> Tree:
    return Tree(tmp_path / "linux")


def _take(series: str | Path, linux: str | Path = "baseline") -> forms.Taken:
    return forms.take(str(series), str(linux), Progress(io.StringIO()))


def _commit(tree: Tree, subject: str, line: str = "/* one line more */", file: str = _FILE) -> str:
    with (tree.path / file).open("a") as out:
        out.write(f"{line}\n")
    tree.git("commit", "-qam", subject)
    return tree.git("rev-parse", "HEAD")


def _patches(tree: Tree, out: Path, *arguments: str) -> Path:
    tree.git("format-patch", "-q", "-o", str(out), *arguments)
    return out


def test_a_range_of_commits_is_on_its_first(tree: Tree) -> None:
    base = tree.git("rev-parse", "HEAD")
    _commit(tree, "bpf: One")
    _commit(tree, "bpf: Two", "/* another */")
    taken = _take("HEAD~2..HEAD", tree.path)
    assert taken.base == f"{tree.path}@{base[:12]}"
    assert [(patch.subject, patch.applies) for patch in taken.info.patches] == [
        ("bpf: One", "exactly"),
        ("bpf: Two", "exactly"),
    ]
    request = resolve(taken.patched)
    assert isinstance(request, Definition)
    assert request.argument == taken.patched
    prefix = resolve(taken.prefix(1))
    assert isinstance(prefix, Definition)
    assert (prefix.patches, prefix.argument) == (1, taken.prefix(1))
    assert taken.prefix(0) == taken.base


def test_a_range_with_a_merge_is_one_patch(tree: Tree) -> None:
    tree.git("checkout", "-qb", "side")
    _commit(tree, "side", file="kernel/verifier.c")
    tree.git("checkout", "-q", "-")
    _commit(tree, "main")
    tree.git("merge", "-q", "--no-edit", "side")
    taken = _take("HEAD~2..HEAD", tree.path)
    assert taken.count == 1
    assert [why for _, why in taken.info.left_out] == ["a merge: the range is taken as one patch"]
    assert taken.problem is None


def test_an_empty_range_and_one_without_git(tree: Tree, fake: Project) -> None:
    with pytest.raises(UserError, match="no commits in that range"):
        _take("HEAD..HEAD", tree.path)
    with pytest.raises(UserError, match="baseline is no git tree"):
        _take("HEAD~1..HEAD")


def test_base_commit_is_honoured(tree: Tree, tmp_path: Path) -> None:
    base = tree.git("rev-parse", "HEAD")
    _commit(tree, "bpf: One")
    out = _patches(tree, tmp_path / "out", f"--base={base}", "-1")
    _commit(tree, "not of it", "/* later */", "kernel/verifier.c")
    taken = _take(out, tree.path)
    assert taken.base == f"{tree.path}@{base[:12]}"
    assert taken.info.notes == [f"on its base-commit {base[:12]}"]
    named = _take(out, f"{tree.path}@HEAD")
    assert named.base == f"{tree.path}@HEAD"
    assert "its base-commit is" in named.info.notes[0]


def test_a_base_commit_that_is_not_there_is_told(tree: Tree, tmp_path: Path) -> None:
    base = tree.git("rev-parse", "HEAD")
    _commit(tree, "bpf: One")
    out = _patches(tree, tmp_path / "out", f"--base={base}", "-1")
    (patch,) = out.iterdir()
    patch.write_text(patch.read_text().replace(f"base-commit: {base}", f"base-commit: {'1' * 40}"))
    tree.git("reset", "-q", "--hard", "HEAD~1")
    taken = _take(out, tree.path)
    assert taken.base == str(tree.path)
    assert "is not in" in taken.info.notes[0]
    assert "is no git tree" in _take(out).info.notes[0]


def test_the_cover_letter_that_b4_puts_beside_a_mailbox(tree: Tree, tmp_path: Path) -> None:
    base = tree.git("rev-parse", "HEAD")
    _commit(tree, "bpf: One")
    mailbox = tmp_path / "one.mbx"
    mailbox.write_text(tree.git("format-patch", "--stdout", "-1") + "\n")
    assert _take(mailbox, f"{tree.path}@{base}").info.notes == []
    mailbox.with_suffix(".cover").write_text(f"Subject: [PATCH 0/1] one\n\nbase-commit: {base}\n")
    assert _take(mailbox, tree.path).base == f"{tree.path}@{base[:12]}"


def test_git_merges_what_was_made_for_another_base(tree: Tree, tmp_path: Path) -> None:
    path = tree.path / "kernel/verifier.c"
    before = path.read_text()
    theirs = before.replace("check_ctx_access(int off)", "check_ctx_access(int offset)")
    path.write_text(theirs)
    tree.git("commit", "-qam", "theirs")
    path.write_text(theirs.replace("return -22;", "return -1;"))
    tree.git("commit", "-qam", "bpf: New")
    out = _patches(tree, tmp_path / "out", "-1")
    tree.git("reset", "-q", "--hard", "HEAD~2")
    _commit(tree, "ours")
    taken = _take(out, tree.path)
    assert taken.problem is None
    assert taken.info.patches[0].applies == "by a three-way merge"


def test_what_does_not_apply_is_a_result_of_its_own(tree: Tree, tmp_path: Path) -> None:
    _commit(tree, "bpf: One")
    (tree.path / _FILE).write_text((tree.path / _FILE).read_text().replace("return insn;", "return 0;"))
    last = _commit(tree, "bpf: Two", "/* two */")
    out = _patches(tree, tmp_path / "out", "-2")
    second = sorted(out.iterdir())[1]
    second.write_text(second.read_text().replace("-\treturn insn;", "-\treturn nothing;"))
    taken = _take(out, f"{tree.path}@{last}~2")
    assert taken.problem is not None
    assert (taken.problem.what, taken.problem.patch) == ("does not apply", second.name)
    assert taken.problem.lines[0].startswith(f"{_FILE}:")
    assert [patch.applies for patch in taken.info.patches] == ["exactly", ""]
    wanted = Asked((taken.base, taken.patched), Together((Objects(("x.bpf.o",)),)), series=taken)
    result = job.run(wanted, Progress(io.StringIO()))
    assert result.exit_code == 3
    assert f"patch {second.name} does not apply" in text.render(result.comparison)


def test_twin_the_same_series_untouched_applies(tree: Tree, tmp_path: Path) -> None:
    _commit(tree, "bpf: One")
    last = _commit(tree, "bpf: Two", "/* two */")
    taken = _take(_patches(tree, tmp_path / "out", "-2"), f"{tree.path}@{last}~2")
    assert taken.problem is None


def test_what_is_left_out_of_a_thread_is_told(fake: Project, tree: Tree, tmp_path: Path) -> None:
    _commit(tree, "bpf: One")
    patch = tree.git("format-patch", "--stdout", "-1")
    mails = [
        patch.replace("[PATCH]", "[PATCH v2]"),
        patch.replace("[PATCH]", "[PATCH]"),
        patch.replace("[PATCH]", "Re: [PATCH v2]"),
    ]
    mailbox = tmp_path / "thread.mbox"
    mailbox.write_text("\n\n".join(mails) + "\n")
    taken = _take(mailbox)
    assert taken.count == 1
    assert sorted(why for _, why in taken.info.left_out) == ["a reply", "v1; the newest is v2"]


def test_without_b4_a_message_id_is_told_what_to_do(fake: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(InfraError) as told:
        _take("20260101120000.1-1-a@example.org")
    assert "b4" in told.value.render()
    assert "mailbox" in told.value.render()


def test_no_series(fake: Project) -> None:
    with pytest.raises(UserError, match="no such file, directory or series"):
        _take("nowhere")


def _build(fake: Project, argument: str) -> str:
    return ensure(resolve(argument), Progress(fake.said)).key


def test_a_series_on_top_starts_from_the_objects_of_its_base(fake: Project, tree: Tree) -> None:
    _commit(tree, "bpf: One")
    taken = _take("HEAD~1..HEAD", tree.path)
    base = _build(fake, taken.base)
    places = set((fake.cache / "bpfroots/build").glob("linux-*/linux"))
    assert _build(fake, taken.patched) != base
    (other,) = (one.parent for one in {*(fake.cache / "bpfroots/build").glob("linux-*/linux")} - places)
    assert fake.compiled(other.name) == ["kernel/core.o"]
    assert _build(fake, taken.prefix(1)) == _build(fake, taken.patched)


def test_the_first_patch_that_does_not_build(fake: Project, tree: Tree) -> None:
    first = tree.git("rev-parse", "HEAD")
    for number in range(5):
        _commit(tree, f"bpf: {number}", "int broken = ;" if number == 2 else f"/* {number} */")
    taken = _take(f"{first}..HEAD", tree.path)
    source = tree.path.parent / "x.bpf.c"
    source.write_text('int x SEC("xdp");')
    wanted = Asked(
        (taken.base, taken.patched), Together((Objects((str(source),), any_verdict=True),)), series=taken
    )
    result = job.run(wanted, Progress(fake.said))
    (problem,) = result.comparison.problems
    assert (problem.what, problem.patch) == ("does not build", "0003-bpf-2.patch")
    assert any("error:" in line for line in problem.lines)
    assert result.exit_code == 3


def test_a_base_that_does_not_build_is_an_error(fake: Project, tree: Tree) -> None:
    _commit(tree, "broken", "int broken = ;")
    _commit(tree, "bpf: One", "/* one */")
    taken = _take("HEAD~1..HEAD", tree.path)
    source = tree.path.parent / "x.bpf.c"
    source.write_text('int x SEC("xdp");')
    wanted = Asked(
        (taken.base, taken.patched), Together((Objects((str(source),), any_verdict=True),)), series=taken
    )
    with pytest.raises(KernelError, match="does not build"):
        job.run(wanted, Progress(fake.said))


def test_a_built_kernel_takes_no_series(fake: Project, tree: Tree, tmp_path: Path) -> None:
    _commit(tree, "bpf: One")
    out = _patches(tree, tmp_path / "out", "-1")
    bzimage = ensure(resolve("baseline"), Progress(fake.said)).image.path
    with pytest.raises(UserError, match="takes no series"):
        _take(out, bzimage)
    with pytest.raises(UserError, match="takes no series"):
        resolve(f"{bzimage}+{out}")
    with pytest.raises(UserError, match="no series"):
        resolve(f"baseline+{tmp_path / 'nowhere'}")


def test_the_forms_of_one_series_are_one(fake: Project) -> None:
    """tests/series has one series as mail programs, lists and git write it."""
    root = Path(__file__).parent / "series"
    found = {form.name: _take_mails(form) for form in root.iterdir()}
    assert len({tuple(subjects) for subjects in found.values()}) == 1


def _take_mails(form: Path) -> list[str]:
    from bpfroots.kernels import series

    return [forms._subject(patch) for patch in series.read([form]).patches]


def test_git_is_there() -> None:
    assert subprocess.run(["git", "--version"], check=False).returncode == 0
