"""Which accelerator can be used, and why KVM cannot where it cannot.

/dev/kvm can lie: it opens, answers KVM_GET_API_VERSION and KVM_CREATE_VM, and still no
guest runs. QEMU then aborts on an MSR, or stops with "KVM internal error", or spins in
the kernel for ever; `-accel kvm:tcg` does not fall back in any of these. Real-mode code
may even run where long mode does not. So the probe runs guest code that reaches
long mode to a positive mark, under a deadline.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bpfroots import arch
from bpfroots.errors import InfraError, UserError
from bpfroots.kernels.facts import remember
from bpfroots.process import run, spawn, temporary_directory
from bpfroots.settings import cache_root

AccelName = Literal["kvm", "tcg"]
# The probe is code of this one.
_QEMU = arch.X86_64.qemu
KVM_DEVICE = Path("/dev/kvm")
#: Seconds the probe may take; it needs 0.1.
PROBE_DEADLINE = 8.0

# How much slower a guest is than with KVM, for deadlines: a boot takes 1 s with KVM and 4-14 s
# without (virtme-ng PR#110), on machines that are often loaded as well.
SLOWDOWN: dict[AccelName, float] = {"kvm": 1.0, "tcg": 4.0}


@dataclass(frozen=True)
class Accel:
    """The accelerator in use. ``reason`` says why this one; ``slowdown`` scales `Deadlines`. ``one_thread``:
    all CPUs of a guest take turns in one thread of QEMU (`_runs_stale_code`)."""

    name: AccelName
    reason: str
    slowdown: float
    one_thread: bool = False

    def slowdown_of(self, cpus: int) -> float:
        """How much slower a guest with that many CPUs is than one with KVM."""
        return self.slowdown * (cpus if self.one_thread else 1)

    @property
    def cpu(self) -> str:
        """QEMU's CPU model where the caller names none.

        The richest in either case, so that the JIT finds the same extensions (BMI2, ...) under
        both; under TCG `max` boots as fast as qemu64 (4.5-5.4 s against 5.0-5.1 s).
        """
        return "host" if self.name == "kvm" else "max"


@dataclass(frozen=True)
class KvmProbe:
    """Can KVM run a guest here? ``reason`` is in words either way."""

    usable: bool
    reason: str


_MARK = b"bpfroots-probe\n"

# Page tables for the first 2 MiB at 0x1000 (QEMU clears RAM), straight from real to long mode,
# one cpuid (always an exit under KVM), the mark to QEMU's debug console (port 0xe9), out.
_CODE = (
    bytes.fromhex(
        "fa"  # cli
        "31c0 8ed8"  # xor ax,ax; mov ds,ax
        "c706 0010 0320"  # mov word [0x1000],0x2003    PML4[0] -> 0x2000
        "c706 0020 0330"  # mov word [0x2000],0x3003    PDPT[0] -> 0x3000
        "c706 0030 8300"  # mov word [0x3000],0x0083    PD[0]: a 2 MiB page at 0
        "66b8 00100000 0f22d8"  # mov eax,0x1000; mov cr3,eax
        "66b8 20000000 0f22e0"  # mov eax,CR4.PAE; mov cr4,eax
        "66b9 800000c0 66b8 00010000 6631d2 0f30"  # wrmsr EFER <- LME
        "2e660f0116 9000"  # lgdt cs:[0x90]
        "66b8 11000080 0f22c0"  # mov eax,CR0.PG|ET|PE; mov cr0,eax
        "66ea 52000f00 0800"  # jmp 8:0xf0052
        "31c0 0fa2"  # 64 bit: xor eax,eax; cpuid
        "488d35 12000000 b9 0f000000 66bae900 f36e"  # rsi=&mark; ecx=15; dx=0xe9; rep outsb
        "b02a e6f4"  # mov al,42; out 0xf4,al           isa-debug-exit: QEMU exits 85
        "f4 ebfd"  # hlt; jmp hlt
    )
    + _MARK
    + bytes.fromhex(
        "6690"  # alignment
        "0000000000000000 ffff0000009aaf00"  # GDT: null, 64-bit code
        "0f00 80000f00"  # its limit and address, 0xf0080
    )
)
_RESET_VECTOR = bytes.fromhex("ea 0000 00f0")  # jmp 0xf000:0x0000
_ROM_SIZE = 0x10000
_EXIT_STATUS = 42 << 1 | 1


def _rom() -> bytes:
    rom = bytearray(b"\xff" * _ROM_SIZE)
    rom[: len(_CODE)] = _CODE
    rom[0xFFF0 : 0xFFF0 + len(_RESET_VECTOR)] = _RESET_VECTOR
    return bytes(rom)


def run_guest_code(accel: AccelName, cpu: str, deadline: float = PROBE_DEADLINE) -> str:
    """Run a few instructions as a guest; the empty string where they ran, else why not.

    Raises InfraError where QEMU is not installed.
    """
    directory = temporary_directory()
    bios = directory / "probe.rom"
    bios.write_bytes(_rom())
    command: list[str | Path] = [
        *(
            _QEMU,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "q35",
            "-m",
            "16",
        ),
        *("-accel", accel, "-cpu", cpu, "-bios", bios, "-no-reboot"),
        *("-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
    ]
    ended = True
    with spawn(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as qemu:
        try:
            out, err = qemu.popen.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            ended = False
            qemu.kill()
            out, err = qemu.popen.communicate()
    bios.unlink()
    directory.rmdir()
    if out == _MARK and ended and qemu.popen.returncode == _EXIT_STATUS:
        return ""
    return _explain(qemu.popen.returncode if ended else None, err.decode(errors="replace"), deadline)


def _explain(status: int | None, stderr: str, deadline: float) -> str:
    """Why no mark came: ``status`` is QEMU's exit status, None where it had to be killed."""
    lines = [line.removeprefix(f"{_QEMU}: ").strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "internal error" in line] or [
        line.removeprefix("error: ") for line in lines if "error:" in line
    ]
    said = (errors or [line for line in lines if not line.startswith("warning:")] or [""])[0]
    if status is None:
        words = f"QEMU started but ran no guest code within {deadline:g} s"
    elif status < 0:
        words = f"QEMU died of {signal.Signals(-status).name}"
    else:
        words = f"QEMU ended with status {status} before the guest's mark"
    return f"{words}: {said}" if said else words


def probe_kvm(*, fresh: bool = False) -> KvmProbe:
    """Whether KVM runs guest code here.

    An answer from QEMU is kept per boot of the host, QEMU version and deadline; ``fresh`` asks
    again. Raises InfraError where QEMU is not installed.
    """
    if not KVM_DEVICE.exists():
        return KvmProbe(False, f"{KVM_DEVICE} does not exist: no KVM module, or a VM or container without it")
    try:
        os.close(os.open(KVM_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return KvmProbe(False, f"no permission to open {KVM_DEVICE}: add yourself to its group")
    except OSError as error:
        return KvmProbe(False, f"{KVM_DEVICE} does not open: {error.strerror}")
    key = [_boot_id(), qemu_version(), PROBE_DEADLINE]
    store = cache_root() / "kvm-probe.json"
    if not fresh and (known := _recall(store, key)):
        return known
    why = run_guest_code("kvm", "host")
    if why:
        result = KvmProbe(False, f"{KVM_DEVICE} is there but runs no guest: {why}")
    else:
        result = KvmProbe(True, "KVM ran guest code")
    _remember(store, key, result)
    return result


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _recall(store: Path, key: list[object]) -> KvmProbe | None:
    try:
        kept = json.loads(store.read_bytes())
        if kept["key"] == key:
            return KvmProbe(bool(kept["usable"]), str(kept["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: asked again
    return None


def _remember(store: Path, key: list[object], result: KvmProbe) -> None:
    temporary = store.with_name(f"{store.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"key": key, "usable": result.usable, "reason": result.reason}))
    temporary.replace(store)


def qemu_version() -> str:
    """First line of what QEMU's ``--version`` prints. Raises InfraError where it is missing."""

    def ask() -> str:
        done = run([arch.GUEST.qemu, "--version"], timeout=10)
        return done.stdout.decode(errors="replace").partition("\n")[0]

    found = shutil.which(arch.GUEST.qemu)
    return remember("version", Path(found), ask) if found else ask()


def choose_accel(requested: str = "auto") -> Accel:
    """The accelerator for ``auto``, ``kvm`` or ``tcg``.

    Raises InfraError where ``kvm`` is demanded and unusable, UserError for another word. With
    ``auto`` the reason for emulation is in ``Accel.reason``; the caller says it, once.
    """
    if requested not in ("auto", "kvm", "tcg"):
        msg = f"unknown accelerator {requested!r}"
        raise UserError(msg, hint="auto, kvm or tcg")
    if requested == "tcg":
        return _emulation("emulation (TCG) was asked for")
    probe = probe_kvm()
    if probe.usable:
        return Accel("kvm", probe.reason, SLOWDOWN["kvm"])
    if requested == "kvm":
        msg = f"KVM was demanded but is unusable: {probe.reason}"
        raise InfraError(msg, hint="--accel auto, or --accel tcg for emulation")
    return _emulation(probe.reason)


def _emulation(reason: str) -> Accel:
    return Accel("tcg", reason, SLOWDOWN["tcg"], one_thread=_runs_stale_code(qemu_version()))


def _runs_stale_code(version: str) -> bool:
    """Whether this QEMU may run code that another CPU of the guest has changed meanwhile.

    Until 8.1 (QEMU commit deba78709ae8, "accel/tcg: Always lock pages before translation") code that is
    written to while a CPU translates it is translated as it was, and stays so. Kernels change their code all
    the time: four CPUs that run __set_task_comm() while kprobes come and go there jump to 0 within seconds,
    with Debian's own kernels as well (testcases/test_kprobes.py).
    """
    found = re.search(r"version (\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < (8, 1)
