"""Templates of guests in the cache: booted once, cloned for every guest after that."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from bpfroots import arch
from bpfroots.cache import Cache
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel, Shape, Snapshot, devices
from bpfroots.settings import cache_root

# Raised where the same inputs are to give another template.
_FORMAT = 1
#: A template is 100 MiB and more; the ones that were not used for longest go first.
_KEPT = 12


class Templates:
    """Snapshots by what they were made from: kernel, image, machine, command lines, and QEMU itself."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._cache = Cache(cache_root(), "templates", say)

    @contextlib.contextmanager
    def using(self, key: str, make: Callable[[Snapshot], None]) -> Iterator[Snapshot]:
        """The template ``key``, made by ``make(directory)`` where there is none; it stays until the end,
        whatever another bpfroots wants to throw away. Raises what ``make`` raises."""
        made = False

        def populate(out: Path) -> None:
            nonlocal made
            make(Snapshot(out))
            made = True

        with self._cache.using(key, populate) as entry:
            self._cache.used(key)
            yield Snapshot(entry)
        if made:
            for old, _ in self._cache.by_use()[_KEPT:]:
                self._cache.discard(old)

    def discard(self, key: str) -> None:
        """Forget one that no clone comes of."""
        self._cache.discard(key)


def shape_of(kernel: Kernel) -> Shape:
    """The machine that its definition asks for."""
    return Shape(cpus=kernel.cpus, memory_mib=kernel.memory_mib)


def key(kernel: Kernel, image: str, shape: Shape, accel: Accel, append: tuple[str, ...]) -> str:
    """The name of the template that these make; ``image`` is the image's digest."""
    boot = devices.Boot(Path("kernel"), Path("initrd"), append)
    machine = devices.command_line(
        arch.GUEST.qemu, "template", devices.machine_parts(shape, accel, boot, qmp_fd=0)
    )
    parts = [str(_FORMAT), kernel.key, image, *machine, *_qemu(), *(_host() if accel.name == "kvm" else ())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _qemu() -> tuple[str, ...]:
    """The emulator, by its file: another build of the same version may save another state."""
    path = Path(shutil.which(arch.GUEST.qemu) or arch.GUEST.qemu).resolve()
    status = path.stat()
    return str(path), str(status.st_size), str(status.st_mtime_ns)


def _host() -> tuple[str, ...]:
    """What a guest of KVM sees of its host's CPU."""
    with Path("/proc/cpuinfo").open() as file:
        flags = next((line for line in file if line.startswith("flags")), "")
    return platform.processor(), platform.release(), flags
