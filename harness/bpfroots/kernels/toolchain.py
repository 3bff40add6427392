"""What compiles, links and describes the kernel: part of the key of every build."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bpfroots.errors import InfraError
from bpfroots.kernels.facts import remember
from bpfroots.process import run
from bpfroots.settings import cache_root, jobs

# Equal in every build, so that equal inputs give equal bytes
# (Documentation/kbuild/reproducible-builds.rst). The timestamp also makes scripts/Makefile.btf
# leave out pahole's -j, whose order of types differs from run to run.
_REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "bpfroots",
    "KBUILD_BUILD_HOST": "bpfroots",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
    "LC_ALL": "C",
    "TZ": "UTC",
}

# From our caller's environment; the rest (MAKEFLAGS, ARCH, CFLAGS, ...) would change the build.
_PASSED = ("PATH", "HOME", "TMPDIR", "USER", "LOGNAME")


# gcc and as record the directory they run in, by the name $PWD has for it where that is indeed
# the present directory (libiberty, getpwd); this name is, everywhere. Without it the build id,
# and so the image, would depend on where it was built. Only the compiler may see it:
# `cd ..` of a shell goes by $PWD too (tools/objtool/sync-check.sh).
_COMPILER = """#!/bin/sh
PWD=/proc/self/cwd
export PWD
exec {gcc} "$@"
"""


def environment() -> dict[str, str]:
    """The whole environment of everything that runs make.

    Raises InfraError where there is no gcc.
    """
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    passed["PATH"] = f"{_compiler()}:{passed.get('PATH', os.defpath)}"
    ccache = {
        "CCACHE_DIR": str(cache_root() / "ccache"),
        "CCACHE_MAXSIZE": "5G",
        "CCACHE_NOHASHDIR": "true",
        # What a file includes is known from the dependencies that kbuild has the compiler write. Without this
        # ccache runs the preprocessor for each miss: a first build takes 1.2 to 1.3 times the CPU of a plain
        # one, with it 1.05.
        "CCACHE_DEPEND": "true",
        # Of the real one: our script's time says nothing.
        "CCACHE_COMPILERCHECK": f"string:{_version('gcc')}",
    }
    return {**passed, **_REPRODUCIBLE, **ccache}


def _compiler() -> Path:
    """A directory with the ``gcc`` that names no directory."""
    directory = cache_root() / "toolchain"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = shutil.which("gcc")
    if found is None:
        absent = missing("gcc")
        raise absent
    text = _COMPILER.format(gcc=found)
    script = directory / "gcc"
    if not script.exists() or script.read_text() != text:
        scratch = directory / f"gcc.{os.getpid()}"
        scratch.write_text(text)
        scratch.chmod(0o755)
        scratch.replace(script)
    return directory


def fingerprint() -> str:
    """Versions of compiler, linker and pahole, one line.

    Raises InfraError where there is no compiler or linker. Without pahole there is no BTF,
    which the configuration check reports.
    """
    return "; ".join(_version(tool) for tool in ("gcc", "ld", "pahole"))


def make(source: Path, output: Path, *arguments: str) -> list[str | Path]:
    """A make command on ``source`` with all cores. `environment` has its variables."""
    compiler = ["CC=ccache gcc", "HOSTCC=ccache gcc"] if _with_ccache() else []
    return ["make", "-C", source, f"O={output}", f"-j{jobs()}", *compiler, *arguments]


def _with_ccache() -> bool:
    """CCACHE_DISABLE is ccache's own variable, which our environment for make leaves out."""
    return shutil.which("ccache") is not None and not os.environ.get("CCACHE_DISABLE")


def _version(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        if tool == "pahole":
            return "no pahole"
        raise missing(tool)

    def ask() -> str:
        lines = run([found, "--version"]).stdout.decode(errors="replace").splitlines()
        return lines[0].strip() if lines else ""

    version = remember("version", Path(found), ask)
    return version if version.startswith(("gcc", "GNU")) else f"{tool} {version}"


def missing(tool: str) -> InfraError:
    """The error for a tool that the set-up should have installed."""
    msg = f"{tool}: not found on this machine"
    return InfraError(msg, hint="bpfroots setup")
