"""What a run needs before its first guest: kernels, tools, image, and a compiler for programs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bpfroots import images, kernels
from bpfroots.cache import Cache
from bpfroots.kernels import Kernel, Request, spec
from bpfroots.programs import clang
from bpfroots.programs import compile as compiling
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

# A program of a million instructions has a log of 150 MiB.
_ROOMY_MIB = 2048


@dataclass(frozen=True)
class Kit:
    """Kernels to run on, the image they boot into, and compiled programs with what compiles them."""

    kernels: list[Kernel]
    image: images.Image
    runner_sha256: str
    compiler: Callable[[], compiling.Toolchain]
    objects: Cache

    @functools.cached_property
    def toolchain(self) -> compiling.Toolchain:
        """The compiler with the types of `baseline`, which is built if it is not. Raises as `prepare`."""
        return self.compiler()


def prepare(arguments: Sequence[str], progress: Progress, *, types: bool = True) -> Kit:
    """Build, or take from the caches, all that ``--kernel ARGUMENT``... needs.

    Programs are compiled against the types of `baseline` whatever they run on (CO-RE): it is built as well,
    unless no ``types`` are needed. The runner and bpftool are built from the source of `patched`, whose
    libbpf knows every mechanism (of `baseline` where that is not defined): one and the same runner asks
    every kernel. Raises UserError, KernelError or InfraError.
    """
    return prepare_for(list(kernels.resolve_all(arguments).values()), progress, types=types)


def prepare_for(requests: Sequence[Request], progress: Progress, *, types: bool = True) -> Kit:
    """As `prepare`, with what `kernels.resolve_all` has made of the arguments."""
    clang.find()
    # What is already built can be wrong at once; what is not takes minutes to find out.
    prebuilt = [request for request in requests if not isinstance(request, kernels.Definition)]
    baseline = [kernels.resolve("baseline")] if types else []
    found: dict[Request, Kernel] = {}
    for request in dict.fromkeys([*prebuilt, *baseline, *requests]):
        found[request] = kernels.ensure(request, progress)
        kernels.require_options(found[request])
    built = [found[request] for request in dict.fromkeys(requests)]
    _remark_equal(built, progress)
    tools = _tools(progress)
    image = _image(tools, progress)
    return Kit(
        built,
        image,
        hashlib.sha256(tools.runner.read_bytes()).hexdigest(),
        functools.partial(_toolchain, tools, progress),
        Cache(cache_root(), "objects", progress.say),
    )


def _remark_equal(built: Sequence[Kernel], progress: Progress) -> None:
    """Two names may be one kernel: each runs, as it was asked for."""
    first: dict[str, str] = {}
    for kernel in built:
        if (name := first.setdefault(kernel.key, kernel.name)) != kernel.name:
            progress.say(f"kernels   {kernel.name} is the same kernel as {name}")


def roomy(kit: Kit) -> Kit:
    """``kit`` with guests that have memory for any program: its log, and the states of its verification."""
    larger = [replace(kernel, shape=kernel.shape.at_least(memory_mib=_ROOMY_MIB)) for kernel in kit.kernels]
    return replace(kit, kernels=larger)


def image(progress: Progress) -> images.Image:
    """The image that guests boot into. Raises as `prepare` does."""
    return _image(_tools(progress), progress)


def bpftool(progress: Progress) -> Path:
    """bpftool, static, from the source that `prepare` takes it from. Raises as that does."""
    return _tools(progress).bpftool


def _tools(progress: Progress) -> images.Tools:
    name = "patched" if "patched" in kernels.names() else "baseline"
    source, digest = kernels.tools_source(spec.load(name), progress)
    key = hashlib.sha256(digest.encode())
    for file in images.runner_sources():
        key.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    cache = Cache(cache_root(), "tools", progress.say)
    entry = cache.get(key.hexdigest(), lambda out: _build_tools(source, out, progress))
    return images.Tools.at(entry)


def _build_tools(source: Path, out: Path, progress: Progress) -> None:
    images.build_tools(source, out, progress)


def _image(tools: images.Tools, progress: Progress) -> images.Image:
    cache = Cache(cache_root(), "images", progress.say)
    digest = images.image_inputs_digest(tools)
    entry = cache.get(digest, lambda out: images.populate(tools, out))
    return images.Image(entry / images.IMAGE_NAME, digest)


def _toolchain(tools: images.Tools, progress: Progress) -> compiling.Toolchain:
    baseline = kernels.ensure(kernels.resolve("baseline"), progress)
    vmlinux = baseline.image.vmlinux
    assert vmlinux is not None  # noqa: S101
    cache = Cache(cache_root(), "vmlinux_h", progress.say)

    entry = cache.get(baseline.key, lambda out: compiling.make_vmlinux_h(tools.bpftool, vmlinux, out))
    headers = hashlib.sha256()
    for file in sorted(tools.include.rglob("*.h")):
        headers.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return compiling.toolchain(tools.include, entry, f"{baseline.key} {headers.hexdigest()}")
