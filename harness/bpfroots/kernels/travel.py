"""A built kernel as bytes, from one machine's cache to another's."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from bpfroots import cache
from bpfroots.errors import InfraError, KernelError
from bpfroots.kernels import build
from bpfroots.kernels.spec import Definition
from bpfroots.progress import Progress
from bpfroots.settings import cache_root


def key_of(request: Definition, progress: Progress) -> str:
    """The key that the kernel of ``request`` has on this machine. Builds nothing; raises as `ensure` does."""
    return build.plan(request, progress).key


def pack(request: Definition, key: str, progress: Progress) -> bytes:
    """The kernel ``key``, built where it is not there yet. Raises KernelError where this machine would build
    another one, or none."""
    wanted = build.plan(request, progress)
    if wanted.key != key:
        msg = f"{request.name}: this machine would build another kernel ({wanted.key[:12]}, not {key[:12]})"
        raise KernelError(msg, hint="the same source, patches, fragments and compiler on all machines")
    entry = build.built(wanted, progress)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for file in sorted(entry.iterdir()):
            if not file.name.startswith("."):
                archive.add(file, file.name)
    return packed.getvalue()


def unpack(key: str, content: bytes, progress: Progress) -> None:
    """Put what `pack` has made into the cache. Raises InfraError."""

    def populate(out: Path) -> None:
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(out, filter="data")
        except tarfile.TarError as error:
            msg = f"a kernel that came from another machine is damaged: {error}"
            raise InfraError(msg, hint="try again") from None

    cache.Cache(cache_root(), "kernel", progress.say).get(key, populate)
