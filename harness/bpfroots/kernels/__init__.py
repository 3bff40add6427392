"""Kernels: what is asked for, and the artefacts built from it.

``resolve`` understands ``--kernel``, ``resolve_all`` all those of one command; ``ensure`` makes sure the
kernel is there, building what is missing, and says what it consists of. A kernel that is already there
costs a few stats.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bpfroots import cache
from bpfroots.errors import UserError
from bpfroots.kernels import build, image, kconfig, packaged
from bpfroots.kernels.facts import remember
from bpfroots.kernels.packaged import Package
from bpfroots.kernels.resolve import Prebuilt, Request, resolve, resolve_all
from bpfroots.kernels.spec import Definition, load, names
from bpfroots.kernels.travel import key_of, pack, unpack
from bpfroots.progress import Progress
from bpfroots.settings import cache_root
from bpfroots.shape import STANDARD, Shape

__all__ = [
    "BootImage",
    "Definition",
    "Kernel",
    "Package",
    "Prebuilt",
    "Provenance",
    "Request",
    "definitions",
    "ensure",
    "is_built",
    "key_of",
    "names",
    "options",
    "pack",
    "require_options",
    "resolve",
    "resolve_all",
    "tools_source",
    "unpack",
]


@dataclass(frozen=True)
class BootImage:
    """What is booted, and the files that tell about it. ``modules`` is lib/modules/RELEASE of a kernel of a
    distribution, which has drivers there that a guest needs. ``missing`` are options that a guest needs and
    it is built without; None where its configuration is unknown."""

    path: Path
    vmlinux: Path | None = None
    config: Path | None = None
    modules: Path | None = None
    missing: tuple[kconfig.Missing, ...] | None = None

    @property
    def has_btf(self) -> bool | None:
        """None where that is unknown."""
        return None if self.missing is None else all(one.symbol != "DEBUG_INFO_BTF" for one in self.missing)


@dataclass(frozen=True)
class Provenance:
    """How a kernel was made; what is not known of one that we did not build is empty.

    ``commit`` is that of a source in git. Of a ``prebuilt`` one ``source_id`` is that of its image.
    """

    source_id: str = ""
    series_id: str = ""
    config_hash: str = ""
    compiler: str = ""
    commit: str = ""
    prebuilt: bool = False


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted, and what is known of it.

    ``name`` is for people, and one of its run; ``key`` changes whenever the kernel does. ``argument`` is
    what ``--kernel`` takes for it. ``source`` is the tree it was built from, patches applied, for tools and
    libbpf that belong to it. ``append`` are words for the kernel's command line. ``shape`` and ``countable``:
    see `Definition`.
    """

    name: str
    argument: str
    key: str
    release: str
    image: BootImage
    made: Provenance = Provenance()
    source: Path | None = None
    provides: frozenset[str] = frozenset()
    append: tuple[str, ...] = ()
    shape: Shape = STANDARD
    countable: bool = True


def definitions() -> dict[str, Definition | UserError]:
    """Every definition in ``kernels/`` by name; of one that cannot be read, what is wrong with it."""
    return {name: _definition(name) for name in names()}


def ensure(request: Request, progress: Progress | None = None, force: bool = False) -> Kernel:
    """The kernel of ``request``, built where it is missing or ``force`` is set.

    Raises KernelError (does not apply, configure, build), InfraError (missing package or
    tool, full disk), UserError (a source that does not exist).
    """
    progress = progress or Progress()
    if isinstance(request, Prebuilt):
        return _prebuilt(request)
    if isinstance(request, packaged.Package):
        found = _prebuilt(Prebuilt(request.name, packaged.unpacked(request, progress), None))
        return replace(found, argument=request.argument)
    wanted = build.plan(request, progress)
    entry = build.built(wanted, progress, force=force)
    record = msgspec.json.decode((entry / "kernel.json").read_bytes(), type=build.Record)
    return Kernel(
        name=request.name,
        argument=request.argument,
        key=wanted.key,
        release=record.release,
        image=BootImage(
            path=entry / "bzImage",
            vmlinux=entry / "vmlinux",
            config=entry / "config",
            missing=kconfig.missing((entry / "config").read_text()),
        ),
        made=Provenance(
            record.source_id,
            record.series_id,
            record.config_hash,
            record.compiler,
            commit=wanted.located.commit,
        ),
        source=build.source_tree(wanted, progress),
        provides=frozenset(request.provides),
        append=request.cmdline,
        shape=request.shape,
        countable=request.countable,
    )


def tools_source(request: Definition, progress: Progress) -> tuple[Path, str]:
    """The tree to build libbpf, bpftool and the runner from, patches applied, and an id of it.

    The id leaves out patches that touch nothing such programs are made of, so that work on the
    verifier does not build them anew. Builds no kernel. Raises as `ensure` does.
    """
    wanted = build.plan(request, progress)
    digest = hashlib.sha256(wanted.located.id.encode())
    for patch in wanted.patches.patches if wanted.patches else ():
        content = patch.read_bytes()
        if any(part in content for part in (b"b/tools/", b"b/kernel/bpf/disasm")):
            digest.update(content)
    return build.source_tree(wanted, progress), digest.hexdigest()


def is_built(request: Request, progress: Progress | None = None) -> bool:
    """Whether ``ensure`` would find the kernel already there. Builds nothing."""
    if isinstance(request, Prebuilt):
        return True
    if isinstance(request, packaged.Package):
        return packaged.is_unpacked(request)
    return build.is_built(request, progress or Progress(quiet=True))


def options(kernel: Kernel) -> dict[str, str] | None:
    """What a kernel is configured with: its options that are set. None where that is not known."""
    found = kernel.image.config
    text = found.read_text(errors="replace") if found else image.config(kernel.image.path)
    return None if text is None else kconfig.parse(text)


def require_options(kernel: Kernel) -> None:
    """Raises KernelError for a kernel known to be built without what a guest needs. Of one whose
    configuration is unknown the boot says it."""
    if missing := kernel.image.missing:
        where = str(kernel.image.config or f"inside {kernel.image.path}")
        unfit = kconfig.no_guest(kernel.name, missing, where)
        raise unfit


def _definition(name: str) -> Definition | UserError:
    try:
        return load(name)
    except UserError as error:
        return error


def vmlinux(key: str) -> Path | None:
    """That of a kernel that was built here, by its key; None of any other, or where it is not kept."""
    entry = cache.Cache(cache_root(), "kernel").peek(key) if key else None
    return entry / "vmlinux" if entry else None


def _missing(config: str, modules: Path | None) -> tuple[kconfig.Missing, ...]:
    """What a guest needs and does not get, by a driver that is built in or by a module."""
    found = kconfig.missing(config)
    return tuple(
        one for one in found if not (modules and one.value == "m" and one.symbol in packaged.DRIVERS)
    )


def _prebuilt(request: Prebuilt) -> Kernel:
    """What can be known of a kernel that we did not build."""
    directory = request.directory
    config = directory / ".config" if directory else packaged.config(request.bzimage)
    modules = None if directory else packaged.modules(request.bzimage)
    text = config.read_text(errors="replace") if config else image.config(request.bzimage)
    vmlinux = directory / "vmlinux" if directory and (directory / "vmlinux").is_file() else None
    if not request.bzimage.is_file():
        msg = f"{request.bzimage}: gone"
        raise UserError(msg)
    digest = remember("sha256", request.bzimage, lambda: cache.sha256(request.bzimage))
    link = directory / "source" if directory else None
    return Kernel(
        name=request.name,
        argument=request.argument,
        key=digest[:32],
        release=image.release(request.bzimage),
        image=BootImage(
            request.bzimage,
            vmlinux,
            config,
            modules,
            missing=None if text is None else _missing(text, modules),
        ),
        made=Provenance(
            source_id=f"bzImage sha256:{digest}",
            config_hash=hashlib.sha256(text.encode()).hexdigest() if text else "",
            prebuilt=True,
        ),
        source=link.resolve() if link and link.is_dir() else None,
    )
