"""Can this machine run? Each lack with the command that mends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from harness import settings, system
from harness.errors import BpfrootsError
from harness.machine import Accel, choose_accel
from harness.machine.accel import probe_kvm
from harness.programs import clang

# A cold build: unpacked source 1.7 GB, build directory 1.5 GB, results and ccache beside them.
_DISK_NEEDED_GIB = 8


class Check(msgspec.Struct):
    name: str
    ok: bool
    detail: str
    fix: str = ""


class Kvm(msgspec.Struct):
    usable: bool
    reason: str


class Accelerator(msgspec.Struct):
    chosen: str
    kvm: Kvm


class Examination(msgspec.Struct):
    """``bpfroots doctor --json``. ``ok``: able to run, if only under emulation."""

    ok: bool
    accelerator: Accelerator
    checks: list[Check]


def examine() -> Examination:
    """Look at everything a run needs; builds and boots nothing but the accelerator probe."""
    checks = [_packages(), _clang(), *_directories()]
    kvm, chosen = Kvm(False, "not probed: no QEMU"), "none"
    if shutil.which("qemu-system-x86_64"):
        probe = probe_kvm()
        kvm = Kvm(probe.usable, probe.reason)
        try:
            accel: Accel = choose_accel("auto")
            chosen = accel.name
            checks.append(Check("accelerator", True, _accelerator_words(chosen, kvm)))
        except BpfrootsError as error:
            checks.append(Check("accelerator", False, error.message, error.hint))
    return Examination(all(check.ok for check in checks), Accelerator(chosen, kvm), checks)


def _accelerator_words(chosen: str, kvm: Kvm) -> str:
    return "KVM runs guests" if chosen == "kvm" else f"emulation (TCG); no KVM: {kvm.reason}"


def _packages() -> Check:
    lacking = system.missing()
    if lacking:
        return Check("packages", False, f"missing: {' '.join(lacking)}", "bpfroots setup")
    return Check("packages", True, f"{len(system.NEEDS) + 1} there")


def _clang() -> Check:
    try:
        found = clang.find()
    except BpfrootsError as error:
        return Check("clang", False, error.message, error.hint)
    return Check("clang", True, f"{found.version} ({found.path})")


def _directories() -> list[Check]:
    places = {"cache": settings.cache_root(), "results": settings.project_root() / "results"}
    return [_directory(name, path) for name, path in places.items()]


def _directory(name: str, path: Path) -> Check:
    free = shutil.disk_usage(path).free / 2**30
    detail = f"{path}, {free:.0f} GiB free"
    if free < _DISK_NEEDED_GIB:
        return Check(name, False, detail, f"free {_DISK_NEEDED_GIB} GiB there, or set XDG_CACHE_HOME")
    return Check(name, True, detail)
