"""What goes to a worker and what comes back: bytes, so that Dask pickles none of our objects."""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

import bpfroots
from bpfroots.cache import add_files
from bpfroots.errors import GuestCrash, GuestError, GuestHang, GuestLost, GuestTimeout, InfraError, Where
from bpfroots.jobs.spec import CellSpec
from bpfroots.programs.protocol import Hello, Loaded, Mechanism, Step
from bpfroots.results.request import TIMEOUT_S
from bpfroots.shape import Shape

_T = TypeVar("_T")

#: Resources that a worker announces and a task takes: guests at once, and what each of them needs.
GUESTS, CORES, MEMORY_MIB = "guests", "cores", "memory_mib"


@functools.cache
def same_code() -> str:
    """A resource that workers with exactly this code announce: others would give other answers."""
    key = hashlib.sha256()
    add_files(key, Path(bpfroots.__file__).parent, ["."], "*.py")
    return f"code-{key.hexdigest()[:16]}"


class GuestOrder(msgspec.Struct, frozen=True):
    """What a worker has to know of a kernel to boot it; bzImage and image come beside it."""

    name: str
    release: str
    key: str
    shape: Shape
    append: tuple[str, ...]
    check_btf: bool
    image_digest: str
    accel: str


class CellOrder(msgspec.Struct, frozen=True):
    """A cell to load: `CellSpec` without what only its judge needs; ``program``, ``library`` and ``target``
    are digests of files."""

    name: str
    mechanism: Mechanism
    roots: list[str]
    steps: list[Step]
    program: str
    library: str = ""
    target: str = ""
    globals: dict[str, str] = {}
    fixups: bool = False
    timeout_s: float = TIMEOUT_S


class Order(msgspec.Struct, frozen=True):
    """A batch. ``files`` are objects by SHA-256."""

    guest: GuestOrder
    cells: list[CellOrder]
    files: dict[str, bytes]


class LostCell(msgspec.Struct, frozen=True):
    """A GuestError: the cell a guest was lost in. See `Judge.lost` for ``note``."""

    outcome: str
    message: str
    detail: str
    console: Where | None
    note: str
    after_s: float


class CellAnswer(msgspec.Struct, frozen=True):
    """Of one cell: ``loaded`` is the digest of what the runner said, or it was ``lost``."""

    id: str
    hello: Hello | None = None
    loaded: str = ""
    lost: LostCell | None = None


class Unusable(msgspec.Struct, frozen=True):
    """A KernelError: the kernel did not boot, or has no BTF."""

    boots: bool
    message: str
    detail: str
    hint: str
    console: Where | None


class Parcel(msgspec.Struct, frozen=True):
    """What comes back for an order: answers, the contents they name by digest, and console logs by their
    paths there."""

    answers: list[CellAnswer]
    contents: dict[str, bytes]
    consoles: dict[str, bytes]
    unusable: Unusable | None = None


def encode(thing: msgspec.Struct) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(thing), level=1)


def decode(data: bytes, type_: type[_T]) -> _T:
    return msgspec.msgpack.decode(zlib.decompress(data), type=type_)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def checked(contents: dict[str, bytes], wanted: Iterable[str]) -> dict[str, Loaded]:
    """What is in a parcel, by digest. Raises InfraError where a content is not what its name says."""
    found = {}
    for name in wanted:
        content = contents.get(name)
        if content is None or digest(content) != name:
            msg = f"a worker's answer {name[:12]} is {'missing' if content is None else 'damaged'}"
            raise InfraError(msg, hint="bpfroots run --resume RUN")
        found[name] = msgspec.msgpack.decode(content, type=Loaded)
    return found


_ERRORS: dict[str, type[GuestError]] = {
    error.outcome: error for error in (GuestCrash, GuestHang, GuestTimeout, GuestLost)
}


def revive(lost: LostCell) -> GuestError:
    """The error as it was on the worker."""
    error = _ERRORS[lost.outcome](lost.message, detail=lost.detail, console=lost.console)
    error.after_s = lost.after_s
    return error


def order_of(spec: CellSpec, program: str, library: str, target: str) -> CellOrder:
    parts = (spec.name, spec.mechanism, spec.roots, spec.steps, program, library, target)
    return CellOrder(*parts, spec.globals, spec.fixups, spec.timeout_s)
