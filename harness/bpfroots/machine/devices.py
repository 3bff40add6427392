"""A machine as a list of parts, each of which yields QEMU arguments and kernel arguments.

Nothing here starts anything; a part can be looked at without QEMU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bpfroots import arch
from bpfroots.machine.accel import Accel
from bpfroots.shape import STANDARD, Shape


class Device(Protocol):
    """One feature of the machine."""

    def args(self) -> Sequence[str]:
        """Arguments for QEMU."""
        ...

    def kernel_args(self) -> Sequence[str]:
        """Words for the kernel's command line."""
        ...


class _Part:
    """A device that needs nothing from one of the two sides."""

    def args(self) -> Sequence[str]:
        return ()

    def kernel_args(self) -> Sequence[str]:
        return ()


@dataclass(frozen=True)
class BootSpec:
    """What is booted, and on what: all that two guests have in common when one may be a clone of the other.

    ``append`` are further words for the kernel; ``name`` and ``qemu`` are the process's.
    """

    kernel: Path
    accel: Accel
    shape: Shape = STANDARD
    append: tuple[str, ...] = ()
    name: str = "guest"
    qemu: str = arch.GUEST.qemu


@dataclass(frozen=True)
class Board(_Part):
    """The architecture's, and nothing on it that is not asked for."""

    def args(self) -> Sequence[str]:
        return ("-machine", arch.GUEST.machine, "-display", "none")


@dataclass(frozen=True)
class Processor(_Part):
    accel: Accel
    shape: Shape

    def args(self) -> Sequence[str]:
        accel: str = "tcg" if self.shape.icount else self.accel.name
        if self.accel.one_thread and self.shape.cpus > 1:
            accel = "tcg,thread=single"
        cpu = ("-cpu", self.shape.cpu or self.accel.cpu, "-smp", str(self.shape.cpus))
        icount = ("-icount", "shift=0,sleep=off") if self.shape.icount else ()
        return ("-accel", accel, *cpu, *icount)

    def kernel_args(self) -> Sequence[str]:
        # A starved emulator looks like a locked-up CPU: the detectors (20 s and 21 s by
        # default) wait longer by the same factor as everything else, within their limits.
        slowdown = self.accel.slowdown_of(self.shape.cpus)
        watchdog = min(60, round(10 * slowdown))
        stall = min(300, round(21 * slowdown))
        # Since 7.3 a thread prints to the serial console, and a CPU that is stuck does not run it: only
        # a panic prints what is waiting.
        detectors = (f"watchdog_thresh={watchdog}", "softlockup_panic=1")
        common = (*detectors, f"rcupdate.rcu_cpu_stall_timeout={stall}")
        if self.accel.name == "kvm":
            return common
        return (*common, *arch.GUEST.cmdline_tcg)


@dataclass(frozen=True)
class Backing:
    """Guest memory in a file: a template's is the file, a clone's is a copy of it, page by page on write.

    A clone waits for the rest of its template's state (`snapshot.restore`).
    """

    file: Path
    clone: bool

    def args(self, mib: int) -> Sequence[str]:
        share = "off" if self.clone else "on"
        path = str(self.file).replace(",", ",,")
        return (
            *("-object", f"memory-backend-file,id=ram,size={mib}M,mem-path={path},share={share}"),
            *("-machine", "memory-backend=ram"),
            *(("-incoming", "defer") if self.clone else ()),
        )


@dataclass(frozen=True)
class Memory(_Part):
    mib: int
    backing: Backing | None = None

    def args(self) -> Sequence[str]:
        return ("-m", f"{self.mib}M", *(self.backing.args(self.mib) if self.backing else ()))

    def kernel_args(self) -> Sequence[str]:
        # A guest short of memory dies with words instead of losing processes one by one.
        return ("sysctl.vm.panic_on_oom=1",)


@dataclass(frozen=True)
class Console(_Part):
    """The first serial port on QEMU's standard input and output, which are our pipes.

    Not a socket: each of the UART's one-byte writes costs a socket buffer of some 700 bytes, 300
    characters fill it, and after four retries hw/char/serial.c drops what does not fit.
    """

    def args(self) -> Sequence[str]:
        return ("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console")

    def kernel_args(self) -> Sequence[str]:
        return (f"console={arch.GUEST.console}", "printk.time=1")


@dataclass(frozen=True)
class Monitor(_Part):
    """QMP on an inherited socket."""

    fd: int

    def args(self) -> Sequence[str]:
        return ("-chardev", f"socket,id=qmp,fd={self.fd}", "-mon", "chardev=qmp,mode=control")


@dataclass(frozen=True)
class Random(_Part):
    """Without it a guest's first getrandom() waits, and so does SSH."""

    def args(self) -> Sequence[str]:
        return ("-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng")


@dataclass(frozen=True)
class Network(_Part):
    """User-mode network that reaches nothing (restrict=on), SSH forwarded from 127.0.0.1.

    Port 0: QEMU binds a free one itself and tells it by "info usernet"; a port looked for
    beforehand can be gone by then. romfile: no PXE. guest_announce: a clone would tell the network
    where it is now, and there is nothing on it that must know.
    """

    def args(self) -> Sequence[str]:
        forward = "hostfwd=tcp:127.0.0.1:0-:22"
        return (
            *("-netdev", f"user,id=net,restrict=on,ipv6=off,{forward}"),
            *("-device", "virtio-net-pci,netdev=net,romfile=,guest_announce=off"),
        )


@dataclass(frozen=True)
class PanicEvent(_Part):
    """pvpanic: a panic is an event even where the console stays silent.

    panic=none lets the kernel print its trace to the end and reset by itself (panic=-1).
    """

    def args(self) -> Sequence[str]:
        return ("-device", "pvpanic-pci", "-action", "panic=none", "-no-reboot")

    def kernel_args(self) -> Sequence[str]:
        # An oops that kills a process only leaves a guest whose later answers mean nothing.
        return ("panic=-1", "oops=panic")


@dataclass(frozen=True)
class Boot(_Part):
    """Kernel and initramfs, and what makes two boots comparable.

    nokaslr: equal addresses in equal kernels.
    """

    kernel: Path
    initrd: Path | None
    append: tuple[str, ...] = ()

    def args(self) -> Sequence[str]:
        return ("-kernel", str(self.kernel), *(("-initrd", str(self.initrd)) if self.initrd else ()))

    def kernel_args(self) -> Sequence[str]:
        return (*arch.GUEST.cmdline, "net.ifnames=0", *self.append)


def machine_parts(
    spec: BootSpec, initrd: Path | None, *, qmp_fd: int, backing: Backing | None = None
) -> list[Device]:
    """Everything a guest of this project has. ``initrd`` is None for a clone, whose memory has it."""
    return [
        Board(),
        Processor(spec.accel, spec.shape),
        Memory(spec.shape.memory_mib, backing),
        Console(),
        Monitor(qmp_fd),
        Random(),
        Network(),
        PanicEvent(),
        Boot(spec.kernel, initrd, spec.append),
    ]


def command_line(spec: BootSpec, parts: Iterable[Device]) -> list[str]:
    """The QEMU command for these parts of a machine."""
    devices = list(parts)
    words = " ".join(word for part in devices for word in part.kernel_args())
    arguments = [argument for part in devices for argument in part.args()]
    # -nodefaults, -no-user-config: the same machine on every host.
    return [spec.qemu, "-nodefaults", "-no-user-config", "-name", spec.name, *arguments, "-append", words]
