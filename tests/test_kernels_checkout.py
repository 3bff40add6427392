"""A work tree that git moves from commit to commit: built again from what each has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots import kernels
from bpfroots.bisect import kernel as building
from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import Kernel
from bpfroots.progress import Progress
from tests.kernel_project import Project, Tree, project


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


def _build(fake: Project, tree: Tree, recipe: building.Recipe | None = None) -> Kernel:
    fragments = building.fragments(recipe or building.Recipe(), selftest=False)
    wanted = building.definition(tree.path, fragments)
    building.locate(wanted, Progress(fake.said))
    return kernels.ensure(wanted, Progress(fake.said))


def _compiled(fake: Project) -> list[str]:
    (log,) = (fake.cache / "bpfroots/build").glob("tree-*/artefacts/output.log")
    return [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("  CC ")]


def test_a_commit_rebuilds_what_it_changes(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    fake.ensure("baseline")
    first = _build(fake, tree)
    assert _compiled(fake) == []  # baseline's objects
    changed = tree.edit("kernel/verifier.c", "return -22", "return -1")
    second = _build(fake, tree)
    assert second.name == changed[:12]
    assert _compiled(fake) == ["kernel/verifier.o"]
    assert first.image.path.read_bytes() != second.image.path.read_bytes()
    (tree.path / "README").write_text("nothing is built of this")
    tree.commit("README")
    third = _build(fake, tree)
    assert _compiled(fake) == []
    assert third.key != second.key
    assert third.image.path.read_bytes() == second.image.path.read_bytes()
    tree.git("checkout", "-q", "HEAD^^")
    assert _build(fake, tree) == first
    assert tree.git("status", "--porcelain") == ""


def test_an_option_that_a_commit_does_not_have_is_left_out(fake: Project, tmp_path: Path) -> None:
    fake.fragment("base", "CONFIG_BPF=y\nCONFIG_FROM_THE_FUTURE=y\n")
    tree = Tree(tmp_path / "tree")
    _build(fake, tree)
    assert "CONFIG_FROM_THE_FUTURE" in fake.said.getvalue()


def test_a_whole_configuration_is_carried_along(fake: Project, tmp_path: Path) -> None:
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_BPF=y\n# CONFIG_BPF_JIT is not set\n")
    built = _build(fake, Tree(tmp_path / "tree"), building.Recipe(str(mine)))
    assert built.image.config is not None
    assert "CONFIG_BPF=y" in built.image.config.read_text()
    assert "CONFIG_BPF_JIT=y" not in built.image.config.read_text()
    with pytest.raises(UserError, match="no such file"):
        building.fragments(building.Recipe("/nowhere"), selftest=False)
    with pytest.raises(UserError, match="only-needed"):
        building.fragments(building.Recipe(str(mine), only_needed=True), selftest=False)


def test_only_what_the_question_needs(fake: Project) -> None:
    fake.fragment("test_verifier", "# CONFIG_MODULES is not set\n")
    path = fake.root / "kernels/baseline.toml"
    path.write_text(path.read_text().replace('["base"]', '["base", "test_verifier"]'))
    needed = building.Recipe(only_needed=True)
    assert [p.stem for p in building.fragments(needed, selftest=False)] == ["base"]
    assert [p.stem for p in building.fragments(needed, selftest=True)] == ["base", "test_verifier"]
    assert [p.stem for p in building.fragments(building.Recipe(), selftest=False)] == [
        "base",
        "test_verifier",
    ]


def test_only_what_the_commit_does_wrong_is_a_kernels_error(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    tree.edit("kernel/verifier.c", "return", "retrun")
    with pytest.raises(KernelError, match="does not build"):
        _build(fake, tree)
    (tree.path / "Kconfig").unlink()
    with pytest.raises(UserError, match="no Linux source tree there"):
        _build(fake, tree)
    with pytest.raises(UserError, match="no git work tree"):
        building.top(tmp_path / "nowhere")
