"""The architectures of guests: one row each, with all that depends on it but code.

What is code, and has to be written for a further row: the probe of KVM (machine/accel.py), and what a JIT
image consists of (analysis/jit.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arch:
    """An architecture, named as ``uname -m`` does."""

    name: str
    #: ``arch/KBUILD`` of the kernel's source, ``SRCARCH`` in its Makefile.
    kbuild: str
    #: The make target of the kernel that a boot loader takes, and where the build puts it.
    image_target: str
    image: str
    #: QEMU's binary, and Debian's package with it.
    qemu: str
    qemu_package: str
    #: QEMU's board, with nothing on it that is not asked for: every device costs the kernel a probe.
    machine: str
    #: The kernel's name of the first serial port.
    console: str
    #: Words for every kernel, and those for a kernel under emulation.
    cmdline: tuple[str, ...]
    cmdline_tcg: tuple[str, ...]
    #: ``__TARGET_ARCH_x`` of tools/lib/bpf/bpf_tracing.h.
    clang: str
    #: Capstone's names of architecture and mode.
    capstone: tuple[str, str]
    #: A line of an oops that has the function the CPU was in.
    program_counter: str
    #: Operands of an indirect branch, as capstone writes them: a thunk, memory, a register.
    indirect: str
    #: Debian's name of its libraries' directory.
    multiarch: str


X86_64 = Arch(
    name="x86_64",
    kbuild="x86",
    image_target="bzImage",
    image="arch/x86/boot/bzImage",
    qemu="qemu-system-x86_64",
    qemu_package="qemu-system-x86",
    machine="q35,hpet=off,i8042=off,sata=off,smbus=off,usb=off,vmport=off",
    console="ttyS0",
    # spectre_v2: indirect calls go through the same thunks on every CPU model. no5lvl: user addresses as
    # most machines have them.
    cmdline=("spectre_v2=retpoline", "nokaslr", "no5lvl"),
    # arch/x86/kernel/apic/io_apic.c, check_timer() counts ticks against a delay loop and panics
    # ("IO-APIC + timer doesn't work") on an overloaded host. KVM guests skip it by themselves.
    cmdline_tcg=("no_timer_check",),
    clang="x86",
    capstone=("CS_ARCH_X86", "CS_MODE_64"),
    program_counter=r"RIP: 0010:([\w.]+)\+",
    indirect=r"__x86_indirect|.*\[|r(\d+|[abcd]x|[sd]i|[bs]p)$",
    multiarch="x86_64-linux-gnu",
)

#: The architecture of every guest so far.
GUEST = X86_64
