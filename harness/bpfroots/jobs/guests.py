"""Guests of one run: the same image and accelerator for all of them, cloned where that is possible."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bpfroots import images, process
from bpfroots.errors import InfraError, KernelError
from bpfroots.jobs import templates
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel, BootSpec, Machine, Snapshot, SnapshotFailure, SshIdentity
from bpfroots.progress import Progress
from bpfroots.shape import Shape

# What every runner would do first, done once: images/runner/main.c.
_WARM_UP = "bpfroots-runner warm-up"


class HasImage(Protocol):
    """What is needed of a kit: the image that guests boot into."""

    @property
    def image(self) -> images.Image: ...


class Guests:
    """Guests of a kit's kernels: clones of a template per kernel, shape and command line, which is booted
    the first time that it is asked for and then kept in the cache."""

    def __init__(self, kit: HasImage, accel: Accel, say: Callable[[str], None] | None = None) -> None:
        self._kit = kit
        self._accel = accel
        self._say = say or Progress().say
        self._templates = templates.Templates(self._say)
        # The cache has a lock of its own, for others; waiting for ourselves is nothing to talk about.
        self._making = threading.Lock()
        #: Why guests are booted one by one, once that is known.
        self.no_clones = ""

    def boot(
        self,
        kernel: Kernel,
        console_log: Path,
        *,
        shape: Shape | None = None,
        append: tuple[str, ...] = (),
    ) -> Machine:
        """A fresh guest that answers over SSH; ``shape`` is the kernel's own where none is given.

        Raises BootError for a kernel that does not boot, InfraError.
        """
        spec = self._spec(kernel, shape, append)
        if not self.no_clones:
            try:
                return self._clone(kernel, spec, console_log)
            except SnapshotFailure as failure:
                self.no_clones = failure.message
                self._say(f"guests    {failure.message}; each guest is booted")
        return self._cold(kernel, spec, console_log)

    def cold(self, kernel: Kernel, console_log: Path) -> Machine:
        """As `boot`, but booted for this call."""
        return self._cold(kernel, self._spec(kernel, None, ()), console_log)

    def _spec(self, kernel: Kernel, shape: Shape | None, append: tuple[str, ...]) -> BootSpec:
        words = (*kernel.append, *append)
        return BootSpec(kernel.image.path, self._accel, shape or kernel.shape, words, kernel.name)

    def _cold(self, kernel: Kernel, spec: BootSpec, console_log: Path, memory: Path | None = None) -> Machine:
        keys = images.make_keys()
        modules = kernel.image.modules
        overlay = images.overlay(keys) + (images.modules_archive(modules) if modules else b"")
        directory = process.temporary_directory()
        initrd = directory / "initrd"
        images.write_initrd(self._kit.image.path, overlay, initrd)
        try:
            return Machine.boot(
                spec,
                initrd,
                console_log=console_log,
                ready_mark=images.READY_MARK,
                identity=SshIdentity(keys.client_private, keys.host_public),
                memory=memory,
            )
        finally:
            initrd.unlink()
            directory.rmdir()

    def _clone(self, kernel: Kernel, spec: BootSpec, console_log: Path) -> Machine:
        key = templates.key(kernel.key, self._kit.image.digest, spec)

        def make(template: Snapshot) -> None:
            try:
                machine = self._cold(kernel, spec, console_log, template.memory)
            except InfraError as error:  # a full disk ends QEMU with SIGBUS, in the middle of the boot
                msg = f"no template: {error.message}"
                raise SnapshotFailure(msg, detail=error.detail) from None
            with machine:
                # One that fails is no worse a template: loads in its clones take longer.
                machine.output(_WARM_UP)
                machine.save(template)

        try:
            with contextlib.ExitStack() as held:
                with self._making:
                    template = held.enter_context(self._templates.using(key, make))
                return Machine.clone(template, spec, console_log=console_log)
        except SnapshotFailure:
            self._templates.discard(key)
            raise


def require_btf(machine: Machine, kernel: Kernel) -> None:
    """What only the guest can say of a kernel that we did not build. Raises KernelError."""
    if machine.output("test -r /sys/kernel/btf/vmlinux").status:
        msg = f"kernel {kernel.name} has no BTF: no /sys/kernel/btf/vmlinux in its guest"
        raise KernelError(msg, hint="build it with CONFIG_DEBUG_INFO_BTF=y (needs pahole, package dwarves)")
