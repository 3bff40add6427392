"""The run's side of a Dask cluster: orders go out, answers come back, each cell once."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dask
import msgspec
from distributed import Client, Future, Security, wait
from distributed import TimeoutError as DaskTimeoutError
from distributed.scheduler import KilledWorker

from bpfroots import images, kernels
from bpfroots.cluster import remote
from bpfroots.cluster.protocol import (
    CORES,
    GUESTS,
    MEMORY_MIB,
    GuestOrder,
    Order,
    Parcel,
    checked,
    decode,
    digest,
    encode,
    order_of,
    revive,
    same_code,
)
from bpfroots.errors import BootError, BpfrootsError, GuestLost, InfraError, KernelError, Where
from bpfroots.jobs import schedule
from bpfroots.jobs.spec import CellFiles, CellSpec
from bpfroots.jobs.verdicts import Verdicts
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel
from bpfroots.machine.accel import SLOWDOWN
from bpfroots.progress import Progress
from bpfroots.results.key import Key
from bpfroots.results.model import Cell

_CONNECT = 20.0
# Without any worker for so long a run gives up; one that is restarted is back by then.
_NO_WORKERS = 120.0
_LOOK = 10.0
# An order that worker after worker has died of is not tried on a fourth.
_RETRIES = 2


class Cluster:
    """A scheduler, and the workers that have announced themselves there. Close it.

    Certificates for tls:// are Dask's own settings (`distributed.comm.tls`). Raises InfraError where
    no scheduler answers.
    """

    def __init__(self, address: str) -> None:
        # A bzImage goes with its task, so that it can be sent again when the worker that had it is lost.
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})
        try:
            security = Security(require_encryption=address.startswith("tls://"))
            self._client = Client(address, security=security, timeout=_CONNECT)
        except (OSError, DaskTimeoutError, ValueError, TypeError, RuntimeError) as error:
            msg = f"--scheduler {address}: {str(error).splitlines()[0]}"
            raise InfraError(
                msg, hint="dask scheduler, and bpfroots worker ADDRESS on each machine"
            ) from None
        self._address = address

    def close(self) -> None:
        self._client.close()

    def guests(self, needs: dict[str, float]) -> int:
        """How many guests with these needs all workers of this code can have at once. Raises InfraError where
        there is none."""
        announced = [worker["resources"] for worker in self._workers().values()]
        ours = [resources for resources in announced if same_code() in resources]
        total = sum(_room(resources, needs) for resources in ours)
        if not total:
            wanted = ", ".join(f"{name} {amount:g}" for name, amount in needs.items() if name != same_code())
            msg = f"{self._address}: {len(announced)} workers, {len(ours)} of this version; none has {wanted}"
            raise InfraError(msg, hint=f"bpfroots worker {self._address}, from the same checkout")
        return total

    def accel(self, requested: str) -> Accel:
        """See `Executor`. ``auto`` is KVM only where every worker of this code has it: cells of one run are
        compared with each other."""
        found: list[set[str]] = [
            {name for name in ("kvm", "tcg") if name in worker["resources"]}
            for worker in self._workers().values()
            if same_code() in worker["resources"]
        ]
        if requested == "tcg" or (requested == "auto" and not all("kvm" in names for names in found)):
            return Accel("tcg", f"emulation (TCG) by the workers of {self._address}", SLOWDOWN["tcg"])
        if requested == "kvm" and not any("kvm" in names for names in found):
            msg = f"KVM was demanded, but no worker of {self._address} has it"
            raise InfraError(msg, hint="--accel auto, or --accel tcg for emulation")
        return Accel("kvm", f"KVM of the workers of {self._address}", SLOWDOWN["kvm"])

    def run(
        self, image: images.Image, accel: Accel, specs: Sequence[CellSpec], verdicts: Verdicts
    ) -> Iterator[Cell]:
        """The cells, judged, batch after batch. Raises KernelError, InfraError.

        Closing it takes orders back. The cells of a batch that a worker has begun are not returned.
        """
        kernel = verdicts.kernel
        needs = _needs(kernel, accel)
        batches = schedule.batches(specs, self.guests(needs))
        blobs = [self._blob(path) for path in (kernel.image.path, image.path)]
        # Another run's order of the same name would be taken for this one.
        name = f"bpfroots-{uuid.uuid4().hex[:12]}"
        pending: dict[Future, list[CellSpec]] = {}
        try:
            for number, batch in enumerate(batches):
                order = encode(_order(image, kernel, accel, batch, verdicts.objects))
                key = f"{name}-{number}"
                future = self._client.submit(
                    remote.run_batch, order, *blobs, key=key, resources=needs, retries=_RETRIES, pure=False
                )
                pending[future] = batch
            while pending:
                for future in self._finished(list(pending)):
                    batch = pending.pop(future)
                    yield from _judged(future, batch, verdicts)
                    future.release()
        finally:
            self._client.cancel(list(pending))

    def build(self, names: Sequence[str], progress: Progress) -> None:
        """See `Executor`. A worker that has a kernel already is asked first; one that would build
        another is no help, and the kernel is left to this machine. Raises InfraError where no worker is of
        this code."""
        wanted = {}
        for name in names:
            request = kernels.resolve(name)
            if isinstance(request, kernels.Definition) and not kernels.is_built(request, progress):
                wanted[name] = kernels.key_of(request, progress)
        builder = {same_code(): 1.0, CORES: 1.0}
        if wanted:
            self.guests(builder)  # or no worker would ever take the order
        futures = {}
        for name, key in wanted.items():
            have = [at for at, worker in self._workers().items() if key in _kernels(worker)]
            futures[name] = self._client.submit(
                remote.build,
                name,
                key,
                key=f"bpfroots-build-{key}",
                resources=builder,
                workers=have or None,
                allow_other_workers=bool(have),
            )
        for name, future in futures.items():
            with progress.task(f"kernel    {name}: built by a worker of {self._address}") as task:
                self._finished([future])
                content, why = _result(future)
                task.summary = why or "ok"
                if content:
                    kernels.unpack(wanted[name], content, progress)

    def _workers(self) -> dict[str, dict[str, Any]]:
        workers: dict[str, dict[str, Any]] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _blob(self, path: Path) -> Future:
        content = path.read_bytes()
        return self._client.submit(bytes, content, key=f"bpfroots-blob-{digest(content)}", pure=True)

    def _finished(self, futures: Sequence[Future]) -> list[Future]:
        """At least one that came to its end. Raises InfraError where no worker has been left for long."""
        for waited in itertools.count(0, int(_LOOK)):
            try:
                return list(wait(futures, timeout=_LOOK, return_when="FIRST_COMPLETED").done)
            except DaskTimeoutError:
                if self._workers():
                    continue
            if waited >= _NO_WORKERS:
                msg = f"{self._address}: no worker is left"
                raise InfraError(msg, hint="start workers, then bpfroots run --resume RUN")
        raise AssertionError


def _room(resources: dict[str, float], needs: dict[str, float]) -> int:
    return int(min(resources.get(name, 0) // amount for name, amount in needs.items()))


def _needs(kernel: Kernel, accel: Accel) -> dict[str, float]:
    """What a guest takes of its worker, as Dask resources."""
    return {
        same_code(): 1,
        accel.name: 1,
        GUESTS: 1,
        CORES: kernel.shape.cpus,
        MEMORY_MIB: schedule.memory_of(kernel.shape.memory_mib),
    }


def _order(
    image: images.Image,
    kernel: Kernel,
    accel: Accel,
    batch: Sequence[CellSpec],
    objects: dict[Key, CellFiles],
) -> Order:
    files: dict[str, bytes] = {}

    def sent(path: Path | None) -> str:
        if path is None:
            return ""
        content = path.read_bytes()
        name = digest(content)
        files[name] = content
        return name

    cells = []
    for spec in batch:
        part = objects[spec.key]
        cells.append(order_of(spec, sent(part.program), sent(part.library), sent(part.target)))
    guest = GuestOrder(
        name=kernel.name,
        release=kernel.release,
        key=kernel.key,
        shape=kernel.shape,
        append=kernel.append,
        check_btf=kernel.image.has_btf is None,
        image_digest=image.digest,
        accel=accel.name,
    )
    return Order(guest, cells, files)


def _result(future: Future) -> Any:
    """Raises InfraError for what is the cluster's fault; KilledWorker, and our own errors."""
    try:
        return future.result()
    except (KilledWorker, BpfrootsError):
        raise
    except Exception as error:
        msg = f"the cluster failed: {type(error).__name__}: {str(error).splitlines()[0]}"
        raise InfraError(
            msg, hint="start scheduler and workers of this checkout; their logs say more"
        ) from None


def _kernels(worker: dict[str, Any]) -> list[str]:
    found: list[str] = worker.get("metrics", {}).get("bpfroots", {}).get("kernels", [])
    return found


def _judged(future: Future, batch: Sequence[CellSpec], verdicts: Verdicts) -> Iterator[Cell]:
    try:
        parcel = decode(_result(future), Parcel)
    except KilledWorker as error:
        lost = GuestLost(f"its workers died, one after the other: {error.last_worker}")
        yield from (verdicts.lost(spec, lost, "") for spec in batch)
        return
    here = {}
    for path, content in parcel.consoles.items():
        here[path] = verdicts.store.console(verdicts.kernel.name)
        here[path].write_bytes(content)

    def local(where: Where | None) -> Where | None:
        return Where(str(here[where.path]), where.line) if where and where.path in here else where

    if (unusable := parcel.unusable) is not None:
        kind = KernelError if unusable.boots else BootError
        where = local(unusable.console)
        raise kind(unusable.message, detail=unusable.detail, hint=unusable.hint, console=where)
    specs = {spec.id: spec for spec in batch}
    contents = checked(parcel.contents, [answer.loaded for answer in parcel.answers if answer.loaded])
    for answer in parcel.answers:
        spec = specs.pop(answer.id)
        if answer.lost:
            lost_in = revive(msgspec.structs.replace(answer.lost, console=local(answer.lost.console)))
            yield verdicts.lost(spec, lost_in, answer.lost.note)
        elif answer.hello:
            yield verdicts.finished(spec, answer.hello, contents[answer.loaded])
    for spec in specs.values():
        yield verdicts.lost(spec, GuestLost("its worker said nothing of it"), "")
