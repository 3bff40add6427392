"""One guest at a time, fed with batches of cells; finds out which cell took a guest down.

A guest serves batch after batch while its kernel complains of nothing. What is not finished when it dies
continues in a fresh one; the cell it died in is first run alone, in a fresh one of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from bpfroots.errors import GuestError, GuestLost
from bpfroots.jobs import suspect
from bpfroots.jobs.pool import Pool
from bpfroots.jobs.runner import stream
from bpfroots.jobs.spec import CellFiles, CellSpec
from bpfroots.machine import Machine
from bpfroots.programs import protocol
from bpfroots.results.key import Key

_log = logging.getLogger(__name__)

# A guest that dies before it starts a load says nothing about any cell: try again, but not for ever.
_EMPTY_ATTEMPTS = 2

#: What a load comes to: a judged cell, or on another machine than the run's, what there is to judge.
T_co = TypeVar("T_co", covariant=True)


class CellJudge(Protocol[T_co]):
    """What becomes of a load that came to its end, and of one that did not."""

    def finished(self, spec: CellSpec, hello: protocol.Hello, loaded: protocol.Loaded) -> T_co: ...

    def lost(self, spec: CellSpec, error: GuestError, note: str) -> T_co: ...


@dataclass
class _Guest:
    machine: Machine
    #: When each cell began in it (time.monotonic), by id, in order.
    began: dict[str, float] = field(default_factory=dict)
    #: When it was last given a batch.
    asked: float = 0.0

    def lost_in(self, name: str, error: GuestError) -> None:
        """Write down how long that cell had been running. A panic may overtake the line that says that it
        began: then it is the time since the batch was given."""
        if name:
            error.after_s = time.monotonic() - self.began.get(name, self.asked)


class Worker(Generic[T_co]):
    """Runs batches, in order, in guests from a pool. ``stop`` may be called from another thread."""

    def __init__(
        self,
        pool: Pool,
        judge: CellJudge[T_co],
        objects: dict[Key, CellFiles],
        slowdown: float,
        keep: Callable[[Machine], None] | None = None,
    ) -> None:
        """``objects``: by `CellSpec.key`. ``slowdown`` scales deadlines. ``keep`` gets a last guest."""
        self._pool = pool
        self._judge = judge
        self._objects = objects
        self._slowdown = slowdown
        self._keep = keep
        self._guest: _Guest | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, batch: Sequence[CellSpec]) -> Iterator[T_co]:
        """Every cell of ``batch``, once. Raises KernelError or InfraError where no guest can be had."""
        pending = {spec.id: spec for spec in batch}
        empty = 0
        while pending and not self._stopped:
            guest = self._guest or self._fresh()
            before, earlier = len(pending), len(guest.began)
            try:
                yield from self._stream(guest, pending)
            except GuestError as error:
                served = list(guest.began)
                current = served[-1] if len(served) > earlier else ""
                name = error.during if error.during in pending else current
                guest.lost_in(name, error)
                self._end()
                if self._stopped:
                    return
                if spec := pending.pop(name, None):
                    ran = served.index(name) if name in served else None
                    yield self._suspect(spec, error, served[:ran])
                elif len(pending) == before:
                    empty += 1
                    if empty >= _EMPTY_ATTEMPTS:
                        yield from (self._judge.lost(spec, error, "") for spec in pending.values())
                        return

    def stop(self) -> None:
        """End its guest, and with it `run`."""
        self._stopped = True
        self._end()

    def close(self) -> None:
        """The guest is not needed any more; a live one is first given to ``keep``."""
        guest = self._guest
        if guest is not None and self._keep and guest.machine.usable and not self._stopped:
            self._keep(guest.machine)
        self._end()

    def _fresh(self) -> _Guest:
        machine = self._pool.take()
        with self._lock:
            guest = self._guest = _Guest(machine)
        if self._stopped:
            self._end()
        return guest

    def _end(self) -> None:
        with self._lock:
            guest, self._guest = self._guest, None
        if guest is not None:
            guest.machine.close()

    def _stream(self, guest: _Guest, pending: dict[str, CellSpec]) -> Iterator[T_co]:
        """One runner over all of ``pending``, which loses what is finished. Raises GuestError.

        A finished cell is held back until the next one begins or the runner has ended, and the kernel
        has no complaint until then: of what comes later from a guest that is no longer good nothing counts.
        """
        guest.asked = time.monotonic()
        _log.info("port %d: given %d to run", guest.machine.port, len(pending))
        loads = {spec.key: spec.load(self._slowdown) for spec in pending.values()}
        files = {n: path for key, load in loads.items() for n, path in self._objects[key].of(load).items()}
        hello: protocol.Hello | None = None
        held: protocol.Loaded | None = None
        for line in stream(guest.machine, list(loads.values()), files):
            if isinstance(line, protocol.Hello):
                hello = line
                continue
            if line.id not in guest.began:  # the start of another, whether or not it has a line of its own
                if held and hello and guest.machine.clean():
                    yield self._judge.finished(pending.pop(held.id), hello, held)
                _log.debug("port %d: begins %s", guest.machine.port, line.id)
                guest.began[line.id] = time.monotonic()
            held = line if isinstance(line, protocol.Loaded) else None
        if held and hello:
            yield self._judge.finished(pending.pop(held.id), hello, held)
        if pending:
            msg = f"the runner finished without {len(pending)} of its loads"
            raise GuestLost(msg)

    def _suspect(self, spec: CellSpec, error: GuestError, before: list[str]) -> T_co:
        """The cell a guest was lost in, by what it does alone; ``before``: what had run in that guest."""
        _log.info("lost in %s: %s: %s", spec.key, error.outcome, error.message)
        if suspect.is_kernels_fault(error) and not before:
            return self._judge.lost(spec, error, "")
        self._pool.warm(2)  # one for this, one for those that follow
        again = self._alone(spec)
        if isinstance(again, GuestError):
            return self._judge.lost(spec, *suspect.again(error, again))
        if suspect.is_kernels_fault(error):
            return self._judge.lost(spec, error, suspect.not_alone(before, "cell"))
        return again

    def _alone(self, spec: CellSpec) -> T_co | GuestError:
        try:
            (cell,) = self._stream(self._fresh(), {spec.id: spec})
        except GuestError as error:
            if guest := self._guest:
                guest.lost_in(spec.id, error)
            return error
        finally:
            self._end()
        return cell
