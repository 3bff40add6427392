"""What this machine needs, and how to get it: Debian packages and the commands they bring."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bpfroots import arch, process
from bpfroots.errors import InfraError
from bpfroots.progress import Progress


@dataclass(frozen=True)
class Need:
    """A package, and a command or file that shows it is there."""

    package: str
    shows: str

    @property
    def present(self) -> bool:
        if self.shows.startswith("/"):
            return Path(self.shows).exists()
        return shutil.which(self.shows) is not None


_LIB = f"/usr/lib/{arch.GUEST.multiarch}"
NEEDS = (
    Need(arch.GUEST.qemu_package, arch.GUEST.qemu),
    Need("clang-19", "clang-19"),
    Need("llvm-19", "llvm-strip-19"),
    Need("gcc", "gcc"),
    Need("libc6-dev", f"{_LIB}/libc.a"),
    Need("make", "make"),
    Need("git", "git"),
    Need("patch", "patch"),
    Need("bc", "bc"),
    Need("flex", "flex"),
    Need("bison", "bison"),
    Need("cpio", "cpio"),
    Need("kmod", "modprobe"),
    Need("rsync", "rsync"),
    Need("ccache", "ccache"),
    Need("perl", "perl"),
    Need("xz-utils", "xz"),
    Need("zstd", "zstd"),
    Need("dwarves", "pahole"),
    Need("binutils", "strip"),
    Need("binutils-dev", f"{_LIB}/libbfd.a"),
    Need("libiberty-dev", f"{_LIB}/libiberty.a"),
    Need("libelf-dev", f"{_LIB}/libelf.a"),
    Need("zlib1g-dev", f"{_LIB}/libz.a"),
    Need("libzstd-dev", f"{_LIB}/libzstd.a"),
    Need("libssl-dev", "/usr/include/openssl/ssl.h"),
    Need("libjansson-dev", f"{_LIB}/libjansson.a"),
    Need("busybox-static", "/bin/busybox"),
    Need("dropbear-bin", "dropbear"),
    # test_progs of 7.3 has BPF programs that clang-19 has no instructions for (libarena/).
    Need("clang-22", "clang-22"),
    # What the kernel tree's own tests call in the guest: harness/bpfroots/images/layer.py.
    Need("iproute2", "ip"),
    Need("iputils-ping", "ping"),
    Need("nftables", "nft"),
    Need("iptables", "iptables"),
    Need("ethtool", "ethtool"),
    Need("openssl", "openssl"),
    Need("keyutils", "keyctl"),
    Need("e2fsprogs", "mkfs.ext2"),
    # The report is tested in a browser.
    Need("chromium", "chromium"),
    Need("chromium-driver", "chromedriver"),
    # virtme-ng's guests run on this root, and find their ports by udev's links.
    Need("udev", "udevadm"),
)


def missing() -> list[str]:
    """Packages that are not installed. Kernel sources are not among them: builds fetch those."""
    return [need.package for need in NEEDS if not need.present]


def install(progress: Progress, log: Path, *, yes: bool) -> None:
    """Install what is missing with apt-get, saying exactly what runs. Raises InfraError.

    Without ``yes`` a terminal is asked first.
    """
    packages = missing()
    if not packages:
        return
    if shutil.which("apt-get") is None:
        msg = f"missing on this machine: {' '.join(packages)} (Debian's names)"
        raise InfraError(msg, hint="install them with this system's package manager")
    update, command = _apt_get()
    command += ["install", "--no-install-recommends"]
    progress.say(f"will run: {' '.join(update)} && {' '.join([*command, *packages])}")
    if not yes and not _agreed():
        msg = "nothing was installed"
        raise InfraError(msg, hint="bpfroots setup --yes")
    with progress.task(f"machine   installing missing packages (log: {log})"), log.open("wb") as out:
        _apt(update, out.fileno(), log)
        _apt([*command, *packages], out.fileno(), log)


def upgrade(package: str, log: Path) -> None:
    """Bring one installed package up to what the archive has. Raises InfraError."""
    update, command = _apt_get()
    with log.open("wb") as out:
        _apt(update, out.fileno(), log)
        _apt([*command, "install", "--only-upgrade", package], out.fileno(), log)


def _apt_get() -> tuple[list[str], list[str]]:
    """`apt-get update`, and the beginning of a command that changes what is installed."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    command = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    return [*sudo, "apt-get", "-q", "update"], command


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write("continue? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _apt(command: list[str], out: int, log: Path) -> None:
    with process.spawn(command, stdout=out, stderr=out) as child:
        status = child.wait()
    if status:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("E:")]
        msg = f"{' '.join(command[:6])} ... failed: {errors[-1] if errors else f'status {status}'}"
        raise InfraError(msg, detail=f"log  {log}")
