"""Every patch of a series by itself: the kernel with the first one, the first two, and so on, is
built and booted, and what gcc says of the files it touches is compared with the kernel before.

Takes most of a kernel build for every patch that touches a widely used header. What was done before
comes from the caches, so it can be interrupted.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bpfroots import kernels
from bpfroots.cache import Cache
from bpfroots.errors import GuestError, KernelError
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import prepare
from bpfroots.kernels import Definition, Kernel, build, check, series, spec
from bpfroots.machine import choose_accel
from bpfroots.process import temporary_directory
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

Boot = Callable[[Kernel], float]


def check_series(definition: Definition, accel: str, progress: Progress) -> Iterator[check.Checked]:
    """`check.check`, then `build_each` with guests. Raises as they do."""
    checked = check.check(definition, progress)
    yield from build_each(definition, checked, boot_in(accel, progress), progress)


def boot_in(accel: str, progress: Progress) -> Boot:
    """What boots a kernel until SSH answers, and says how many seconds that took."""
    guests = Guests(prepare(["baseline"], progress), choose_accel(accel))
    consoles = temporary_directory()

    def boot(kernel: Kernel) -> float:
        start = time.monotonic()
        with progress.task(f"guest   {kernel.name}"), guests.cold(kernel, consoles / f"{kernel.name}.log"):
            return time.monotonic() - start

    return boot


def build_each(
    definition: Definition, checked: list[check.Checked], boot: Boot, progress: Progress
) -> Iterator[check.Checked]:
    """Build and ``boot`` the kernels NAME@1, NAME@2, ...; what is found is written into ``checked``.

    Each patch is yielded as soon as it was tried, because the next one may take a kernel build. A patch
    that fails does not end it: a later one may fix that. Raises KernelError or InfraError where the kernel
    without any of the patches does not build.
    """
    patches = series.read(check.own(definition)).patches
    sources = sorted(name for name in series.touched(patches) if name.endswith(".c"))
    before = _build(spec.prefix(definition.name, 0), sources, progress)[1]
    for number, (path, patch) in enumerate(zip(patches, checked, strict=True), 1):
        try:
            kernel, after = _build(spec.prefix(definition.name, number), sources, progress)
            patch.built = True
            patch.boot_seconds = boot(kernel)
        except (KernelError, GuestError) as error:
            patch.broken = "\n".join([error.message, *error.detail.splitlines()[-5:]])
        else:
            new, mine = Counter(after) - Counter(before), series.touched([path])
            patch.warnings = [f"{warned.file}: {warned.text}" for warned in new if warned.file in mine]
            before = after
        yield patch


def _build(
    definition: Definition, sources: list[str], progress: Progress
) -> tuple[Kernel, list[build.Warned]]:
    kernel = kernels.ensure(definition, progress)
    wanted = build.plan(definition, progress)

    def compile_with_warnings(out: Path) -> None:
        with progress.task(f"warnings  {kernel.name}"):
            found = build.warnings(wanted, sources, progress)
        (out / "warnings.json").write_bytes(msgspec.json.encode(found))

    key = hashlib.sha256("\0".join([kernel.key, *sources]).encode()).hexdigest()
    entry = Cache(cache_root(), "warnings", progress.say).get(key, compile_with_warnings)
    return kernel, msgspec.json.decode((entry / "warnings.json").read_bytes(), type=list[build.Warned])
