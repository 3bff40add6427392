"""The guest that `bench selftest` is measured beside: its disk, and what is made of its output."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfroots import arch
from bpfroots.bench import vmtest
from bpfroots.errors import InfraError
from bpfroots.images import initramfs
from bpfroots.kernels import BootImage, Kernel
from bpfroots.machine import Accel
from bpfroots.settings import cache_root
from bpfroots.shape import Shape

_KERNEL = Kernel("k", "k", "key", "7.3.4", BootImage(Path("bzImage")))
_SAYS = "#1 align:OK\r\nSummary: 1/12 PASSED, 2 SKIPPED, 3/5 FAILED\r\n"


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A QEMU that prints its arguments and what it is to say."""

    def made(says: str) -> None:
        path = tmp_path / "bin" / arch.GUEST.qemu
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\necho \"$@\"\ncat <<'EOF'\n{says}EOF\nexit 7\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent), prepend=":")

    return made


def _run(log: Path) -> vmtest.Ran:
    return vmtest.run(_KERNEL, Path("root.img"), Accel("tcg", "", 4.0), Shape(cpus=2, memory_mib=2048), log)


def test_the_summary_is_what_counts(qemu: Callable[[str], None], tmp_path: Path) -> None:
    qemu(_SAYS)
    found = _run(tmp_path / "log")
    assert (found.not_failed, found.failed) == (1, 3)
    assert found.seconds > 0
    said = (tmp_path / "log").read_text()
    assert "-smp 2" in said
    assert "-m 2048M" in said
    assert "file=root.img,format=raw" in said


def test_an_end_without_a_summary_is_none(qemu: Callable[[str], None], tmp_path: Path) -> None:
    qemu("Kernel panic - not syncing\n")
    with pytest.raises(InfraError, match=r"no summary.*status is 7") as caught:
        _run(tmp_path / "log")
    assert "Kernel panic" in caught.value.detail


def test_the_disk_has_what_the_image_has_and_runs_the_command(tmp_path: Path) -> None:
    entries = [initramfs.file("selftests/test_progs", b"tests", 0o755), initramfs.symlink("bin/sh", "dash")]
    image = tmp_path / "image.cpio"
    image.write_bytes(initramfs.archive(initramfs.with_parents(entries)))
    with vmtest.disk(image, "./test_progs -a align") as path:
        read = [_cat(path, name) for name in ("/selftests/test_progs", "/sbin/init")]
    assert read[0] == "tests"
    assert "cd /selftests\nstdbuf -oL -eL ./test_progs -a align\n" in read[1]
    assert not list(cache_root().glob("bench-*"))


def _cat(disk: Path, name: str) -> str:
    done = subprocess.run(
        ["/sbin/debugfs", "-R", f"cat {name}", disk], capture_output=True, text=True, check=True
    )
    return done.stdout
