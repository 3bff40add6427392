"""C → BPF ELF, by clang, cached by content."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from harness import process
from harness.cache import Cache
from harness.errors import InfraError, UserError
from harness.programs import clang
from harness.programs.clang import Clang

_FLAGS = ("-target", "bpf", "-D__TARGET_ARCH_x86", "-mcpu=v3", "-g", "-O2", "-Wall")
_ERROR = re.compile(r"^(?P<where>[^\s:]+:\d+:\d+): (?:fatal )?error: (?P<what>.*)$")
_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Toolchain:
    """What a program is compiled with.

    ``include`` holds bpf/bpf_helpers.h and its kin, ``vmlinux_h`` is a directory with vmlinux.h
    in it. ``digest`` covers both; it is part of every object's key.
    """

    clang: Clang
    include: Path
    vmlinux_h: Path
    digest: str


def toolchain(include: Path, vmlinux_h: Path, digest: str) -> Toolchain:
    """The toolchain over headers whose content ``digest`` stands for. Raises InfraError without a clang."""
    return Toolchain(clang.find(), include, vmlinux_h, digest)


def make_vmlinux_h(bpftool: Path, vmlinux: Path, out: Path) -> None:
    """Write vmlinux.h, the kernel's types as C, into the directory ``out``."""
    done = process.run([bpftool, "btf", "dump", "file", vmlinux, "format", "c"], timeout=_TIMEOUT_S)
    if done.returncode or not done.stdout:
        why = done.stderr.decode(errors="replace").strip() or "no output"
        msg = f"{vmlinux}: no C from its BTF: {why}"
        raise InfraError(msg)
    (out / "vmlinux.h").write_bytes(done.stdout)


def compile_source(
    tools: Toolchain, cache: Cache, source: bytes, name: str, near: Path | None = None
) -> Path:
    """The object of a C source, from the cache where it was compiled before.

    ``name`` is what errors call it. ``near`` is a directory searched for its own includes; a
    source with such includes is compiled anew each time the directory's headers change.
    Raises UserError with clang's first error where it does not compile.
    """
    headers = sorted(near.glob("*.h")) if near else []
    key = hashlib.sha256()
    for part in (tools.clang.version, tools.digest, " ".join(_FLAGS), name):
        key.update(part.encode() + b"\0")
    key.update(source + b"\0")
    for header in headers:
        key.update(header.name.encode() + b"\0" + header.read_bytes() + b"\0")

    def populate(out: Path) -> None:
        _clang(tools, source, name, near, out / "object.bpf.o")

    return cache.get(key.hexdigest(), populate) / "object.bpf.o"


def _clang(tools: Toolchain, source: bytes, name: str, near: Path | None, out: Path) -> None:
    file = out.with_name(Path(name).name if name.endswith(".c") else f"{Path(name).name}.bpf.c")
    file.write_bytes(source)
    includes = [tools.vmlinux_h, tools.include, *([near] if near else [])]
    # No directory of this machine in the debug info: the same source gives the same object anywhere.
    places = ["-fdebug-compilation-dir=.", *(f"-ffile-prefix-map={path}=." for path in includes)]
    flags = [*_FLAGS, *(f"-I{path}" for path in includes), *places]
    done = process.run(
        [tools.clang.path, *flags, "-c", file.name, "-o", out], cwd=file.parent, timeout=_TIMEOUT_S
    )
    if done.returncode:
        raise UserError(_first_error(name, done.stderr.decode(errors="replace")))


def _first_error(name: str, text: str) -> str:
    """clang's first error in one line, and how many more there are."""
    found = [match for line in text.splitlines() if (match := _ERROR.match(line))]
    if not found:
        last = text.strip().splitlines()[-1:] or ["no message"]
        return f"{name}: clang failed: {last[0]}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{name}:{found[0]['where'].partition(':')[2]}: {found[0]['what']}{more}"
