"""What runs on a worker: a batch of cells in guests of its own. Nothing here knows of Dask."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bpfroots import images, kernels, process
from bpfroots.cache import Cache
from bpfroots.cluster.protocol import (
    CellAnswer,
    CellOrder,
    GuestOrder,
    LostCell,
    Order,
    Parcel,
    Unusable,
    decode,
    digest,
    encode,
)
from bpfroots.errors import BootError, BpfrootsError, GuestError, KernelError
from bpfroots.jobs.guests import Guests, require_btf
from bpfroots.jobs.pool import Pool
from bpfroots.jobs.spec import CellFiles, CellSpec, ProgramFile
from bpfroots.jobs.worker import Worker
from bpfroots.kernels import BootImage, Kernel
from bpfroots.machine import Machine, choose_accel
from bpfroots.programs import protocol
from bpfroots.progress import Progress
from bpfroots.settings import cache_root


def run_batch(order: bytes, bzimage: bytes, image: bytes) -> bytes:
    """A `Parcel` for an `Order`. Raises InfraError where this machine cannot run guests."""
    asked = decode(order, Order)
    with contextlib.ExitStack() as stack:
        directory = process.temporary_directory()
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        for name, content in asked.files.items():
            (directory / name).write_bytes(content)
        batch = _Batch(asked.guest, directory, _kept(bzimage), _kept(image))
        pool = stack.enter_context(contextlib.closing(Pool(batch.boot)))
        specs = [_spec(cell) for cell in asked.cells]
        objects = {spec.key: _objects(cell, directory) for spec, cell in zip(specs, asked.cells, strict=True)}
        collected = _Collected()
        worker = Worker(pool, collected, objects, choose_accel(asked.guest.accel).slowdown)
        stack.callback(worker.close)
        answers: list[CellAnswer] = []
        unusable = None
        try:
            answers += worker.run(specs)
        except KernelError as error:
            unusable = Unusable(
                not isinstance(error, BootError), error.message, error.detail, error.hint, error.console
            )
        worker.close()
        consoles = {str(path): path.read_bytes() for path in sorted(directory.glob("*.log"))}
        return encode(Parcel(answers, collected.contents, consoles, unusable))


def build(name: str, key: str) -> tuple[bytes, str]:
    """The kernel that is asked for by ``name`` and is to have ``key``, packed; or else why not."""
    try:
        request = kernels.resolve(name)
        assert isinstance(request, kernels.Definition)  # noqa: S101
        return kernels.pack(request, key, Progress()), ""
    except BpfrootsError as error:
        return b"", error.message


def _kept(content: bytes) -> Path:
    """A file with this content, in the cache: a template is made from the same one every time."""
    name = digest(content)

    def populate(out: Path) -> None:
        (out / "content").write_bytes(content)

    return Cache(cache_root(), "blobs", Progress(quiet=True).say).get(name, populate) / "content"


def _spec(cell: CellOrder) -> CellSpec:
    library, target = (ProgramFile() if part else None for part in (cell.library, cell.target))
    return CellSpec(
        cell.name,
        cell.mechanism,
        cell.roots,
        cell.steps,
        library=library,
        target=target,
        globals=cell.globals,
        fixups=cell.fixups,
        timeout_s=cell.timeout_s,
    )


def _objects(cell: CellOrder, directory: Path) -> CellFiles:
    library, target = (directory / part if part else None for part in (cell.library, cell.target))
    return CellFiles(directory / cell.program, library, target)


@dataclass(frozen=True)
class _Image:
    image: images.Image


@dataclass
class _Batch:
    """Boots guests; their consoles are N.log in ``directory``."""

    guest: GuestOrder
    directory: Path
    bzimage: Path
    image: Path
    booted: int = 0

    def boot(self) -> Machine:
        guest = self.guest
        kernel = Kernel(
            name=guest.name,
            argument="",
            key=guest.key,
            release=guest.release,
            image=BootImage(self.bzimage, missing=None if guest.check_btf else ()),
            append=guest.append,
            shape=guest.shape,
        )
        self.booted += 1
        kit = _Image(images.Image(self.image, guest.image_digest))
        guests = Guests(kit, choose_accel(guest.accel), Progress(quiet=True).say)
        machine = guests.boot(kernel, self.directory / f"{self.booted}.log")
        if guest.check_btf:
            require_btf(machine, kernel)
        return machine


class _Collected:
    """In place of a judge: what the runner said of a cell, to be judged where the run is."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def finished(self, spec: CellSpec, hello: protocol.Hello, loaded: protocol.Loaded) -> CellAnswer:
        content = msgspec.msgpack.encode(loaded)
        name = digest(content)
        self.contents[name] = content
        return CellAnswer(spec.id, hello, name)

    def lost(self, spec: CellSpec, error: GuestError, note: str) -> CellAnswer:
        return CellAnswer(
            spec.id,
            lost=LostCell(error.outcome, error.message, error.detail, error.console, note, error.after_s),
        )
