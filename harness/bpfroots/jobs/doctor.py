"""Can this machine run? What is missing comes with what to do about it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from bpfroots import arch, process, settings, system
from bpfroots.errors import BpfrootsError
from bpfroots.machine import Accel, choose_accel
from bpfroots.machine.accel import probe_kvm
from bpfroots.programs import clang

# A cold build: unpacked source 1.7 GB, build directory 1.5 GB, results and ccache beside them.
_DISK_NEEDED_GIB = 8
_ELSEWHERE = "set XDG_CACHE_HOME to a directory on a local file system"


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
    """Try everything a run needs; builds and boots nothing but the accelerator probe."""
    places = [_cache(), _results()]
    if not places[0].ok:
        # The others keep what they find out in the cache.
        os.environ["XDG_CACHE_HOME"] = str(process.temporary_directory())
    checks = [_packages(), _clang(), *places]
    kvm, chosen = Kvm(False, "not probed: no QEMU"), "none"
    if shutil.which(arch.GUEST.qemu):
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
    missing = system.missing()
    if missing:
        return Check("packages", False, f"missing: {' '.join(missing)}", "bpfroots setup")
    return Check("packages", True, f"{len(system.NEEDS)} there")


def _clang() -> Check:
    try:
        found = clang.find()
    except BpfrootsError as error:
        return Check("clang", False, error.message, error.hint)
    return Check("clang", True, f"{found.version} ({found.path})")


def _cache() -> Check:
    try:
        path = settings.cache_root()
    except BpfrootsError as error:
        return Check("cache", False, error.message, error.hint)
    # kbuild makes file names into targets and lists of words.
    if set(" :") & set(str(path)):
        return Check("cache", False, f"{path}: kbuild takes no spaces or colons in its path", _ELSEWHERE)
    return _place("cache", path, [*_KEEPING, *_BUILDING], _ELSEWHERE)


def _results() -> Check:
    path = settings.results_root()
    return _place("results", path, _KEEPING, "check its permissions, and what file system it is on")


def _place(name: str, path: Path, trials: list[tuple[str, _Trial]], fix: str) -> Check:
    """Do in a directory what runs do there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        scratch = process.temporary_directory(".doctor-", path)
    except OSError as error:
        return Check(name, False, f"{path}: cannot be written to: {error.strerror}", fix)
    try:
        why = _failure(scratch, trials)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if why:
        return Check(name, False, f"{path}: {why}", fix)
    free = shutil.disk_usage(path).free / 2**30
    detail = f"{path}, {free:.0f} GiB free"
    if free < _DISK_NEEDED_GIB:
        return Check(name, False, detail, f"free {_DISK_NEEDED_GIB} GiB there")
    return Check(name, True, detail)


def _failure(scratch: Path, trials: list[tuple[str, _Trial]]) -> str:
    """What cannot be done there; empty where all can."""
    for what, trial in trials:
        try:
            trial(scratch)
        except OSError as error:
            return f"cannot {what}: {error.strerror or error}"
    return ""


_Trial = Callable[[Path], object]


def _write(directory: Path) -> None:
    with (directory / "new").open("wb") as file:
        file.write(b"#!/bin/sh\n")
        os.fsync(file.fileno())


def _lock(directory: Path) -> None:
    """A lock that keeps others out: some network file systems grant every one."""
    with (directory / "lock").open("w") as first, (directory / "lock").open("w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    msg = "it is granted twice"
    raise OSError(msg)


def _replace(directory: Path) -> None:
    (directory / "old").touch()
    (directory / "new").rename(directory / "old")


def _run(directory: Path) -> None:
    """Not on a file system that is mounted noexec."""
    (directory / "old").chmod(0o700)
    subprocess.run([directory / "old"], check=True, timeout=10)


def _tell_case(directory: Path) -> None:
    """A kernel's tree has xt_TCPMSS.c and xt_tcpmss.c."""
    (directory / "xt_mark.h").touch()
    if (directory / "xt_MARK.h").exists():
        msg = "xt_mark.h and xt_MARK.h are one"
        raise OSError(msg)


# In this order: a file that one has left is the next one's.
_KEEPING: list[tuple[str, _Trial]] = [
    ("write a file", _write),
    ("lock a file (flock)", _lock),
    ("replace a file by renaming another", _replace),
]
_BUILDING: list[tuple[str, _Trial]] = [
    ("run a program", _run),
    ("make a symbolic link", lambda directory: (directory / "link").symlink_to("old")),
    ("tell names apart by case", _tell_case),
]
