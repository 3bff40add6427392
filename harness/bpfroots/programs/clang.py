"""The clang that compiles programs: which one, and where it looks for this machine's headers."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfroots import process
from bpfroots.errors import InfraError
from bpfroots.kernels.facts import remember

# Newest first: libbpf's __array() maps and cpu v3 need clang 12, .maps BTF of globals 13.
_CLANGS = ("clang-19", "clang-20", "clang-18", "clang-17", "clang-16", "clang-15", "clang")
_SEARCHED = re.compile(r"^#include <\.\.\.> search starts here:\n(.*?)^End of search list\.", re.M | re.S)
_VERSION = re.compile(r"\bclang version \d+")
# An empty program, through the code generator: every clang's front end knows the target.
_PROBE = ("-target", "bpf", "-mcpu=v3", "-x", "c", "-c", "/dev/null", "-o", "/dev/null")
_TIMEOUT_S = 20.0
# Variables that add directories with headers.
_INCLUDED_BY = ("CPATH", "C_INCLUDE_PATH")


@dataclass(frozen=True)
class Clang:
    """A clang that compiles for BPF. ``version`` is the first line of its --version."""

    path: Path
    version: str


def find(names: Sequence[str] = _CLANGS) -> Clang:
    """``$CLANG``, else the first of ``names`` on PATH: by default those of a suitable version.

    Raises InfraError where there is none, or where it is no clang or does not compile for BPF.
    """
    wanted = os.environ.get("CLANG")
    for name in (wanted,) if wanted else names:
        if found := shutil.which(name):
            path = Path(found).absolute()
            return Clang(path, _version(path, f"CLANG={wanted}" if wanted else found))
    if not wanted:
        msg = f"no clang: {names[0]} is not on PATH"
        raise InfraError(msg, hint="bpfroots setup")
    shown = f"CLANG={wanted}"
    raise _unusable(shown, "not an executable file" if Path(wanted).exists() else "no such program")


def _version(path: Path, shown: str) -> str:
    """What it calls itself. Raises InfraError, which names it as ``shown``, where it cannot be used."""

    def ask() -> str:
        said = process.run([path, "--version"], timeout=_TIMEOUT_S).stdout.decode(errors="replace")
        version = said.partition("\n")[0].strip()
        if not _VERSION.search(version):
            why = f"not a clang: its --version prints {version!r}"
            raise _unusable(shown, why)
        done = process.run([path, *_PROBE], timeout=_TIMEOUT_S)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            why = f"does not compile for BPF: {lines[0]}"
            raise _unusable(shown, why)
        return version

    # A wrapper (ccache, a script) stays as it is when what it calls becomes another: ask it every time.
    return remember("clang", path, ask) if path.resolve().name.startswith("clang") else ask()


def _unusable(shown: str, why: str) -> InfraError:
    msg = f"{shown}: {why}"
    return InfraError(
        msg, hint=f"set CLANG to a clang with the BPF target; bpfroots setup installs {_CLANGS[0]}"
    )


def system_includes(clang: Clang) -> tuple[Path, ...]:
    """The directories where it looks for headers when it compiles for this machine, in order.

    With -target bpf it leaves out the one of this architecture, which <linux/types.h> needs.
    As get_sys_includes of tools/testing/selftests/bpf/Makefile.
    """

    def ask() -> str:
        done = process.run([clang.path, "-v", "-E", "-"], timeout=_TIMEOUT_S)
        listed = _SEARCHED.search(done.stderr.decode(errors="replace"))
        return "\n".join(line.strip() for line in listed[1].splitlines()) if listed else ""

    real = clang.path.resolve().name.startswith("clang") and not any(map(os.environ.get, _INCLUDED_BY))
    said = remember("includes", clang.path, ask) if real else ask()
    return tuple(map(Path, said.splitlines()))
