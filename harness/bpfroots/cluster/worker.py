"""A machine that lends its guests: a Dask worker that says what it has."""

from __future__ import annotations

import asyncio
import os
import socket

from distributed import Security, Worker
from distributed.worker import DEFAULT_METRICS

from bpfroots import process
from bpfroots.cache import Cache
from bpfroots.cluster.protocol import CORES, GUESTS, MEMORY_MIB, same_code
from bpfroots.errors import InfraError
from bpfroots.jobs import schedule
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress
from bpfroots.settings import cache_root, jobs
from bpfroots.shape import Shape

# A scheduler that is started again is back by then.
_SCHEDULER = 120


def announcement(guests: int | None) -> dict[str, float]:
    """What this machine has, as Dask resources; ``guests`` at once, by default what it carries."""
    count = schedule.guests_at_once(Shape(), guests)
    found: dict[str, float] = {
        same_code(): count,
        GUESTS: count,
        CORES: max(count, jobs()),
        MEMORY_MIB: schedule.available_mib(),
        "tcg": count,
    }
    if choose_accel("auto").name == "kvm":
        found["kvm"] = count
    return found


def serve(address: str, guests: int | None, progress: Progress) -> None:
    """Work for the scheduler at ``address`` until interrupted. Raises InfraError where there is none."""
    resources = announcement(guests)
    shown = ", ".join(f"{name} {amount:g}" for name, amount in resources.items())
    progress.say(f"worker    {address}: {shown}")
    asyncio.run(_serve(address, resources, progress))


async def _serve(address: str, resources: dict[str, float], progress: Progress) -> None:
    """The scheduler forgets a worker that was stopped for long: when continued, it announces itself again."""
    security = Security(require_encryption=address.startswith("tls://"))
    while True:
        worker = Worker(
            address,
            nthreads=int(resources[GUESTS]),
            name=f"{socket.gethostname()}-{os.getpid()}",
            resources=resources,
            metrics={**DEFAULT_METRICS, "bpfroots": _cached},
            security=security,
            # Guests are other processes: what Dask would measure here is not what they take.
            memory_limit=0,
            local_directory=str(process.temporary_directory()),
            death_timeout=_SCHEDULER,
        )
        try:
            async with worker:
                await worker.finished()
        except (TimeoutError, OSError) as error:
            msg = f"{address}: no scheduler: {str(error).splitlines()[0] if str(error) else 'no answer'}"
            raise InfraError(msg, hint="dask scheduler") from None
        progress.say(f"worker    {address}: lost; announcing again")


def _cached(_: Worker) -> dict[str, list[str]]:
    """With each heartbeat: the kernels that are built here."""
    store = Cache(cache_root(), "kernel", Progress(quiet=True).say)
    return {"kernels": [key for key, _ in store.by_use()]}
