"""Static C programs that a guest runs, compiled against the headers of a kernel tree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bpfroots import process
from bpfroots.cache import Cache
from bpfroots.errors import InfraError
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

_FLAGS = (
    "-std=gnu11",
    "-D_GNU_SOURCE",
    "-O2",
    "-Wall",
    "-Werror",
    "-static",
    "-pthread",
    "-Wl,--build-id=none",
)


def build_static(name: str, sources: Sequence[Path], tree: Path, tree_id: str, progress: Progress) -> Path:
    """One program out of ``sources`` (.c, and the .h beside them), from the cache where it is there.

    ``tree`` is a kernel source whose uapi headers, and tools/ as `<include/linux/filter.h>`, the
    program sees; ``tree_id`` stands for its contents. Raises InfraError for C that does not compile.
    """
    key = hashlib.sha256(" ".join((name, tree_id, *_FLAGS)).encode())
    for source in sources:
        key.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    # the macros of instructions include <uapi/linux/filter.h> since 7.3
    headers = (
        *("-isystem", tree / "tools/include/uapi", "-isystem", tree / "tools"),
        *("-idirafter", tree / "tools/include"),
    )
    units = [source for source in sources if source.suffix == ".c"]

    def populate(out: Path) -> None:
        built = process.run(["gcc", *_FLAGS, *headers, "-o", out / name, *units])
        if built.returncode:
            msg = f"{name}: {units[0].parent} does not compile"
            raise InfraError(msg, detail=built.stderr.decode(errors="replace").strip())

    return Cache(cache_root(), "static", progress.say).get(key.hexdigest(), populate) / name
