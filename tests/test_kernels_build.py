"""Building kernels, with the real tools on a fake tree that takes a second."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots import process
from bpfroots.errors import InfraError, KernelError
from bpfroots.kernels import is_built, resolve
from bpfroots.kernels.tree import drop_unfinished
from bpfroots.shape import Shape
from tests.kernel_project import (
    BASELINE,
    CTX,
    FAKE,
    INSTALLED,
    PACKAGE,
    PATCHED,
    Project,
    copy_tree,
    patch,
    project,
    tarball,
)


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


def test_compiler_error_names_file_and_line(fake: Project) -> None:
    broken = patch("kernel/verifier.c", "return -22", "return nowhere")
    fake.series("change", ("0001-broken.patch", broken))
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
