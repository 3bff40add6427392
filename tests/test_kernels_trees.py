"""Kernels of a tree of one's own: its files, its configuration, its git revisions."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import kconfig, require_options
from tests.kernel_project import (
    BASELINE,
    INSTALLED,
    Project,
    Tree,
    copy_tree,
    project,
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


def test_source_tree_is_never_written_to(fake: Project, tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "my-linux")
    before = {p: p.stat().st_mtime_ns for p in tree.rglob("*")}
    kernel = fake.ensure(str(tree))
    assert {p: p.stat().st_mtime_ns for p in tree.rglob("*")} == before
    assert kernel.name == "my-linux"
    (tree / "kernel/core.c").write_text("int changed;\n")
    changed = fake.ensure(str(tree))
    assert changed.key != kernel.key


def test_source_tree_that_was_built_in_place(fake: Project, tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "my-linux")
    (tree / "include/config").mkdir()
    with pytest.raises(KernelError) as caught:
        fake.ensure(str(tree))
    assert caught.value.hint.startswith(f"make -C {tree} mrproper")
    # git knows what of it is source.
    git = Tree(tmp_path / "my-git")
    (git.path / ".gitignore").write_text(".*\n*.o\n")
    git.commit("ignore")
    (git.path / "include/config").mkdir()
    (git.path / "include/config/auto.conf").touch()
    (git.path / "kernel/core.o").write_bytes(b"built by another compiler")
    kernel = fake.ensure(str(git.path))
    assert kernel.source is not None
    assert not (kernel.source / "kernel/core.o").exists()
    assert (git.path / "kernel/core.o").read_bytes() == b"built by another compiler"


def test_a_tree_has_what_it_can_of_the_fragments(fake: Project, tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "linux")
    fake.fragment("base", "CONFIG_NO_SUCH=y\nCONFIG_BPF_JIT=y\nCONFIG_NEITHER=y\nCONFIG_PRINTK=n\n")
    kernel = fake.ensure(str(tree))
    assert kernel.image.config is not None
    assert "CONFIG_BPF_JIT is not set" in kernel.image.config.read_text()
    lines = [line for line in fake.said.getvalue().splitlines() if line.startswith("config  ")]
    assert lines == [
        "config  linux: no such option: CONFIG_NO_SUCH, CONFIG_NEITHER;"
        " CONFIG_BPF_JIT=n (dependencies not met: BPF), CONFIG_PRINTK=y"
        " (overridden by another symbol (select, or a choice))"
    ]
    fake.fragment("base", "CONFIG_VIRTIO_NET=n\n")
    with pytest.raises(KernelError, match="linux cannot run in a guest: CONFIG_VIRTIO_NET is not set"):
        fake.ensure(str(tree))


def test_a_definition_names_what_its_kernel_does_not_have(fake: Project) -> None:
    fake.fragment("base", "CONFIG_BPF=y\nCONFIG_NO_SUCH=y\n")
    with pytest.raises(KernelError, match=r"CONFIG_NO_SUCH=y .* did not survive"):
        fake.ensure("baseline")
    fake.define("baseline", 'absent = ["NO_SUCH"]\n' + BASELINE.format(version=INSTALLED))
    fake.ensure("baseline")
    assert "config  " not in fake.said.getvalue()
    # An option that is there and does not survive is another matter.
    fake.define("baseline", 'absent = ["NO_SUCH", "PRINTK"]\n' + BASELINE.format(version=INSTALLED))
    fake.fragment("base", "CONFIG_NO_SUCH=y\nCONFIG_PRINTK=n\n")
    with pytest.raises(KernelError, match=r"CONFIG_PRINTK=n .* did not survive$"):
        fake.ensure("baseline")


def test_an_option_is_asked_for_by_its_former_name_as_well(fake: Project, tmp_path: Path) -> None:
    fake.fragment("base", "CONFIG_BPF=y\nCONFIG_MITIGATION_RETPOLINE=y\n")
    tree = copy_tree(tmp_path / "new")
    options = (tree / "Kconfig").read_text()
    (tree / "Kconfig").write_text(f'{options}config MITIGATION_RETPOLINE\n\tbool "thunks"\n')
    new = fake.ensure(str(tree))
    assert "config  " not in fake.said.getvalue()
    tree = copy_tree(tmp_path / "old")
    (tree / "Kconfig").write_text(f'{options}config RETPOLINE\n\tbool "thunks"\n')
    old = fake.ensure(str(tree))
    assert "config  " not in fake.said.getvalue()
    assert new.image.config is not None
    assert old.image.config is not None
    assert "CONFIG_MITIGATION_RETPOLINE=y" in new.image.config.read_text()
    assert "CONFIG_RETPOLINE=y" in old.image.config.read_text()


def test_a_configured_tree_is_built_as_it_is_configured(fake: Project, tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "linux")
    ours = fake.ensure(str(tree))
    (tree / ".config").write_text("CONFIG_BPF=y\n# CONFIG_BPF_JIT is not set\nCONFIG_MODULES=y\n")
    theirs = fake.ensure(str(tree))
    assert ours.image.config is not None
    assert theirs.image.config is not None
    assert "CONFIG_MODULES=y" not in ours.image.config.read_text()
    assert "CONFIG_MODULES=y" in theirs.image.config.read_text()
    assert "CONFIG_BPF_JIT=y" not in theirs.image.config.read_text()
    assert theirs.key != ours.key


def test_a_second_tree_of_the_same_version_compiles_nothing(fake: Project, tmp_path: Path) -> None:
    """Paths in a build are relative, so ccache has the objects of the first."""
    if shutil.which("ccache") is None:
        pytest.skip("no ccache")
    first = fake.ensure(str(copy_tree(tmp_path / "one/linux")))
    before = _ccache_misses(fake)
    tree = copy_tree(tmp_path / "another/place/linux")
    (tree / "kernel/core.c").write_text("int changed;\n")
    second = fake.ensure(str(tree))
    assert _ccache_misses(fake) - before == 1
    assert second.key != first.key


def _ccache_misses(fake: Project) -> int:
    environment = {**os.environ, "CCACHE_DIR": str(fake.cache / "bpfroots/ccache")}
    done = subprocess.run(
        ["ccache", "--print-stats"], env=environment, check=True, capture_output=True, text=True
    )
    return int(dict(line.split("\t") for line in done.stdout.splitlines())["cache_miss"])


def test_a_changed_tree_its_head_and_a_revision(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "linux")
    first = tree.git("rev-parse", "HEAD")
    tree.edit("kernel/core.c", "return insn", "return insn + 1")
    clean = fake.ensure(str(tree.path))
    assert f"({tree.git('rev-parse', 'HEAD')[:12]})" in fake.said.getvalue()
    head = fake.ensure(f"{tree.path}@HEAD")
    assert head.key == clean.key  # the same source, so the same kernel
    revision = fake.ensure(f"{tree.path}@{first}")
    source = tree.path / "kernel/core.c"
    source.write_text(source.read_text().replace("return insn + 1", "return insn + 2"))
    changed = fake.ensure(str(tree.path))
    assert f"({tree.git('rev-parse', 'HEAD')[:12]} with changes)" in fake.said.getvalue()
    assert len({kernel.key for kernel in (clean, revision, changed)}) == 3
    assert [clean.name, head.name, revision.name] == ["linux", "linux@HEAD", f"linux@{first}"]
    assert fake.ensure(f"{tree.path}@HEAD").key == head.key


def _commit(tree: Path, message: str) -> None:
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", message], check=True)


def test_git_revisions_share_their_objects(fake: Project, tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "linux")
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    _commit(tree, "one")
    (tree / "kernel/core.c").write_text("int two;\n")
    _commit(tree, "two")
    (tree / "kernel/core.c").write_text("not committed")
    old = fake.ensure(f"{tree}@HEAD~1")
    new = fake.ensure(f"{tree}@HEAD")
    assert old.key != new.key
    place = next((fake.cache / "bpfroots/build").glob("linux-*")).name
    assert fake.compiled(place) == ["kernel/core.o"]
    assert fake.ensure(f"{tree}@HEAD~1") == old  # and its tree is back
    assert old.source is not None
    assert "bpf_prog_run" in (old.source / "kernel/core.c").read_text()
    with pytest.raises(UserError, match="no revision v9"):
        fake.ensure(f"{tree}@v9")


def test_build_directory_and_bzimage(fake: Project, tmp_path: Path) -> None:
    built = fake.ensure("baseline")
    assert built.source is not None
    directory = tmp_path / "my-build"
    shutil.copytree(built.source / "build", directory)
    kernel = fake.ensure(str(directory))
    assert kernel.image.path == directory / "arch/x86/boot/bzImage"
    assert kernel.image.vmlinux == directory / "vmlinux"
    assert kernel.release == "6.12.0-fake"
    assert kernel.image.has_btf is True
    require_options(kernel)
    bare = fake.ensure(str(built.image.path))
    assert bare.image.vmlinux is None
    assert bare.image.has_btf is None
    require_options(bare)  # unknown: the guest will tell


def test_a_build_directory_that_no_guest_can_run(fake: Project, tmp_path: Path) -> None:
    built = fake.ensure("baseline")
    assert built.source is not None
    directory = tmp_path / "my-build"
    shutil.copytree(built.source / "build", directory)
    config = directory / ".config"
    modular = config.read_text().replace("CONFIG_VIRTIO_NET=y", "CONFIG_VIRTIO_NET=m")
    config.write_text(modular.replace("CONFIG_DEBUG_INFO_BTF=y", "# CONFIG_DEBUG_INFO_BTF is not set"))
    kernel = fake.ensure(str(directory))
    assert kernel.image.has_btf is False
    with pytest.raises(KernelError) as caught:
        require_options(kernel)
    assert caught.value.message == (
        "kernel my-build cannot run in a guest: CONFIG_VIRTIO_NET=m, CONFIG_DEBUG_INFO_BTF is not set"
    )
    assert caught.value.detail.splitlines()[-1] == f"the configuration is {config}"
    assert caught.value.exit_code == 3


def test_options_that_a_guest_needs_are_looked_at_before_the_build(fake: Project) -> None:
    fake.fragment("later", "# CONFIG_SERIAL_8250_CONSOLE is not set\n")
    with pytest.raises(KernelError) as caught:
        fake.ensure("baseline+later")
    assert caught.value.message == (
        "kernel baseline+later cannot run in a guest: CONFIG_SERIAL_8250_CONSOLE is not set"
    )
    assert "its console is the first serial port" in caught.value.detail
    assert list((fake.cache / "bpfroots/build").rglob("*.o")) == []
    fake.fragment("later", "CONFIG_SERIAL_8250_CONSOLE=y\n")
    fake.ensure("baseline+later")


def test_many_options_are_a_line_and_a_list() -> None:
    error = kconfig.no_guest("k", kconfig.missing(""), "its .config")
    assert error.message == (
        "kernel k cannot run in a guest: CONFIG_64BIT is not set, CONFIG_BLK_DEV_INITRD is not set,"
        f" CONFIG_BINFMT_ELF is not set and {len(kconfig.GUEST) - 3} more"
    )
    assert len(error.detail.splitlines()) == len(kconfig.GUEST) + 1
