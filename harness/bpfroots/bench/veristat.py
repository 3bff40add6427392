"""veristat of a kernel tree (tools/testing/selftests/bpf/veristat.c): what others ask a verifier with."""

from __future__ import annotations

import shutil
from pathlib import Path

from bpfroots.cache import Cache
from bpfroots.errors import InfraError, KernelError
from bpfroots.images import tree_tools
from bpfroots.images.tools import strip
from bpfroots.images.tree_tools import compile_tool, libbpf_command
from bpfroots.kernels import Kernel
from bpfroots.machine import Machine
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

VERISTAT = "veristat"
#: Where it is in the guest, beside the objects, and what asks for all of them there.
FOLDER = "/tmp/bench"  # noqa: S108
COMMAND = f"./{VERISTAT} -o csv *.bpf.o"
_SOURCE = Path("tools/testing/selftests/bpf/veristat.c")


def of(kernel: Kernel, progress: Progress) -> Path:
    """veristat of the tree that a kernel was built from, out of the cache. Raises KernelError where there is
    no such tree, or veristat does not compile."""
    source = kernel.source
    if source is None:
        msg = f"{kernel.name}: its source is not known, and veristat is part of it"
        raise KernelError(msg)
    inputs = f"{kernel.made.source_id}\0{kernel.made.series_id}"
    key = tree_tools.cache_key(VERISTAT, inputs, Path(__file__))
    cache = Cache(cache_root(), "selftests", progress.say)
    return cache.get(key, lambda out: build_veristat(source, out, progress)) / VERISTAT


def send(machine: Machine, tool: Path, archive: bytes) -> None:
    """``tool``, and the objects that are in ``archive`` (see `bundle.archive`), for `COMMAND` in `FOLDER`.
    Raises InfraError, GuestError."""
    put = f"mkdir -p {FOLDER} && cd {FOLDER} && cat > {VERISTAT} && chmod +x {VERISTAT}"
    for command, stdin in ((put, tool.read_bytes()), (f"cd {FOLDER} && tar x", archive)):
        done = machine.output(command, stdin=stdin)
        if done.status:
            msg = f"no room for the objects: {done.stderr.decode(errors='replace').strip()}"
            raise InfraError(msg)


def build_veristat(source: Path, out: Path, progress: Progress) -> None:
    """Make ``out/veristat``, static and optimised, of the tree ``source``, which is not written to.

    Raises KernelError where the tree has none or it does not compile.
    """
    if not (source / _SOURCE).is_file():
        msg = f"{source}: no {_SOURCE} there"
        raise KernelError(msg)
    build = out / "build"
    (build / "libbpf").mkdir(parents=True)
    with progress.task(f"tools     {VERISTAT}"):
        compile_tool("libbpf", source, libbpf_command(source, build / "libbpf"), out / "libbpf.log")
        compile_tool(VERISTAT, source, _gcc_command(source, build), out / "veristat.log")
        strip(build / VERISTAT, out / VERISTAT)
        shutil.rmtree(build)


def _gcc_command(source: Path, build: Path) -> list[str | Path]:
    includes = (build / "libbpf/include", source / "tools/include", source / "tools/include/uapi")
    return [
        *("gcc", "-static", "-O2", "-w", "-D_GNU_SOURCE", "-Wl,--build-id=none", "-o", build / VERISTAT),
        *(f"-I{folder}" for folder in includes),
        *(source / _SOURCE, build / "libbpf/libbpf.a", "-lelf", "-lz"),
    ]
