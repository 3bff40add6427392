"""Telling what became of a guest: crash, hang, timeout or lost, each from evidence."""

from __future__ import annotations

import logging
import signal
import time

from bpfroots.errors import GuestCrash, GuestError, GuestHang, GuestLost, GuestTimeout, Where
from bpfroots.machine.console import ConsoleLog
from bpfroots.machine.deadlines import Deadlines
from bpfroots.machine.events import (
    Answer,
    Event,
    EventQueue,
    QemuExited,
    QmpEvent,
    SessionEnded,
    SplatSeen,
)
from bpfroots.machine.failure import QmpFailure
from bpfroots.machine.identity import SshIdentity
from bpfroots.machine.qemu import QemuProcess
from bpfroots.machine.splats import Splat

_log = logging.getLogger(__name__)

_SHOWN = 12


class Watch:
    """Takes a machine's events and knows what they mean for the command that is running.

    A sign of trouble does not end a wait at once: what the command had already written may still
    be on its way, a lost connection may overtake the oops that caused it, and a report names itself only
    some lines later. The verdict is given when QEMU is gone or the grace is over.
    """

    def __init__(self, queue: EventQueue, console: ConsoleLog, qemu: QemuProcess, limits: Deadlines) -> None:
        self._queue = queue
        self._console = console
        self._qemu = qemu
        self._limits = limits
        self._verdict_at: float | None = None
        self._panicked = False
        self._shutdown = ""
        self._lost = ""
        self._booting = True
        self._stopping = False
        self._accepted = 0
        self.exit: int | None = None
        self.dead: GuestError | None = None

    def accept_splats(self) -> None:
        """The boot is over: what the kernel complained of is no reason to give it up, what follows is."""
        self._accepted = len(self._console.splats())
        self._booting = False

    def expect_stop(self) -> None:
        """The machine is about to be stopped, for good, by us."""
        self._stopping = True

    def next(self, until: float) -> Event | None:
        """The next event that is the caller's business, None at ``until``. Raises GuestError."""
        while True:
            limit = until if self._verdict_at is None else min(until, self._verdict_at)
            event = self._queue.get(limit)
            if event is None:
                if self._verdict_at is not None and time.monotonic() >= self._verdict_at:
                    raise self._verdict()
                return None
            match event:
                case QemuExited(status):
                    self.exit = status
                    raise self._verdict()
                case SplatSeen():
                    if not self._booting:
                        self._trouble(self._limits.splat_end)
                case QmpEvent(name="MIGRATION"):
                    return event
                case QmpEvent():
                    self._qmp_event(event)
                case SessionEnded(status=None, connected=False, why=why):
                    self._lost = why or "closed by the guest"
                    self._trouble(self._limits.late_oops)
                case _:
                    return event

    def grace(self) -> None:
        """A command failed: give an oops that is on its way the time to arrive. Raises GuestError."""
        until = time.monotonic() + self._limits.late_oops
        while self.next(until) is not None:
            pass

    def settled(self) -> None:
        """The command is over. Raises GuestError if the console has a complaint of its time."""
        self._qemu.catch_up()
        while self.next(time.monotonic()) is not None:
            pass
        while self._verdict_at is not None:
            self.next(self._verdict_at)

    def silence(self, what: str, port: int, identity: SshIdentity) -> GuestError:
        """A deadline passed (``what``, in words). Does the guest still answer? The verdict."""
        _log.info("%s: %s; does the guest still answer?", self._qemu.name, what)
        try:
            status = self._qemu.qmp.execute("query-status", timeout=self._limits.qmp)["status"]
        except QmpFailure as failure:
            state = "is stopped by a signal" if self._qemu.stopped() else f"does not answer: {failure}"
            return self._final(GuestLost(f"{what}: QEMU (pid {self._qemu.pid}) {state}"))
        if status != "running":
            msg = f"{what}: QEMU has stopped the machine: {status}"
            return self._final(GuestLost(msg, detail=self._stderr()))
        from bpfroots.machine import ssh

        ssh.ask(port, identity, self._limits.probe, self._queue.put)
        # The probe bounds itself; the second is for a thread that is late.
        until = time.monotonic() + self._limits.probe + 1
        try:
            while (event := self.next(until)) is not None:
                if isinstance(event, Answer):
                    break
        except GuestError as error:
            return error
        if isinstance(event, Answer) and event.ok:
            _log.info("%s: it does", self._qemu.name)
            return GuestTimeout(f"{what}; the guest still answers")
        why = event.why if isinstance(event, Answer) else "no answer"
        msg = f"{what}; the guest answers nothing any more ({why})"
        return self._final(self._with_tail(GuestHang, msg))

    def _qmp_event(self, event: QmpEvent) -> None:
        if event.name == "GUEST_PANICKED":
            self._panicked = True
            self._trouble(self._limits.splat_end)
        elif event.name == "SHUTDOWN":
            self._shutdown = str(event.data.get("reason", ""))
        elif event.name == "STOP" and not self._panicked and not self._stopping:
            # We stop only what becomes a template: QEMU does on an internal error of KVM.
            raise self._final(GuestLost("QEMU stopped the machine by itself", detail=self._stderr()))

    def _trouble(self, grace: float) -> None:
        if self._verdict_at is None:
            self._verdict_at = time.monotonic() + grace

    def new_splats(self) -> list[Splat]:
        return self._console.splats()[self._accepted :]

    def _verdict(self) -> GuestError:
        self._verdict_at = None
        return self._final(self._judge())

    def _judge(self) -> GuestError:
        splats = self.new_splats()
        if splats:
            # A boot ends in what stopped it; later, the first complaint taints everything after.
            first = splats[-1] if self._booting else splats[0]
            kind = GuestCrash if first.kind == "crash" else GuestHang
            shown = "\n".join(f"  {line}" for line in first.text[:_SHOWN])
            return kind(first.title, detail=shown, console=self._where(first.line))
        if self._panicked:
            return self._with_tail(GuestCrash, "the kernel panicked without a word on the console")
        if self.exit is None:
            return self._with_tail(GuestLost, f"the SSH connection broke: {self._lost}")
        if self.exit < 0:
            name = signal.Signals(-self.exit).name
            return GuestLost(f"QEMU died of {name}", detail=self._stderr())
        if self._shutdown.startswith("guest"):
            what = "reset itself" if self._shutdown == "guest-reset" else "shut down"
            return self._with_tail(GuestCrash, f"the guest {what} without a word on the console")
        return GuestLost(f"QEMU ended with status {self.exit}", detail=self._stderr())

    def _final(self, error: GuestError) -> GuestError:
        _log.info("%s: %s: %s", self._qemu.name, error.outcome, error.message)
        error.during = self._console.splat_load(self._accepted)
        self.dead = self.dead or error
        return error

    def _with_tail(self, kind: type[GuestError], message: str) -> GuestError:
        tail = "\n".join(f"  {line}" for line in self._console.tail(_SHOWN))
        return kind(message, detail=tail, console=self._where())

    def _where(self, line: int = 0) -> Where:
        return Where(str(self._console.path), line)

    def _stderr(self) -> str:
        return self._qemu.stderr() or "QEMU said nothing"
