"""The guest image: what is in it, and its digest.

Every file of the image is read once, from the host's own packages and from the tools built
from the kernel source; the archive is a function of those bytes alone.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bpfroots import process
from bpfroots.errors import InfraError
from bpfroots.images import host, initramfs
from bpfroots.images.host import LIBRARY_DIRS, interpreter, libraries, program
from bpfroots.images.initramfs import Entry, directory, file, symlink
from bpfroots.images.tools import Tools
from bpfroots.settings import cache_root, resource

# Written to the guest's console by images/init, through the kernel log: a line that ends in
# READY_MARK (a time stamp of the kernel may stand before it), once SSH is listening.
READY_MARK = "bpfroots: ready"
FAILED_MARK = "bpfroots: init failed: "
# Where the runner is in the guest.
RUNNER = "/usr/bin/bpfroots-runner"

# Not compressed: an emulated guest takes 0.3 to 0.6 s to unpack 10 MB as they are, 1.4 to 1.9 s as gzip.
IMAGE_NAME = "image.cpio"
# Part of the digest: raised where the same inputs are to give other bytes.
_FORMAT = 1
_ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
    "etc/profile": "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\nPS1='guest# '\n",
}
_DIRECTORIES = ("dev", "proc", "sys", "run", "mnt", "var/log", "etc/dropbear")


@dataclass(frozen=True)
class Image:
    """A built image. ``digest`` is that of the archive itself, and of `_FORMAT`."""

    path: Path
    digest: str


class _Known(msgspec.Struct):
    """A digest, and the state of all files and directories that decide it."""

    states: dict[str, str]
    digest: str


def image_inputs_digest(tools: Tools) -> str:
    """SHA-256, in hex, of the archive that the image would be.

    Remembered as long as no file of it, and no directory with libraries, has another size or time: every
    start asks. Raises InfraError where a program or library is missing on this machine.
    """
    store = cache_root() / "image-digests.json"
    files = _files(tools)
    key = "\0".join(map(str, (_FORMAT, *files, *LIBRARY_DIRS)))
    known = _load(store)
    if (found := known.get(key)) and all(_state(path) == state for path, state in found.states.items()):
        return found.digest
    # Before they are read: what changes meanwhile is read again the next time.
    of_dropbear = ["/" + entry.path for entry in libraries(program("dropbear", "dropbear-bin"))]
    code = (__file__, host.__file__, initramfs.__file__)
    states = {path: _state(path) for path in map(str, (*files, *of_dropbear, *LIBRARY_DIRS, *code))}
    digest = _digest(_archive(tools))
    # Another project's stays as long as its tools do.
    kept = {k: one for k, one in known.items() if all(map(_state, filter(one.states.get, one.states)))}
    scratch = store.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_bytes(msgspec.json.encode({**kept, key: _Known(states, digest)}))
    scratch.replace(store)
    return digest


def _files(tools: Tools) -> list[Path]:
    """What is put in, but for the libraries."""
    programs = (program("busybox", "busybox-static"), program("dropbear", "dropbear-bin"))
    return [*programs, resource("images/init"), tools.bpftool, tools.runner]


def _state(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _load(store: Path) -> dict[str, _Known]:
    try:
        return msgspec.json.decode(store.read_bytes(), type=dict[str, _Known])
    except (OSError, msgspec.MsgspecError):
        return {}


def populate(tools: Tools, out: Path) -> None:
    """Write the image into the directory ``out``. Raises as image_inputs_digest does."""
    build_image(tools, out)


def build_image(tools: Tools, out: Path) -> Image:
    """Write ``out``/image.cpio. Raises InfraError where something to put in is missing."""
    data = _archive(tools)
    out.mkdir(parents=True, exist_ok=True)
    path = out / IMAGE_NAME
    path.write_bytes(data)
    return Image(path, _digest(data))


def write_initrd(image: Path, overlay: bytes, out: Path) -> None:
    """Image and keys (keys.overlay) as the one file that QEMU's -initrd takes, mode 0600."""
    out.touch(mode=0o600)
    out.chmod(0o600)
    out.write_bytes(image.read_bytes() + overlay)


def _digest(data: bytes) -> str:
    return hashlib.sha256(b"%d\0" % _FORMAT + data).hexdigest()


def _archive(tools: Tools) -> bytes:
    return initramfs.archive(initramfs.with_parents(_entries(tools)))


def _entries(tools: Tools) -> list[Entry]:
    busybox = program("busybox", "busybox-static")
    dropbear = program("dropbear", "dropbear-bin")
    init = resource("images/init")
    return [
        file("init", init.read_bytes(), 0o755),
        *(file(path, text.encode()) for path, text in _ETC.items()),
        *(directory(path) for path in _DIRECTORIES),
        directory("root", 0o700),
        directory("tmp", 0o1777),
        # The kernel opens /dev/console for PID 1 before anything is mounted.
        initramfs.device("dev/console", 5, 1),
        *_busybox(busybox),
        file("usr/sbin/dropbear", dropbear.read_bytes(), 0o755),
        *libraries(dropbear),
        file("usr/sbin/bpftool", tools.bpftool.read_bytes(), 0o755),
        file(RUNNER.lstrip("/"), tools.runner.read_bytes(), 0o755),
    ]


def _busybox(busybox: Path) -> list[Entry]:
    if interpreter(busybox) is not None:
        msg = f"{busybox}: not a static program; the guest's PID 1 has to be one"
        raise InfraError(msg, hint="apt-get install busybox-static")
    listed = process.run([busybox, "--list"], timeout=30)
    applets = sorted(set(listed.stdout.decode().split()) - {"busybox"})
    if listed.returncode or "sh" not in applets:
        msg = f"{busybox} --list: exit {listed.returncode}, no list of commands"
        raise InfraError(msg)
    return [
        file("bin/busybox", busybox.read_bytes(), 0o755),
        *(symlink(f"bin/{applet}", "busybox") for applet in applets),
        # Where the kernel looks for it when it needs a module (CONFIG_MODPROBE_PATH).
        *([symlink("sbin/modprobe", "../bin/busybox")] if "modprobe" in applets else []),
    ]
