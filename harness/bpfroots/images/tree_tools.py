"""Programs that are built of a kernel tree's tools/, for a guest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bpfroots.errors import KernelError
from bpfroots.images.tools import first_error, make, tail
from bpfroots.kernels import toolchain
from bpfroots.settings import jobs


def cache_key(what: str, inputs: str, *recipe: Path) -> str:
    """The key of a program made of a tree that ``inputs`` stands for, by the files ``recipe``."""
    key = hashlib.sha256(f"{what}\0{inputs}\0{toolchain.fingerprint()}".encode())
    for file in (Path(__file__), *recipe):
        key.update(b"\0" + file.read_bytes())
    return key.hexdigest()


def compile_tool(what: str, source: Path, argv: list[str | Path], log: Path) -> None:
    """Run a command that builds ``what`` of the tree ``source``. Raises KernelError."""
    if make(argv, log):
        msg = f"{what} of {source} does not build: {first_error(log)}"
        raise KernelError(msg, detail=tail(log), hint="bpfroots setup, if a header or library is missing")


def libbpf_command(source: Path, build: Path) -> list[str | Path]:
    """The make that puts ``source``'s libbpf.a and its headers (include/bpf) into ``build``."""
    return [
        "make",
        f"-j{jobs()}",
        f"--directory={source / 'tools/lib/bpf'}",
        f"OUTPUT={build}/",
        f"DESTDIR={build}/",
        "prefix=",
        f"{build}/libbpf.a",
        "install_headers",
    ]
