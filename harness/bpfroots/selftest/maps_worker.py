"""test_maps in a guest: one program that runs all its tests, so one that fails or takes the guest down keeps
those after it from being run. A program that lost its guest is run once more, in a fresh one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfroots.errors import GuestError
from bpfroots.jobs import suspect
from bpfroots.machine import Machine
from bpfroots.results.selftests import TEST_MAPS, Allowed, Tested
from bpfroots.selftest import maps, progs_output
from bpfroots.selftest.one_guest import OneGuest
from bpfroots.selftest.progs_worker import Finished, Limits, allowed, ended, lost

_COMMAND = f"cd /selftests && exec stdbuf -oL ./{TEST_MAPS} 2>&1"


@dataclass(frozen=True)
class _Lost:
    """A test that a guest was lost in."""

    name: str
    error: GuestError


class MapsWorker:
    """Runs test_maps of a tree, whose tests are ``known``. ``stop`` may be called from another thread.

    ``fresh`` gives a guest with the program in it; of ``limits``, the timeout is for the program's silence.
    ``log`` gets all that it prints; what it prints in a second guest is in ``log`` with .2 in its name.
    """

    def __init__(
        self, fresh: Callable[[], Machine], limits: Limits, known: Sequence[maps.Unit], log: Path
    ) -> None:
        self._log = log
        self._guest = OneGuest(fresh)
        self._limits = limits
        self._known = known

    def run(self, batch: Sequence[str]) -> Iterator[Finished]:
        """Every test of ``batch``, once. Raises KernelError or InfraError where no guest can be had."""
        pending = list(batch)
        first = yield from self._once(pending, None, self._log)
        second = self._log.with_suffix(f".2{self._log.suffix}")
        again = (yield from self._once(pending, first, second)) if first and not self._guest.stopped else None
        if self._guest.stopped:
            return
        last = again or first
        for one in filter(None, (again, first)):
            if one.name in pending:
                pending.remove(one.name)
                yield _twice(one, first, again)
        if last and last.name == maps.EXIT:
            yield lost(maps.EXIT, last.error, "")
        for name in pending:
            if last and last.error.outcome == "infra_error":
                yield lost(name, last.error, "")
            else:
                yield Finished(Tested(name, "skip", f"not run: {TEST_MAPS} ended before it"))

    def stop(self) -> None:
        """End its guest, and with it `run`."""
        self._guest.stop()

    def close(self) -> None:
        """There are no more batches."""
        self._guest.end()

    def _once(
        self, pending: list[str], before: _Lost | None, log: Path
    ) -> Generator[Finished, None, _Lost | None]:
        """The tests that came to their end, but for those that are not ``pending`` any more; what the guest
        was lost in is returned. ``before``: what the guest before this one was lost in."""
        reader = maps.Reader(self._known, time.monotonic())
        try:
            for finished in self._stream(reader, log):
                name = finished.tested.name
                if name == maps.EXIT:
                    yield finished
                if name in pending:
                    pending.remove(name)
                    yield _after(finished, before) if before and before.name == name else finished
        except GuestError as error:
            return _Lost(reader.current, error)
        finally:
            self.close()
        return None

    def _stream(self, reader: maps.Reader, log: Path) -> Iterator[Finished]:
        machine = self._guest.take()
        limit = self._limits.timeout_s
        seen: list[Allowed] = []
        began = time.monotonic()
        running = machine.run(_COMMAND, deadline=limit * len(self._known) * 4, no_output=limit)
        with log.open("wb", buffering=0) as file:
            for line in running:
                file.write(line + b"\n")
                passed = reader.feed(line.decode(errors="replace"), time.monotonic())
                if not machine.clean():
                    reader.take_back(passed)
                    break  # what the kernel complained of comes next
                yield from self._noted(machine, passed, seen)
            for _ in running:
                pass
        if reader.over and running.status == 0 and not reader.wrong:
            yield from self._noted(machine, reader.finish(time.monotonic()), seen)
            return
        why = reader.wrong or progs_output.why(reader.rest, maps.FAILED)
        yield ended(TEST_MAPS, reader.current, running.status, why, reader.rest, time.monotonic() - began)

    def _noted(self, machine: Machine, passed: Sequence[Tested], seen: list[Allowed]) -> Iterator[Finished]:
        """``passed``, and with the first of them what the kernel has said until now that a list allows."""
        for tested in passed:
            tested.allowed = allowed(machine, seen)
            yield Finished(tested)


def _after(finished: Finished, before: _Lost) -> Finished:
    """A test that came to its end in the second guest, and not in the first."""
    if suspect.is_kernels_fault(before.error):
        return lost(before.name, before.error, "not when run again in a fresh guest")
    finished.tested.note = f"in a second guest; in the first: {before.error.message}"
    return finished


def _twice(one: _Lost, first: _Lost | None, again: _Lost | None) -> Finished:
    if first and again and first.name == again.name:
        error, _ = suspect.again(first.error, again.error)
        return lost(one.name, error, "again when run once more in a fresh guest")
    return lost(one.name, one.error, "")
