"""Building kernels, with the real tools on a fake tree that takes a second."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots import process
from bpfroots.errors import InfraError, KernelError, UserError
from bpfroots.kernels import is_built, kconfig, require_options, resolve
from bpfroots.kernels.tree import drop_unfinished
from bpfroots.shape import Shape
from tests.kernel_project import (
    BASELINE,
    FAKE,
    INSTALLED,
    PACKAGE,
    Project,
    Tree,
    copy_tree,
    diff,
    patch,
    project,
    tarball,
)

PATCHED = 'base = "baseline"\nseries = "change"\nprovides = ["multi_root"]\ncmdline = ["quiet"]\n'
CTX = ("kernel/verifier.c", "return -22", "return -1022")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.quiet
def test_cold_then_warm(fake: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_built(resolve("baseline"))
    cold = fake.ensure("baseline")
    assert cold.release == "6.12.0-fake"
    assert (cold.shape, cold.image.has_btf) == (Shape(cpus=2), True)
    assert sorted(fake.compiled("baseline")) == [
        "init/main.o",
        "kernel/core.o",
        "kernel/verifier.o",
        "lib/sort.o",
    ]
    assert "4 objects" in fake.said.getvalue()
    assert cold.image.config is not None
    assert "CONFIG_BPF_JIT=y" in cold.image.config.read_text()
    assert (cold.image.path.parent / "build.log").is_file()
    assert is_built(resolve("baseline"))

    monkeypatch.setattr(process, "spawn", lambda *_, **__: pytest.fail("a warm start needs no command"))
    start = time.monotonic()
    warm = fake.ensure("baseline")
    assert time.monotonic() - start < 0.15
    assert warm == cold
    assert fake.said.getvalue() == ""


def test_another_place_gives_the_same_bytes(
    fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fake.ensure("baseline")
    fake.define("deeper-name", BASELINE.format(version=INSTALLED))
    elsewhere = tmp_path / "another" / "cache"
    elsewhere.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere))
    second = fake.ensure("deeper-name")
    assert first.image.vmlinux is not None
    assert second.image.vmlinux is not None
    assert first.image.vmlinux.read_bytes() == second.image.vmlinux.read_bytes()
    assert first.image.path.read_bytes() == second.image.path.read_bytes()
    assert first.key == second.key


def test_force_builds_again(fake: Project) -> None:
    kernel = fake.ensure("baseline")
    before = kernel.image.path.stat().st_mtime_ns
    assert fake.ensure("baseline", force=True).image.path.stat().st_mtime_ns != before
    assert len(fake.compiled("baseline")) == 4


def test_corrupt_entry_is_made_again_without_compiling(fake: Project) -> None:
    kernel = fake.ensure("baseline")
    os.truncate(kernel.image.path, 100)
    again = fake.ensure("baseline")
    assert "bzImage has 100 bytes" in fake.said.getvalue()
    assert again.image.path.stat().st_size > 100
    assert fake.compiled("baseline") == []


def test_patched_compiles_what_the_series_changes(fake: Project) -> None:
    fake.series("change", ("0001-ctx.patch", patch(*CTX)))
    fake.define("patched", PATCHED)
    base = fake.ensure("baseline")
    kernel = fake.ensure("patched")
    assert fake.compiled("patched") == ["kernel/verifier.o"]
    assert kernel.provides == {"multi_root"}
    assert kernel.append == ("quiet",)
    assert kernel.key != base.key
    assert kernel.image.path.read_bytes() != base.image.path.read_bytes()
    assert kernel.source is not None
    assert "-1022" in (kernel.source / "kernel/verifier.c").read_text()
    assert base.source is not None
    assert "-1022" not in (base.source / "kernel/verifier.c").read_text()


def test_an_edit_of_one_patch_compiles_one_object(fake: Project) -> None:
    core = ("0002-core.patch", patch("kernel/core.c", "return insn", "return insn + 1"))
    fake.series("change", ("0001-ctx.patch", patch(*CTX)), core)
    fake.define("patched", PATCHED)
    fake.ensure("patched")
    assert len(fake.compiled("patched")) == 4

    fake.series("change", ("0001-ctx.patch", patch(CTX[0], CTX[1], "return -2022")), core)
    fake.ensure("patched")
    assert fake.compiled("patched") == ["kernel/verifier.o"]
    assert "1 source file changed" in fake.said.getvalue()

    # A patch that goes away takes its change along, though the old file is older than the object.
    fake.series("change", core)
    kernel = fake.ensure("patched")
    assert fake.compiled("patched") == ["kernel/verifier.o"]
    assert kernel.source is not None
    assert (kernel.source / "kernel/verifier.c").read_text() == (FAKE / "kernel/verifier.c").read_text()


def test_incremental_and_cold_give_the_same_bytes(
    fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.define("patched", PATCHED)
    fake.series("change", ("0001.patch", patch("lib/sort.c", "a < b", "a <= b")))
    fake.ensure("patched")
    fake.series("change", ("0001.patch", patch(*CTX)))
    incremental = fake.ensure("patched")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cold = fake.ensure("patched")
    assert cold.key == incremental.key
    assert cold.image.path.read_bytes() == incremental.image.path.read_bytes()


def test_series_adds_renames_and_deletes_files(fake: Project) -> None:
    text = diff("kernel/extra.c", "", "int extra;\n").replace("--- a/kernel/extra.c", "--- /dev/null")
    gone = (FAKE / "Kbuild").read_text()
    delete = diff("Kbuild", gone, "").replace("+++ b/Kbuild", "+++ /dev/null")
    rename = "diff --git a/lib/sort.c b/lib/order.c\nsimilarity index 100%\n"
    rename += "rename from lib/sort.c\nrename to lib/order.c\n"
    makefile = patch("Makefile", "lib/sort.o", "lib/order.o")
    fake.series("change", ("1.patch", text), ("2.patch", rename), ("3.patch", makefile))
    fake.define("patched", PATCHED)
    kernel = fake.ensure("patched")
    assert kernel.source is not None
    assert (kernel.source / "kernel/extra.c").read_text() == "int extra;\n"
    assert not (kernel.source / "lib/sort.c").exists()
    assert "lib/order.o" in fake.compiled("patched")
    fake.series("change", ("1.patch", text), ("2.patch", rename), ("3.patch", makefile), ("4.patch", delete))
    fake.ensure("patched")
    assert not (kernel.source / "Kbuild").exists()


def test_a_series_as_a_mail_program_saved_it(fake: Project) -> None:
    fake.series("change", ("0001-ctx.patch", patch(*CTX)))
    fake.define("patched", PATCHED)
    plain = fake.ensure("patched")
    (fake.root / "kernels/patches/change/0001-ctx.patch").write_bytes(
        patch(*CTX).replace("\n", "\r\n").encode()
    )
    crlf = fake.ensure("patched")
    assert plain.source is not None
    assert "-1022" in (plain.source / "kernel/verifier.c").read_text()
    assert "\r" not in (plain.source / "kernel/verifier.c").read_text()
    assert crlf.image.path.read_bytes() == plain.image.path.read_bytes()
    assert fake.compiled("patched") == []


def test_a_series_on_top_of_the_series_of_the_base(fake: Project) -> None:
    old, new = "return -13", "return -77"
    fake.series("change", ("0001-first.patch", patch("kernel/verifier.c", old, new)))
    fake.series(
        "more", ("0001-second.patch", patch("kernel/verifier.c", old, "return -78").replace(old, new))
    )
    fake.define("patched", PATCHED)
    fake.define("more", 'base = "patched"\nseries = "more"\n')
    kernel = fake.ensure("more")
    assert kernel.source is not None
    text = (kernel.source / "kernel/verifier.c").read_text()
    assert "return -78" in text
    assert new not in text
    fake.define("more", 'base = "baseline"\nseries = "more"\n')
    with pytest.raises(KernelError, match=r"patch 1 of 1 does not apply: 0001-second\.patch"):
        fake.ensure("more")


def test_several_series_of_one_kernel(fake: Project) -> None:
    old, new = "return -13", "return -77"
    fake.series("change", ("0001-first.patch", patch("kernel/verifier.c", old, new)))
    fake.series(
        "more", ("0001-second.patch", patch("kernel/verifier.c", old, "return -78").replace(old, new))
    )
    fake.define("patched", 'base = "baseline"\nseries = ["change", "more"]\n')

    def text(name: str) -> str:
        kernel = fake.ensure(name)
        assert kernel.source is not None
        return (kernel.source / "kernel/verifier.c").read_text()

    assert "return -78" in text("patched")
    assert new in text("patched@1")
    assert "return -78" in text("patched@2")
    with pytest.raises(UserError, match=r"series change\+more has 2 patches, not 3"):
        fake.ensure("patched@3")
    fake.define("more", 'base = "patched"\n')
    with pytest.raises(UserError, match="kernel more has no series of its own"):
        resolve("more@1")
    fake.define("patched", 'base = "baseline"\nseries = ["more", "change"]\n')
    with pytest.raises(KernelError, match=r"patch 1 of 2 does not apply: 0001-second\.patch"):
        fake.ensure("patched")


def test_patch_that_does_not_apply(fake: Project) -> None:
    stale = patch("kernel/verifier.c", "return -13", "return -14").replace(
        "-\t\treturn -13", "-\t\treturn -99"
    )
    fake.series("change", ("0001-ctx.patch", patch(*CTX)), ("0002-mem.patch", stale))
    fake.define("patched", PATCHED)
    with pytest.raises(KernelError) as caught:
        fake.ensure("patched")
    assert caught.value.message == "patch 2 of 2 does not apply: 0002-mem.patch"
    assert "kernel/verifier.c:10: hunk 1 of 1 rejected" in caught.value.detail
    kept = next(line for line in caught.value.detail.splitlines() if line.startswith("kept in "))
    assert "return -99" in Path(kept.removeprefix("kept in ")).read_text()
    assert caught.value.exit_code == 3


def test_vanished_symbols_are_named_with_the_reason(fake: Project) -> None:
    fake.fragment("base", "CONFIG_BPF_JIT=y\nCONFIG_NO_SUCH=y\nCONFIG_PRINTK=n\nCONFIG_BPF=y\n")
    fake.fragment("later", "CONFIG_BPF=n\n")
    fake.define("baseline", BASELINE.format(version="x").replace('["base"]', '["base", "later"]'))
    with pytest.raises(KernelError) as caught:
        fake.ensure("baseline")
    lines = caught.value.detail.splitlines()
    assert lines == [
        "base.config:1: CONFIG_BPF_JIT=y became n: dependencies not met: BPF",
        "base.config:2: CONFIG_NO_SUCH=y became n: not in this kernel's Kconfig",
        "base.config:3: CONFIG_PRINTK=n became y: overridden by another symbol (select, or a choice)",
    ]
    assert "CONFIG_BPF_JIT=y (base.config:1) did not survive and 2 more" in caught.value.message


def test_compiler_error_names_file_and_line(fake: Project) -> None:
    fake.series("change", ("0001-broken.patch", patch(CTX[0], CTX[1], "return nowhere")))
    fake.define("patched", PATCHED)
    with pytest.raises(KernelError) as caught:
        fake.ensure("patched")
    assert "kernel/verifier.c:6: " in caught.value.message
    assert "nowhere" in caught.value.message
    log = Path(caught.value.detail.removeprefix("log: "))
    assert "nowhere" in log.read_text()
    assert not is_built(resolve("patched"))
    # And the next start with a fixed patch continues where this one stopped.
    fake.series("change", ("0001-broken.patch", patch(*CTX)))
    fake.ensure("patched")
    assert "kernel/verifier.o" in fake.compiled("patched")


def test_other_version_is_said_and_is_another_key(fake: Project) -> None:
    first = fake.ensure("baseline")
    fake.define("baseline", BASELINE.format(version="6.12.1-1"))
    assert fake.ensure("baseline").key == first.key  # the same tarball: the key goes by what is there
    said = fake.said.getvalue()
    assert f"{PACKAGE} 6.12.1-1 is not what is installed" in said
    assert said.count("\n") == 1
    tree = copy_tree(fake.root.parent / "newer")
    (tree / "kernel/core.c").write_text("int newer;\n")
    fake.tarball.unlink()
    tarball(tree, fake.tarball)
    assert fake.ensure("baseline").key != first.key
    assert fake.compiled("baseline") == ["kernel/core.o"]


def test_missing_package(fake: Project) -> None:
    fake.tarball.unlink()
    with pytest.raises(InfraError) as caught:
        fake.ensure("baseline")
    assert caught.value.hint == f"apt-get install {PACKAGE}, or name the suites that have it"


def test_damaged_tarball(fake: Project) -> None:
    os.truncate(fake.tarball, 500)
    with pytest.raises(InfraError, match=r"\.tar\.xz: cannot be unpacked"):
        fake.ensure("baseline")


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


_BUILDER = """
import sys
from bpfroots.kernels import ensure, resolve
print("start", flush=True)
ensure(resolve("baseline"))
"""


def _builder() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _BUILDER], stderr=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_build_leaves_nothing_running_and_resumes(fake: Project, number: signal.Signals) -> None:
    """The compiler of this tree hangs in one file until we have pulled the plug."""
    started = fake.root / "started"
    os.mkfifo(started)
    slow = (
        (FAKE / "Makefile")
        .read_text()
        .replace(
            "@echo '  CC      $@'",
            f"@echo '  CC      $@'; case $@ in *core.o) echo $$$$ > {started}; sleep 600;; esac",
        )
    )
    tree = copy_tree(fake.root / "slow")
    (tree / "Makefile").write_text(slow)
    original = fake.tarball.read_bytes()
    tarball(tree, fake.tarball)
    builder = _builder()
    shell = int(started.read_text())  # blocks until the compile step is reached
    watch = os.pidfd_open(shell)
    builder.send_signal(number)
    builder.wait(20)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    assert poll.poll(10_000), "the compile step outlived the builder"
    kernels = fake.cache / "bpfroots/kernel"
    assert [p.name for p in kernels.iterdir() if not p.name.startswith(".")] == []
    fake.tarball.write_bytes(original)
    fake.ensure("baseline")
    assert "kernel/core.o" in fake.compiled("baseline")


def test_two_builders_build_once(fake: Project) -> None:
    builders = [_builder(), _builder()]
    texts = [b.communicate(timeout=60)[1].decode() for b in builders]
    assert [b.returncode for b in builders] == [0, 0]
    assert sum("4 objects" in text for text in texts) == 1


def test_half_written_objects_are_dropped(tmp_path: Path) -> None:
    for name, late in (("good.o", -1), ("half.o", 1)):
        (tmp_path / name).write_text("x")
        (tmp_path / f".{name}.cmd").write_text("cmd")
        now = (tmp_path / f".{name}.cmd").stat().st_mtime_ns
        os.utime(tmp_path / name, ns=(now, now + late * 1_000_000))
    assert drop_unfinished(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".good.o.cmd", ".half.o.cmd", "good.o"]
