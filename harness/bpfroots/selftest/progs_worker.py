"""One guest at a time, fed with batches of tests; finds out which test took a guest down.

Each batch has a fresh guest, so that a test does not see what tests of other batches have left. The test that
a guest was lost in is named and run again, alone; the others continue in a fresh one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from bpfroots.errors import GuestError, GuestLost, GuestTimeout
from bpfroots.jobs import suspect
from bpfroots.machine import Command, Machine
from bpfroots.results.selftests import TEST_PROGS, Allowed, Tested
from bpfroots.selftest import progs_output
from bpfroots.selftest.one_guest import OneGuest
from bpfroots.selftest.progs import judged
from bpfroots.selftest.progs_build import NO_KEYS
from bpfroots.selftest.progs_select import Selection

# Under KVM; a test that prints nothing for so long is stuck, since the program's watchdog would have spoken.
_SLACK_S = 30.0
#: What is wrong after the last test of a batch has this in front of its name.
AFTER = "exit after "
# Its input: a pattern per line, + for what to run, - for what not to.
_COMMAND = (
    "mkdir -p /dev/shm && cd /selftests && {disk}cat > /tmp/asked && "
    "sed -n 's/^+//p' /tmp/asked > /tmp/tests && "
    "sed -n 's/^-//p' /tmp/asked > /tmp/denied && "
    f"{{{{ [ -e /proc/keys ] || [ ! -e {NO_KEYS} ] || export LD_PRELOAD=$PWD/{NO_KEYS}; }}}} && "
    "exec stdbuf -oL ./test_progs -J /tmp/summary.json -a @/tmp/tests{more} 2>&1"
)
_DENIED = " -d @/tmp/denied"
# Tests that want a program of theirs whose pages the kernel can drop: in an initramfs it cannot. On a kernel
# without loop devices or ext4 they do without.
_ON_DISK = {"build_id": "uprobe_multi"}
_TO_DISK = (
    "{{ truncate -s 64M /run/disk && mkfs.ext2 -q /run/disk && mkdir /run/on-disk && "
    "mount -t ext4 -o loop /run/disk /run/on-disk && cp {0} /run/on-disk && sync && "
    "mount --bind /run/on-disk/{0} {0}; }} </dev/null >/dev/null 2>&1; "
)
_SUMMARY = "cat /tmp/summary.json"
# A guest that is lost for a reason of the host's says nothing about its tests.
_EMPTY_ATTEMPTS = 2


@dataclass(frozen=True)
class Finished:
    """A result, and what the test printed where that is worth keeping."""

    tested: Tested
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Limits:
    """``timeout_s`` is for one test or subtest, scaled already; ``slowdown`` scales the rest. ``watchdog``:
    the program can end a test itself; if not, that many seconds of silence do, of a whole test."""

    timeout_s: float
    slowdown: float
    watchdog: bool = True


class Worker:
    """Runs batches of tests, by name and in the program's order. ``stop`` may be called from another thread.

    ``fresh`` gives a guest with the tests in it. ``selection`` says which subtests are run, all by default.
    """

    def __init__(
        self, fresh: Callable[[], Machine], limits: Limits, selection: Selection | None = None
    ) -> None:
        self._guest = OneGuest(fresh)
        self._limits = limits
        self._selection = selection or Selection([])

    def run(self, batch: Sequence[str]) -> Iterator[Finished]:
        """Every test of ``batch``, once. Raises KernelError or InfraError where no guest can be had."""
        pending = list(batch)
        empty = 0
        while pending and not self._guest.stopped:
            ran: list[str] = []
            try:
                for finished in self._stream(list(pending)):
                    pending.remove(finished.tested.name)
                    ran.append(finished.tested.name)
                    yield finished
            except GuestError as error:
                self._guest.end()
                if self._guest.stopped:
                    return
                if not pending:
                    yield lost(f"{AFTER}{ran[-1]}", error, "")
                    return
                empty = 0 if ran or error.outcome != "infra_error" else empty + 1
                if empty:
                    if empty >= _EMPTY_ATTEMPTS:
                        yield from (lost(name, error, "") for name in pending)
                        return
                    continue
                for finished in self._suspects(pending[:2], error, ran):
                    pending.remove(finished.tested.name)
                    yield finished
            finally:
                self._guest.end()

    def stop(self) -> None:
        """End its guest, and with it `run`."""
        self._guest.stop()

    def close(self) -> None:
        """There are no more batches."""
        self._guest.end()

    def _stream(self, names: Sequence[str]) -> Iterator[Finished]:
        """Tests as they finish. What it does not yield was not run, but for the first of the rest: in that
        the guest was lost. Raises GuestError."""
        machine = self._guest.take()
        reader = progs_output.Reader(names)
        running = self._start(machine, names)
        found: list[progs_output.Test] = []
        seen: list[Allowed] = []
        began = time.monotonic()
        for line in running:
            test = reader.feed(line.decode(errors="replace"))
            if reader.killed:
                raise _too_slow(*reader.killed)
            if test is None:
                continue
            if not machine.clean():
                break  # what the kernel complained of comes next
            found.append(test)
            tested = judged(test, time.monotonic() - began)
            tested.allowed = allowed(machine, seen)
            finished = Finished(tested, _printed(test))
            if len(found) == len(names):
                yield from _last(machine, running, finished, found, seen)
                return
            yield finished
            began = time.monotonic()
        for _ in running:
            pass
        if not found and not reader.rest:
            msg = f"test_progs does not start: status {running.status}, and not a word"
            raise GuestLost(msg, hint="its kernel needs the configuration that the tests ask for")
        left = [name for name in names if name not in {test.name for test in found}]
        why = progs_output.why(reader.rest)
        yield ended(TEST_PROGS, left[0], running.status, why, reader.rest, time.monotonic() - began)

    def _start(self, machine: Machine, names: Sequence[str]) -> Command:
        subtests, denied = self._selection.subtests, self._selection.denied_subtests
        lines = [f"+{name}" for name in names if name not in subtests]
        lines += [f"+{name}/{sub}" for name in names for sub in subtests.get(name, [])]
        lines += [f"-{pattern}" for pattern in denied]
        limits = self._limits
        silence = limits.timeout_s + _SLACK_S * limits.slowdown
        watchdog = f" -w {round(limits.timeout_s)}" if limits.watchdog else ""
        disk = "".join(_TO_DISK.format(_ON_DISK[name]) for name in names if name in _ON_DISK)
        return machine.run(
            _COMMAND.format(disk=disk, more=watchdog + (_DENIED if denied else "")),
            stdin="".join(f"{line}\n" for line in lines).encode(),
            # A test may have any number of subtests; silence is what ends one that is stuck.
            deadline=silence * 20 * len(names),
            no_output=silence,
        )

    def _suspects(self, names: Sequence[str], error: GuestError, before: Sequence[str]) -> Iterator[Finished]:
        """The test a guest was lost in, which is the first of ``names``, by what it does alone; ``before``:
        what had run in that guest. It may have been the second: a panic takes along what the test before it
        has said, where that is not sent yet, and is seen before what is not read yet."""
        name, *following = names
        fault = suspect.is_kernels_fault(error)
        if fault and not before and not following:
            yield lost(name, error, "")
            return
        again = self._alone(name)
        if isinstance(again, GuestError):
            yield lost(name, *suspect.again(error, again))
            return
        if fault and following:
            then = self._alone(following[0])
            if isinstance(then, GuestError) and then.message == error.message:
                yield again
                yield lost(following[0], *suspect.again(error, then))
                return
        if fault:
            yield lost(name, error, suspect.not_alone(before, "test"))
            return
        again.tested.note = f"alone in a fresh guest; among others: {error.message}"
        yield again

    def _alone(self, name: str) -> Finished | GuestError:
        try:
            (finished,) = self._stream([name])
        except GuestError as error:
            return error
        finally:
            self._guest.end()
        return finished


def _printed(test: progs_output.Test) -> list[str]:
    """All that a failed test has said, subtest after subtest."""
    lines = list(test.lines)
    for one in test.subtests:
        if one.status == "fail":
            lines += [*one.lines, f"{test.name}/{one.name}: FAIL", ""]
    return lines


def allowed(machine: Machine, seen: list[Allowed]) -> list[Allowed]:
    """Splats that a list allows and that are not in ``seen``, where they are put."""
    known = [Allowed(splat.title, splat.by, where) for splat, where in machine.allowed()]
    new = known[len(seen) :]
    seen += new
    return new


def ended(
    program: str, name: str, status: int | None, why: str, lines: list[str], seconds: float
) -> Finished:
    """A test that ``program`` ended in, though the guest lives. ``why`` is the line of ``lines`` that says
    most."""
    how = "a signal" if status is None or status < 0 else f"status {status}"
    reason = f"{program} ended with {how}: {why or 'no message'}"
    return Finished(Tested(name, "fail", reason, round(seconds, 2)), lines)


def lost(name: str, error: GuestError, note: str) -> Finished:
    """A test that a guest was lost in."""
    tested = Tested(name, error.outcome, error.message, console=error.console, note=note)
    return Finished(tested, error.detail.splitlines())


def _too_slow(name: str, seconds: int) -> GuestTimeout:
    return GuestTimeout(f"{name} not finished within {seconds} s")


def _last(
    machine: Machine,
    running: Command,
    finished: Finished,
    found: Sequence[progs_output.Test],
    seen: list[Allowed],
) -> Iterator[Finished]:
    """The last test of a batch, once the program has ended: the kernel's console is slower than the program.
    Raises GuestError, which is not its."""
    try:
        for _ in running:
            pass
        _check(machine, found)
    except GuestError:
        yield finished
        raise
    finished.tested.allowed += allowed(machine, seen)
    yield finished


def _check(machine: Machine, found: Sequence[progs_output.Test]) -> None:
    """Raises GuestLost where the summary says other than the lines: then one of the two was misread."""
    written = machine.output(_SUMMARY).stdout
    try:
        wrong = progs_output.disagreement(found, progs_output.summary(written))
    except msgspec.MsgspecError as error:
        wrong = f"the summary is not readable: {error}"
    if wrong:
        raise GuestLost(wrong)
