"""The kernel that a tree's own tests want: the tree's fragments first, ours last, in a place of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.errors import KernelError
from bpfroots.kernels import Definition, Kernel, ensure, resolve, selftests, tools_source
from bpfroots.progress import Progress
from tests.kernel_project import Project, diff, project

_PATCHED = 'base = "baseline"\nseries = "change"\n'


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        made.fragment("selftests", "CONFIG_BPF_JIT=y\n")
        yield made


def _add(fake: Project, name: str, text: str) -> None:
    """A series that gives the tree of ``patched`` fragments of its own."""
    fake.series("change", ("0001.patch", diff(f"{selftests.DIRECTORY}/{name}", "", text)))
    fake.define("patched", _PATCHED)


def _variant(fake: Project, name: str) -> Kernel:
    request = resolve(name)
    assert isinstance(request, Definition)
    fake.said.seek(0)
    fake.said.truncate()
    progress = Progress(fake.said)
    tree, _ = tools_source(request, progress)
    return ensure(selftests.variant(request, selftests.fragments(tree)), progress)


def _config(kernel: Kernel) -> str:
    assert kernel.image.config is not None
    return kernel.image.config.read_text()


def test_the_trees_fragments_count_as_far_as_they_can(fake: Project) -> None:
    _add(fake, "config", "CONFIG_EXTRA=y\nCONFIG_BPF_JIT=n\nCONFIG_NOWHERE=y\n")
    plain, kernel = fake.ensure("patched"), _variant(fake, "patched")
    assert "CONFIG_BPF_JIT=y" in _config(kernel)  # ours is the last word
    assert "no such option: CONFIG_EXTRA, CONFIG_NOWHERE" in fake.said.getvalue()
    assert (kernel.name, kernel.argument) == ("patched", "patched")
    assert kernel.key != plain.key


def test_the_kernel_itself_stays_as_it_was(fake: Project) -> None:
    before = fake.ensure("baseline")
    _add(fake, "config", "CONFIG_BPF=y\n")
    _variant(fake, "patched")
    assert fake.ensure("baseline") == before
    assert (fake.cache / "bpfroots/build/patched-selftests").is_dir()


def test_what_our_fragment_asks_for_is_demanded(fake: Project) -> None:
    fake.fragment("selftests", "CONFIG_NOWHERE=y\n")
    _add(fake, "config", "CONFIG_BPF=y\n")
    with pytest.raises(KernelError, match="CONFIG_NOWHERE=y"):
        _variant(fake, "patched")


def test_a_tree_without_tests(fake: Project) -> None:
    with pytest.raises(KernelError, match="no tools/testing/selftests/bpf/config there"):
        _variant(fake, "baseline")
