"""How many guests a scheduler, and the one process that judges, can feed: `python -m tests.cluster_scaling`.

A batch of real cells is run once; after that pretended workers answer with what it gave, after a second.
Measured are batches per second, once with answers that are only unpacked, once judged and written as in a
run. docs/cluster.md has what came of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bpfroots.cluster import client, remote
from bpfroots.cluster.protocol import CORES, GUESTS, MEMORY_MIB, encode, same_code
from bpfroots.errors import GuestError
from bpfroots.jobs import schedule
from bpfroots.jobs.compiled import compile_cells
from bpfroots.jobs.kit import Kit, prepare
from bpfroots.jobs.spec import CellFiles, CellSpec, case_cells
from bpfroots.jobs.verdicts import Verdicts
from bpfroots.machine import choose_accel
from bpfroots.programs import cases
from bpfroots.programs.protocol import Hello, Loaded
from bpfroots.progress import Progress
from bpfroots.results.key import Key
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore
from tests.cluster import Process

_PARCEL = "BPFROOTS_PRETENDED_PARCEL"
_BATCH = 64
#: Guests of one process that pretends.
_GUESTS = 32
_SECONDS = 1.0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def pretend(_order: bytes, _bzimage: bytes, _image: bytes) -> bytes:
    """In place of `run_batch`."""
    time.sleep(_SECONDS)
    return Path(os.environ[_PARCEL]).read_bytes()


class _Unjudged(Verdicts):
    def finished(self, spec: CellSpec, _hello: Hello, _loaded: Loaded) -> Cell:
        return Cell(case=spec.name, kernel="", mechanism=spec.mechanism, outcome="pass")

    def lost(self, spec: CellSpec, error: GuestError, _note: str) -> Cell:
        raise AssertionError(spec.id) from error


def _real(kit: Kit, specs: Sequence[CellSpec], objects: dict[Key, CellFiles]) -> bytes:
    order = client._order(kit.image, kit.kernels[0], choose_accel("tcg"), specs, objects)
    start = time.monotonic()
    images = (kit.kernels[0].image.path.read_bytes(), kit.image.path.read_bytes())
    parcel = remote.run_batch(encode(order), *images)
    took = time.monotonic() - start
    _say(f"a batch of {len(specs)}: {took:.1f} s in a guest")
    _say(f"{len(encode(order)):,} bytes there, {len(parcel):,} back")
    return parcel


def _workers(address: str, count: int, environment: dict[str, str]) -> list[Process]:
    amounts = {same_code(): _GUESTS, "tcg": _GUESTS, GUESTS: _GUESTS, CORES: _GUESTS, MEMORY_MIB: 10**6}
    argv = [str(Path(sys.executable).with_name("dask")), "worker", address, "--nthreads", str(_GUESTS)]
    argv += ["--no-nanny", "--no-dashboard", "--memory-limit", "0"]
    argv += ["--resources", ",".join(f"{name}={amount}" for name, amount in amounts.items())]
    found = [Process(argv, environment) for _ in range(count)]
    for worker in found:
        worker.said("Registered to:")
    return found


def main() -> None:
    kit = prepare(["baseline"], Progress())
    every = case_cells(cases.select("gen"), ["duplicate", "tail_call"])
    specs = [spec for spec in every if not spec.skip][:_BATCH]
    objects = compile_cells(kit, specs).objects
    with tempfile.TemporaryDirectory() as directory:
        parcel = Path(directory) / "parcel"
        parcel.write_bytes(_real(kit, specs, objects))
        remote.run_batch = pretend  # type: ignore[assignment]
        environment = {_PARCEL: str(parcel), "PYTHONPATH": str(Path(__file__).parent.parent)}
        dask = str(Path(sys.executable).with_name("dask"))
        scheduler = Process(
            [dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], environment
        )
        address = scheduler.said(r"Scheduler at:\s*(tcp://\S+)")[1]
        workers: list[Process] = []
        try:
            for count in (1, 2, 4):
                workers += _workers(address, count - len(workers), environment)
                for kind in (_Unjudged, Verdicts):
                    _measure(address, kit, specs, objects, kind, count * _GUESTS)
        finally:
            for process in [*workers, scheduler]:
                process.end()


def _measure(
    address: str,
    kit: Kit,
    specs: Sequence[CellSpec],
    objects: dict[Key, CellFiles],
    kind: type[Verdicts],
    guests: int,
) -> None:
    kernel, accel = kit.kernels[0], choose_accel("tcg")
    store = RunStore.create("run", [])
    verdicts = kind(kernel, objects, store, None, {})
    # Where one process is the limit, more batches tell nothing more.
    batches = [list(specs)] * (2 * guests if kind is _Unjudged else 32)
    schedule.batches = lambda *_: batches
    with closing(client.Cluster(address)) as cluster:
        start, used = time.monotonic(), time.process_time()
        cells = sum(1 for _ in cluster.run(kit.image, accel, specs, verdicts))
        took, used = time.monotonic() - start, time.process_time() - used
    assert cells == len(batches) * len(specs)
    what = "judged" if kind is Verdicts else "unpacked"
    rate, cost = len(batches) / took, used / len(batches)
    _say(f"{guests:4} guests, {what:8}: {rate:5.1f} batches/s, {cost:.3f} s CPU a batch")


if __name__ == "__main__":
    main()
