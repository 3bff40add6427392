"""The tree's tests in one guest, as its own vmtest.sh starts it (tools/testing/selftests/bpf/vmtest.sh,
``run_vm``): a root file system on a disk, the program once, its output on the serial port.

Its kernel's words, accelerator, CPUs and memory are those of our guests.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bpfroots import arch, process
from bpfroots.bench.common import scratch
from bpfroots.errors import InfraError
from bpfroots.images import host, initramfs
from bpfroots.images.layer import TESTS
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel
from bpfroots.machine.devices import Processor
from bpfroots.shape import Shape

_DEADLINE = 4 * 3600.0
_SIZE = "2G"
# As much of /init as tests need; the script's images have busybox's init, which does the same.
_INIT = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
echo 1 >/proc/sys/net/core/bpf_jit_enable
ifconfig lo up
cd /{directory}
stdbuf -oL -eL {command}
sync
poweroff -f
"""
_SUMMARY = re.compile(r"^Summary: (\d+)/\d+ PASSED, \d+ SKIPPED, (\d+)(?:/\d+)? FAILED", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """``seconds`` from QEMU's start to its end, and how many tests failed. Among those that did not are
    tests that were skipped: test_progs does not count them."""

    seconds: float
    not_failed: int
    failed: int


@contextmanager
def disk(image: Path, command: str) -> Iterator[Path]:
    """A disk with what the initramfs ``image`` has, which runs ``command`` beside the tests and powers off.
    Raises InfraError."""
    with scratch() as room:
        root = room / "root"
        root.mkdir()
        initramfs.unpack(initramfs.read(image.read_bytes()), root)
        init = root / "sbin/init"
        init.parent.mkdir(exist_ok=True)
        init.unlink(missing_ok=True)
        init.write_text(_INIT.format(directory=TESTS, command=command))
        init.chmod(0o755)
        path = room / "root.img"
        mkfs = host.program("mkfs.ext4", "e2fsprogs")
        done = process.run([mkfs, "-q", "-d", root, path, _SIZE], timeout=600)
        if done.returncode:
            msg = f"mkfs.ext4: {done.stderr.decode(errors='replace').strip()}"
            raise InfraError(msg)
        shutil.rmtree(root)
        yield path


def run(kernel: Kernel, disk: Path, accel: Accel, shape: Shape, log: Path) -> Ran:
    """One guest, to its end; what it prints is kept in ``log``. Raises InfraError where test_progs does not
    come to its summary."""
    cpu = Processor(accel, shape)
    words = ["root=/dev/vda", "rw", f"console={arch.GUEST.console},115200", *arch.GUEST.cmdline]
    start = time.monotonic()
    done = process.run(
        [
            *(arch.GUEST.qemu, "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
            *cpu.args(),
            *("-m", f"{shape.memory_mib}M", "-kernel", kernel.image.path),
            *("-drive", f"file={disk},format=raw,index=1,media=disk,if=virtio,cache=none"),
            *("-append", " ".join([*words, *cpu.kernel_args(), "panic=-1"])),
        ],
        timeout=_DEADLINE,
    )
    seconds = time.monotonic() - start
    said = done.stdout.decode(errors="replace").replace("\r", "")
    log.write_text(said)
    if (found := _SUMMARY.search(said)) is None:
        msg = f"test_progs in one guest: no summary (QEMU's status is {done.returncode})"
        tail = [*said.splitlines()[-10:], *done.stderr.decode(errors="replace").splitlines()[-3:]]
        raise InfraError(msg, detail="\n".join(tail))
    return Ran(seconds, *map(int, found.groups()))
