"""Guests of one run: the same image, keys and accelerator for all of them."""

from __future__ import annotations

from pathlib import Path

from harness import images, process
from harness.jobs.kit import Kit
from harness.kernels import Kernel
from harness.machine import Accel, Machine, Shape, SshIdentity


class Guests:
    """Boots kernels of a kit into its image."""

    def __init__(self, kit: Kit, accel: Accel) -> None:
        self._accel = accel
        keys = images.make_keys()
        self._identity = SshIdentity(keys.client_private, keys.host_public)
        self._initrd = process.temporary_directory() / "initrd"
        images.write_initrd(kit.image.path, images.overlay(keys), self._initrd)

    def boot(
        self,
        kernel: Kernel,
        console_log: Path,
        *,
        shape: Shape | None = None,
        append: tuple[str, ...] = (),
    ) -> Machine:
        """A guest that answers over SSH; ``shape`` is the kernel's own where none is given.

        Raises BootError for a kernel that does not boot, InfraError.
        """
        return Machine.boot(
            kernel.bzimage,
            self._initrd,
            shape=shape or Shape(cpus=kernel.cpus, memory_mib=kernel.memory_mib),
            accel=self._accel,
            console_log=console_log,
            append=(*kernel.append, *append),
            ready_mark=images.READY_MARK,
            name=kernel.name,
            identity=self._identity,
        )
