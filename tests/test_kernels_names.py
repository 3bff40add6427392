"""Kernels of one command: each has a name of its own, and the same arguments give the same names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.jobs import kit, run
from bpfroots.kernels import Definition, Kernel, Request, ensure, resolve, resolve_all
from bpfroots.kernels.build import plan
from bpfroots.progress import Progress
from bpfroots.results.model import KernelInfo
from tests.kernel_project import Project, Tree, copy_tree, project
from tests.test_kernels_resolve import bzimage


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        monkeypatch.chdir(tmp_path)
        yield made


def _names(*arguments: str | Path) -> list[str]:
    return [request.name for request in resolve_all(map(str, arguments)).values()]


def _tree(path: str) -> str:
    copy_tree(Path(path))
    return path


def _bzimage(path: str, release: str = "6.12.0 (me@here) #1") -> str:
    bzimage(Path(path), b"", release)
    return path


def test_a_name_without_another_of_its_kind_stays_as_it_is(fake: Project) -> None:
    assert _names(_tree("a/linux"), "baseline", _bzimage("b/bzImage")) == ["linux", "baseline", "bzImage"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a/linux", "b/linux"), ["a-linux", "b-linux"]),
        (("x/a/linux", "y/a/linux"), ["x-linux", "y-linux"]),
        (("a/x/linux", "a/y/linux", "b/x/linux"), ["a-x-linux", "a-y-linux", "b-x-linux"]),
        (("my trees/linux", "b/linux"), ["my-trees-linux", "b-linux"]),
        (("a/linux", "b/linux", "a-linux"), ["a-linux", "b-linux", "a-linux-2"]),
    ],
)
def test_paths_are_told_apart_by_the_parts_that_differ(
    fake: Project, paths: tuple[str, ...], names: list[str]
) -> None:
    assert _names(*map(_tree, paths)) == names
    assert all("/" not in name and " " not in name for name in names)


def test_images_and_build_directories(fake: Project) -> None:
    assert _names(_bzimage("A/bzImage"), _bzimage("B/bzImage")) == ["A-bzImage", "B-bzImage"]
    images = [_bzimage(f"{name}/build/arch/x86/boot/bzImage") for name in ("old", "new")]
    assert _names(*images) == ["old-bzImage", "new-bzImage"]
    for name in ("old", "new"):
        Path(f"{name}/build/.config").touch()
    assert _names("old/build", "new/build", images[0]) == ["old-build", "new-build", "bzImage"]


def test_revisions(fake: Project, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tree = Tree(tmp_path / name / "linux")
        for branch in ("topic/x", "topic-x"):
            tree.git("branch", branch)
    assert _names("a/linux@HEAD", "b/linux@HEAD") == ["a-linux@HEAD", "b-linux@HEAD"]
    assert _names("a/linux@topic/x", "b/linux@HEAD") == ["linux@topic-x", "linux@HEAD"]
    # One tree, and names of branches that are the same in a file's name.
    assert _names("a/linux@topic/x", "a/linux@topic-x") == ["linux@topic-x", "linux@topic-x-2"]


def test_a_definition_keeps_its_name(fake: Project) -> None:
    fake.series("change")
    fake.define("patched", 'base = "baseline"\nseries = "change"\n')
    fake.define("a-linux", 'base = "baseline"\n')
    Tree(Path("patched"))
    assert _names("./patched@5", "patched@5") == ["patched@5-2", "patched@5"]
    assert _names(_tree("a/linux"), _tree("b/linux"), "a-linux") == ["a-linux-local", "b-linux", "a-linux"]


def test_one_kernel_by_two_arguments_is_one(fake: Project, tmp_path: Path) -> None:
    _tree("a/linux")
    _tree("b/linux")
    found = resolve_all(["a/linux", f"{tmp_path}/b/../a/linux", "b/linux", "a/linux"])
    assert [request.name for request in found.values()] == ["a-linux", "a-linux", "b-linux"]
    assert len(set(found.values())) == 2


def test_the_argument_means_the_same_kernel_anywhere(
    fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.series("change")
    fake.fragment("kasan", "")
    fake.define("patched", 'base = "baseline"\nseries = "change"\n')
    Tree(tmp_path / "a/linux")
    arguments = ["baseline", "patched@0", "patched+kasan", "a/linux", "a/linux@HEAD", _bzimage("b/bzImage")]
    found = resolve_all(arguments)
    monkeypatch.chdir("/")
    assert [resolve(request.argument) for request in found.values()] == list(found.values())


def test_the_name_is_in_no_key(fake: Project) -> None:
    """A kernel is not built again because another one has its name."""
    for name in ("a", "b"):
        Tree(Path(name) / "linux")

    def key(request: Request) -> str:
        assert isinstance(request, Definition)
        return plan(request, Progress(quiet=True)).key

    alone, beside = resolve("a/linux@HEAD"), resolve_all(["a/linux@HEAD", "b/linux@HEAD"])["a/linux@HEAD"]
    assert alone.name != beside.name
    assert key(alone) == key(beside)


def _built(*paths: str) -> list[Kernel]:
    return [ensure(request) for request in resolve_all(paths).values()]


def test_equal_kernels_of_two_names_both_run_with_a_remark(fake: Project) -> None:
    kernels = _built(_bzimage("a/bzImage"), _bzimage("b/bzImage"), _bzimage("c/bzImage", "6.13.0 (x) #1"))
    assert [kernel.name for kernel in kernels] == ["a-bzImage", "b-bzImage", "c-bzImage"]
    assert kernels[0].key == kernels[1].key != kernels[2].key
    kit._remark_equal(kernels, Progress(fake.said))
    assert fake.said.getvalue() == "kernels   b-bzImage is the same kernel as a-bzImage\n"


def test_run_json_tells_them_apart(fake: Project, tmp_path: Path) -> None:
    first, second = map(run.describe, _built(_bzimage("a/bzImage"), _bzimage("b/bzImage", "6.13.0 (x) #1")))
    assert (first.name, first.argument) == ("a-bzImage", f"{tmp_path}/a/bzImage")
    assert (second.name, second.argument) == ("b-bzImage", f"{tmp_path}/b/bzImage")
    assert first.key != second.key
    assert KernelInfo("old").argument == ""  # run.json of earlier versions
