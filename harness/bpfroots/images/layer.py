"""A layer beside the small image: what the kernel tree's own tests call, from this machine's packages.

Archives that follow the image's in the guest's initramfs; a later entry of a name replaces an earlier one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from bpfroots import arch, cache
from bpfroots.errors import InfraError
from bpfroots.images import host, initramfs
from bpfroots.images.image import Image
from bpfroots.images.initramfs import Entry, file, symlink
from bpfroots.settings import cache_root

#: Programs, and the Debian packages that they are of.
PROGRAMS = {
    "bash": "bash",
    "dash": "dash",
    "ip": "iproute2",
    "tc": "iproute2",
    "ping": "iputils-ping",
    "nft": "nftables",
    "iptables": "iptables",
    "iptables-legacy": "iptables",
    "ip6tables": "iptables",
    "ip6tables-legacy": "iptables",
    "ethtool": "ethtool",
    "openssl": "openssl",
    "keyctl": "keyutils",
    "mkfs.ext2": "e2fsprogs",
    "blkid": "util-linux",
    # busybox's mktemp takes no suffix, its truncate no negative size, and its rm is no program of its own.
    "mktemp": "coreutils",
    "rm": "coreutils",
    "truncate": "coreutils",
    "stdbuf": "coreutils",
}
#: Where the tests are in the guest.
TESTS = "selftests"

_LIB = Path("/usr/lib") / arch.GUEST.multiarch
# What they load by name: stdbuf's library, the matches and targets of iptables; and what the C library loads
# where a thread of a test ends itself.
_LOADED = (
    (Path("/usr/libexec/coreutils"), "libstdbuf.so"),
    (_LIB / "xtables", "*.so"),
    (Path("/lib") / arch.GUEST.multiarch, "libgcc_s.so.1"),
)
# Part of the key: raised where the same inputs are to give another archive.
_FORMAT = 1


def layered(image: Image, tests: Path, tests_key: str) -> Image:
    """``image`` with `PROGRAMS`, and the directory ``tests`` as /selftests, in the cache.

    ``tests_key`` changes whenever something in ``tests`` does. Raises InfraError for a program that is
    not on this machine.
    """
    programs = _archive(_programs())
    key = hashlib.sha256(f"{_FORMAT}\0{image.digest}\0{tests_key}\0".encode() + programs).hexdigest()

    def populate(out: Path) -> None:
        with (out / "image.cpio").open("wb") as whole:
            for part in (image.path.read_bytes(), programs, _archive(_tests(tests))):
                whole.write(part)

    return Image(cache.Cache(cache_root(), "layers").get(key, populate) / "image.cpio", key)


def _archive(entries: Iterable[Entry]) -> bytes:
    return initramfs.archive(initramfs.with_parents({entry.path: entry for entry in entries}.values()))


def _programs() -> Iterator[Entry]:
    for name, package in PROGRAMS.items():
        path = host.program(name, package)
        yield file(str(path).lstrip("/"), path.read_bytes(), 0o755)
        yield from host.libraries(path)
    for directory, pattern in _LOADED:
        for path in sorted(directory.glob(pattern)):
            yield file(str(path).lstrip("/"), path.read_bytes(), 0o755)
            yield from host.libraries(path)
    # busybox's shell runs its own ip and ping, whatever PATH says; scripts ask for /bin/bash.
    yield symlink("bin/sh", str(host.program("dash", "dash")))
    yield symlink("bin/bash", str(host.program("bash", "bash")))
    yield symlink("bin/rm", str(host.program("rm", "coreutils")))
    yield file("etc/hosts", b"127.0.0.1 localhost\n::1 ip6-localhost\n")
    # Tests open namespaces there; ip makes them in /run/netns.
    yield symlink("var/run", "/run")


def _tests(directory: Path) -> Iterator[Entry]:
    beside = frozenset(path.name for path in directory.glob("*.so"))
    for path in sorted(directory.rglob("*")):
        if not path.is_file():
            continue
        data, mode = path.read_bytes(), path.stat().st_mode & 0o777
        yield file(f"{TESTS}/{path.relative_to(directory)}", data, mode)
        if mode & 0o100 and data.startswith(b"\x7fELF"):
            yield from host.libraries(path, beside)


def require() -> None:
    """Raises InfraError, which says how to get it, for the first program that is not on this machine."""
    for name, package in PROGRAMS.items():
        try:
            host.program(name, package)
        except InfraError as error:
            error.hint = f"apt-get install {package}"
            raise
