"""Templates of guests in the cache: booted once, cloned for every guest after that."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bpfroots import arch
from bpfroots.cache import Cache
from bpfroots.machine import BootSpec, Snapshot, devices
from bpfroots.settings import cache_root

# Raised where the same inputs are to give another template.
_FORMAT = 2
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


def key(kernel: str, image: str, spec: BootSpec) -> str:
    """The name of the template that these make: the key of its kernel and the digest of its image, whose
    paths do not matter, and the machine."""
    somewhere = replace(spec, kernel=Path("kernel"), name="template")
    machine = devices.command_line(somewhere, devices.machine_parts(somewhere, Path("initrd"), qmp_fd=0))
    host = _host() if spec.accel.name == "kvm" else ()
    parts = [str(_FORMAT), kernel, image, *machine, *_qemu(), *host]
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
