"""C → BPF ELF, by clang, cached by content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfroots import arch, process
from bpfroots.cache import Cache
from bpfroots.errors import InfraError, UserError
from bpfroots.programs import clang
from bpfroots.programs.clang import Clang

_FLAGS = ("-target", "bpf", f"-D__TARGET_ARCH_{arch.GUEST.clang}", "-mcpu=v3", "-g", "-O2", "-Wall")
_ERROR = re.compile(r"^(?P<file>.+?):(?P<place>\d+:\d+): (?:fatal )?error: (?P<what>.*)$")
# A name in a rule of make, as clang -M writes it: "\\ " is a space of it.
_PREREQUISITE = re.compile(r"(?:\\[ #]|[^\s\\]|\\(?!\n))+")
_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Toolchain:
    """What a program is compiled with.

    ``include`` holds bpf/bpf_helpers.h and its kin, ``vmlinux_h`` is a directory with vmlinux.h
    in it. ``digest`` covers both; it is part of every object's key. ``system`` are this machine's own
    headers, searched last.
    """

    clang: Clang
    include: Path
    vmlinux_h: Path
    digest: str
    system: tuple[Path, ...]

    def search(self, near: Sequence[Path]) -> list[str]:
        """clang's options for where headers are."""
        first = [self.vmlinux_h, self.include, *near]
        return [*(f"-I{path}" for path in first), *(f"-idirafter{path}" for path in self.system)]


def toolchain(include: Path, vmlinux_h: Path, digest: str) -> Toolchain:
    """The toolchain over headers whose content ``digest`` stands for. Raises InfraError without a clang."""
    found = clang.find()
    return Toolchain(found, include, vmlinux_h, digest, clang.system_includes(found))


def make_vmlinux_h(bpftool: Path, vmlinux: Path, out: Path) -> None:
    """Write vmlinux.h, the kernel's types as C, into the directory ``out``."""
    done = process.run([bpftool, "btf", "dump", "file", vmlinux, "format", "c"], timeout=_TIMEOUT_S)
    if done.returncode or not done.stdout:
        why = done.stderr.decode(errors="replace").strip() or "no output"
        msg = f"{vmlinux}: no C from its BTF: {why}"
        raise InfraError(msg)
    (out / "vmlinux.h").write_bytes(done.stdout)


def compile_source(
    tools: Toolchain, cache: Cache, source: bytes, name: str, near: Sequence[Path] = ()
) -> Path:
    """The object of a C source, from the cache where it was compiled before.

    ``name`` is what errors call it. ``near`` are the directory that a user's source comes from and others
    that are searched for its own headers: it is compiled anew when any header that it includes has changed.
    Raises UserError with clang's first error where it does not compile.
    """
    key = hashlib.sha256()
    flags = " ".join([*_FLAGS, *map(str, tools.system)])
    for part in (tools.clang.version, tools.digest, flags, name):
        key.update(part.encode() + b"\0")
    key.update(source + b"\0")
    for header in _headers(tools, source, near) if near else ():
        key.update(bytes(header) + b"\0" + header.read_bytes() + b"\0")

    def populate(out: Path) -> None:
        _clang(tools, source, name, near, out / "object.bpf.o")

    return cache.get(key.hexdigest(), populate) / "object.bpf.o"


def _headers(tools: Toolchain, source: bytes, near: Sequence[Path]) -> Iterator[Path]:
    """The headers that a source includes, but for those that the toolchain's digest covers; none where one
    is missing, which the compiler will tell."""
    argv = [*_FLAGS, *tools.search(near), "-M", "-x", "c", "-"]
    # The directory where clang looks first for the includes of a source that has no place.
    done = process.run([tools.clang.path, *argv], cwd=tools.vmlinux_h, input=source, timeout=_TIMEOUT_S)
    names = done.stdout.decode(errors="surrogateescape").partition(":")[2] if not done.returncode else ""
    covered = (tools.vmlinux_h.resolve(), tools.include.resolve())
    for found in _PREREQUISITE.findall(names):
        path = tools.vmlinux_h / found.replace("\\ ", " ").replace("\\#", "#").replace("$$", "$")
        if not any(path.resolve().is_relative_to(directory) for directory in covered):
            yield path


def _clang(tools: Toolchain, source: bytes, name: str, near: Sequence[Path], out: Path) -> None:
    file = out.with_name(Path(name).name if name.endswith(".c") else f"{Path(name).name}.bpf.c")
    file.write_bytes(source)
    # No directory of this machine in the debug info: the same source gives the same object anywhere.
    included = [tools.vmlinux_h, tools.include, *near]
    places = ["-fdebug-compilation-dir=.", *(f"-ffile-prefix-map={path}=." for path in included)]
    argv = [*_FLAGS, *tools.search(near), *places, "-c", file.name, "-o", str(out)]
    done = process.run([tools.clang.path, *argv], cwd=file.parent, timeout=_TIMEOUT_S)
    if done.returncode:
        raise UserError(_first_error(name, file.name, done.stderr.decode(errors="replace")))


def _first_error(name: str, file: str, text: str) -> str:
    """clang's first error in one line, and how many more there are; ``file`` is what clang calls ``name``."""
    found = [match for line in text.splitlines() if (match := _ERROR.match(line))]
    if not found:
        last = text.strip().splitlines()[-1:] or ["no message"]
        return f"{name}: clang failed: {last[0]}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = name if found[0]["file"] == file else found[0]["file"]
    return f"{where}:{found[0]['place']}: {found[0]['what']}{more}"
