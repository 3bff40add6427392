"""What `bpfroots bench` has measured: results/bench/TIME.json, one file per run."""

from __future__ import annotations

import datetime
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from bpfroots.errors import InfraError

#: Below results/.
FOLDER = "bench"
SECONDS = "s"
RATE = "programs/s"


class Spread(msgspec.Struct, frozen=True):
    """Samples of one thing in one run, in the order in which they were taken."""

    median: float
    min: float
    max: float
    samples: list[float]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Of one sample at least."""
        return cls(statistics.median(samples), min(samples), max(samples), list(samples))


class Peer(msgspec.Struct, frozen=True):
    """What others do it with: ``command`` is what was measured."""

    name: str
    median: float
    min: float
    max: float
    samples: list[float]
    command: str = ""


class Context(msgspec.Struct, frozen=True):
    """Where it was measured. ``load`` is the host's load average before the first sample."""

    started: str
    kernel: str
    release: str
    kernel_key: str
    accel: str
    qemu: str
    cores: int
    cpu: str
    load: float


class Measurement(msgspec.Struct, frozen=True):
    """One thing measured, and beside it, turn by turn, what others do it with.

    ``ratio`` is how many times better ours is: peer / ours for times, ours / peer for rates; None
    without a ``peer``, and then ``reason`` says why there is none. ``more`` are figures beside ours.
    """

    ours: Spread
    peer: Peer | None
    ratio: float | None
    unit: str
    runs: int
    what: str
    context: Context
    reason: str = ""
    more: dict[str, Spread] = {}


def measurement(
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    unit: str,
    what: str,
    context: Context,
    name: str = "",
    command: str = "",
    reason: str = "",
    more: Mapping[str, Sequence[float]] | None = None,
) -> Measurement:
    """From samples. Without any of the peer's there is no peer, for ``reason``."""
    spread = Spread.of(ours)
    other = Spread.of(peer) if peer else None
    ratio = None
    if other:
        ratio = other.median / spread.median if unit == SECONDS else spread.median / other.median
    return Measurement(
        ours=spread,
        peer=Peer(name, other.median, other.min, other.max, other.samples, command) if other else None,
        ratio=ratio,
        unit=unit,
        runs=len(ours),
        what=what,
        context=context,
        reason="" if other else reason,
        more={key: Spread.of(samples) for key, samples in (more or {}).items() if samples},
    )


def save(results: Path, found: Mapping[str, Measurement]) -> Path:
    """Keep a run's measurements below the folder ``results``. Raises InfraError."""
    now = datetime.datetime.now(datetime.UTC)
    path = results / FOLDER / f"{now:%Y-%m-%dT%H-%M-%SZ}-{os.getpid()}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        temporary.replace(path)
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise InfraError(msg) from None
    return path


def newest(results: Path) -> dict[str, Measurement]:
    """The newest measurement of each name below ``results``. A file that cannot be read is passed over."""
    found: dict[str, Measurement] = {}
    for path in sorted((results / FOLDER).glob("*.json")):
        try:
            found |= msgspec.json.decode(path.read_bytes(), type=dict[str, Measurement])
        except (OSError, msgspec.MsgspecError):
            continue
    return found
