"""Programs built from the kernel source: libbpf, bpftool and the in-guest runner.

All are static: bpftool and the runner go into the image, and bpftool also runs on the host
(``bpftool btf dump file vmlinux format c``).
"""

from __future__ import annotations

import logging
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bpfroots import process
from bpfroots.errors import InfraError, KernelError
from bpfroots.progress import Progress
from bpfroots.settings import jobs, resource

_log = logging.getLogger(__name__)

# libbfd is for `bpftool prog dump jited`, 2.7 MB of bpftool's 4.3. LLVM would do it as well, with 346 MB of
# packages instead of 30. The interface is that of binutils 2.39 and later. The skeletons would need a clang
# for `bpftool prog profile` alone, and libcap is for users other than root.
_BPFTOOL_FEATURES = {
    "libbfd": 1,
    "disassembler-four-args": 1,
    "disassembler-init-styled": 1,
    "llvm": 0,
    "clang-bpf-co-re": 0,
    "libcap": 0,
}
# What a static libbfd needs and bpftool's Makefile does not know.
_BFD_NEEDS = "-lsframe -lzstd -liberty -lz"


@dataclass(frozen=True)
class Tools:
    """Paths of what is built. ``include`` has libbpf's headers, as <bpf/bpf_helpers.h>."""

    runner: Path
    bpftool: Path
    include: Path

    @classmethod
    def at(cls, directory: Path) -> Self:
        """What build_tools made in ``directory``."""
        return cls(directory / "bpfroots-runner", directory / "bpftool", directory / "include")


def runner_sources() -> list[Path]:
    """The files, beside the kernel's, that decide what build_tools makes: for a cache key."""
    ours = (p for p in _runner_directory().iterdir() if p.suffix in (".c", ".h") or p.name == "Makefile")
    return [*sorted(ours), Path(__file__)]


def build_tools(source: Path, out: Path, progress: Progress) -> Tools:
    """Build into the directory ``out`` from the kernel tree ``source``, which is not written to.

    Raises KernelError where ``source`` has no tools/ or does not compile, InfraError where the
    runner itself does not compile or a program is missing.
    """
    if not (source / "tools/bpf/bpftool/Makefile").is_file():
        msg = f"{source}: no kernel source tree with tools/bpf/bpftool there"
        raise KernelError(msg)
    source, out = source.resolve(), out.resolve()
    build = out / "build"
    build.mkdir(parents=True, exist_ok=True)
    with progress.task("tools     bpftool, libbpf, runner"):
        _make_bpftool(source, build, out / "bpftool.log")
        _make_runner(source, build, out / "runner.log")
        tools = Tools.at(out)
        shutil.copytree(build / "libbpf/include", tools.include)
        strip(build / "bpftool", tools.bpftool)
        strip(build / "runner/bpfroots-runner", tools.runner)
        shutil.rmtree(build)
    return tools


def _runner_directory() -> Path:
    return resource("images/runner")


def _libbfd(directory: Path) -> None:
    """Put into ``directory`` a libbfd.a that is the host's, and all that it needs. Raises InfraError."""
    found = process.run(["gcc", "-print-file-name=libbfd.a"], timeout=60).stdout.decode().strip()
    if not Path(found).is_absolute():  # gcc repeats the name of what it does not find
        msg = (
            "libbfd.a: not found on this machine (Debian package binutils-dev); the guest's bpftool needs it"
        )
        raise InfraError(msg, hint="bpfroots setup")
    directory.mkdir()
    # A linker script, as binutils itself installs one for libbfd.so.
    (directory / "libbfd.a").write_text(f"GROUP ( {found} {_BFD_NEEDS} )\n")


def _make_bpftool(source: Path, build: Path, log: Path) -> None:
    _libbfd(build / "lib")
    argv = [
        "make",
        f"-j{jobs()}",
        f"--directory={source}/tools/bpf/bpftool",
        f"OUTPUT={build}/",
        f"EXTRA_CFLAGS=-ffile-prefix-map={source}=. -ffile-prefix-map={build}=.",
        f"EXTRA_LDFLAGS=-static -L{build}/lib",
        *(f"feature-{name}={value}" for name, value in _BPFTOOL_FEATURES.items()),
        f"{build}/bpftool",
    ]
    if make(argv, log):
        msg = f"bpftool of {source} does not build: {first_error(log)}"
        raise KernelError(msg, detail=tail(log))


def _make_runner(source: Path, build: Path, log: Path) -> None:
    argv = [
        "make",
        f"-j{jobs()}",
        f"--directory={_runner_directory()}",
        f"KERNEL={source}",
        f"LIBBPF={build}/libbpf",
        f"OUT={build}/runner",
    ]
    if make(argv, log):
        msg = f"the runner does not build: {first_error(log)}"
        raise InfraError(msg, detail=tail(log), hint="bpfroots setup")


def make(argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> int:
    """Run a build command to its end, all it says into ``log``; its exit status."""
    _log.info("%s", shlex.join(map(str, argv)))
    start = time.monotonic()
    with log.open("wb") as stream, process.spawn(argv, env=env, stdout=stream, stderr=stream) as child:
        status = child.wait()
    _log.info("%s: status %d after %.1f s", argv[0], status, time.monotonic() - start)
    return status


def first_error(log: Path) -> str:
    """The line of a build's log that says why it failed."""
    lines = log.read_text(errors="replace").splitlines()
    wanted = ("error:", "fatal error", "cannot find", "undefined reference", "No rule", "***")
    found = next((line for mark in wanted for line in lines if mark in line), "")
    return found.strip() or (lines[-1].strip() if lines else "no output")


def tail(log: Path) -> str:
    """The end of a build's log, for an error's detail."""
    # Not its path: where the build is one of a cache's, the directory goes with the failure.
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


def strip(built: Path, to: Path) -> None:
    """``built`` without symbols, at ``to``."""
    done = process.run(["strip", "-o", to, built], timeout=60)
    if done.returncode:
        msg = f"strip {built}: {done.stderr.decode(errors='replace').strip()}"
        raise InfraError(msg)
