"""A guest from its boot to its end: `Machine.boot`, `Machine.run`, `Machine.close`."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bpfroots.errors import BootError, GuestError, GuestLost, InfraError, Where
from bpfroots.machine import devices, snapshot
from bpfroots.machine.accel import Accel
from bpfroots.machine.command import Command, Completed
from bpfroots.machine.console import ConsoleLog
from bpfroots.machine.deadlines import Deadlines
from bpfroots.machine.devices import BootSpec
from bpfroots.machine.events import EventQueue, Marked
from bpfroots.machine.failure import QmpFailure, SshFailure
from bpfroots.machine.identity import SshIdentity, shell_command
from bpfroots.machine.qemu import QemuProcess
from bpfroots.machine.snapshot import Snapshot, SnapshotFailure
from bpfroots.machine.splats import Allowance, AllowedSplat, Splat
from bpfroots.machine.watch import Watch
from bpfroots.process import temporary_directory
from bpfroots.settings import cache_root, jobs

if TYPE_CHECKING:
    import paramiko

    from bpfroots.machine import ssh

_log = logging.getLogger(__name__)

#: The image's init says why it gave up: this, then the reason.
INIT_FAILED = "bpfroots: init failed:"
# dropbear listens before the ready mark, so this is for kernels that are slow to answer.
_SSH_RETRY = 0.2
_boots = itertools.count(os.getpid())


@contextmanager
def _boot_slot(accel: Accel) -> Iterator[None]:
    """Under emulation, one boot at a time per two cores of the host, across processes.

    Two emulated guests that boot at once starve each other's timer calibration (tailscale#19384).
    """
    if accel.name == "kvm":
        yield
        return
    slot = next(_boots) % max(1, jobs() // 2)
    with (cache_root() / f"boot-{slot}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Machine:
    """A booted guest that answers over SSH. A context manager; leaving it leaves nothing behind.

    One command at a time. After GuestCrash, GuestHang or GuestLost the machine is ``usable`` no
    more; after GuestTimeout the command may still be running in it.
    """

    def __init__(self, qemu: QemuProcess, console: ConsoleLog, queue: EventQueue, limits: Deadlines) -> None:
        self._qemu = qemu
        self._console = console
        self._queue = queue
        self._sessions = itertools.count(1)
        self._transport: paramiko.Transport | None = None
        self._session: ssh.Session | None = None
        self._identity: SshIdentity | None = None
        self._closed = False
        self.limits = limits
        self._watch = Watch(queue, console, qemu, limits)
        #: Host port of the guest's SSH server, on 127.0.0.1.
        self.port = 0
        #: Seconds from QEMU's start to a logged-in connection; of a clone, from its own start.
        self.boot_seconds = 0.0
        #: When (time.monotonic) a clone answered on its console; 0 where it is none.
        self.awake_at = 0.0

    @classmethod
    def boot(
        cls,
        spec: BootSpec,
        initrd: Path,
        *,
        identity: SshIdentity,
        console_log: Path,
        ready_mark: str,
        deadlines: Deadlines | None = None,
        memory: Path | None = None,
    ) -> Self:
        """Boot ``spec`` with ``initrd`` and log in.

        ``deadlines`` are taken as they are; by default they are scaled by the accelerator. ``memory`` is a
        file to be the guest's, for `save`. Raises BootError (the kernel or its image), InfraError (QEMU).
        """
        limits = deadlines or Deadlines().scaled(spec.accel.slowdown_of(spec.shape.cpus))
        backing = devices.Backing(memory, clone=False) if memory else None
        parts = partial(devices.machine_parts, spec, initrd, backing=backing)
        queue = EventQueue()
        with _boot_slot(spec.accel):
            start = time.monotonic()
            console = ConsoleLog(console_log, (ready_mark, INIT_FAILED, snapshot.AWAKE_MARK))
            process = QemuProcess(
                lambda **fds: devices.command_line(spec, parts(**fds)), console, spec.name, queue.put
            )
            machine = cls(process, console, queue, limits)
            try:
                machine._await_ready(ready_mark, start + limits.boot)
            except BaseException:
                machine.close()
                raise
        try:
            machine._log_in(identity)
        except BaseException:
            machine.close()
            raise
        machine.boot_seconds = time.monotonic() - start
        _log.info("%s: booted in %.3f s, SSH on port %d", process.name, machine.boot_seconds, machine.port)
        return machine

    @classmethod
    def clone(
        cls, template: Snapshot, spec: BootSpec, *, console_log: Path, deadlines: Deadlines | None = None
    ) -> Self:
        """A guest that continues where ``template`` was saved, with its own clock, random pool and memory.

        ``spec`` is that of the template. Its console begins with the template's. Raises SnapshotFailure
        where no clone comes of it.
        """
        limits = deadlines or Deadlines().scaled(spec.accel.slowdown_of(spec.shape.cpus))
        backing = devices.Backing(template.memory, clone=True)
        parts = partial(devices.machine_parts, spec, None, backing=backing)
        queue = EventQueue()
        start = time.monotonic()
        console = ConsoleLog(console_log, (snapshot.AWAKE_MARK,))
        console.feed(template.console.read_bytes())
        process = QemuProcess(
            lambda **fds: devices.command_line(spec, parts(**fds)), console, spec.name, queue.put
        )
        machine = cls(process, console, queue, limits)
        from bpfroots.machine import ssh  # noqa: F401  (now, while QEMU starts: see there)

        try:
            machine._restore(template, start + limits.wake)
            machine._wake(start + limits.wake)
            machine.awake_at = time.monotonic()
            machine._log_in(template.identity)
        except SnapshotFailure:
            machine.close()
            raise
        except (GuestError, BootError, InfraError) as error:
            machine.close()
            msg = f"the clone did not start: {error.message}"
            raise SnapshotFailure(msg, detail=error.detail) from None
        except BaseException:
            machine.close()
            raise
        machine.boot_seconds = time.monotonic() - start
        _log.info("%s: cloned in %.3f s, SSH on port %d", process.name, machine.boot_seconds, machine.port)
        return machine

    def save(self, template: Snapshot) -> None:
        """Keep this guest in ``template.directory``, where its ``memory`` has to be already, and end it.

        Raises SnapshotFailure.
        """
        from bpfroots.machine import ssh

        assert self._identity is not None  # noqa: S101
        until = time.monotonic() + self.limits.wake
        try:
            self._wake(until)
            if self._transport is not None:
                ssh.hang_up(self._transport, self.limits.ssh)
                self._transport = None
            snapshot.save(self._qemu.qmp, self._watch, template.state, until, self.limits.qmp)
        except GuestError as error:
            msg = f"the template died: {error.message}"
            raise SnapshotFailure(msg, detail=error.detail) from None
        finally:
            self.close()
        shutil.copyfile(self._console.path, template.console)
        template.keep(self._identity)

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._qemu.pid

    @property
    def usable(self) -> bool:
        return not self._closed and self._watch.dead is None

    def clean(self) -> bool:
        """Has the kernel complained of nothing since the boot, of all it has printed until now?"""
        self._qemu.catch_up()
        return not self._watch.new_splats()

    def splats(self) -> list[Splat]:
        """Everything the kernel complained about, boot included."""
        return self._console.splats()

    def allow(self, lines: Sequence[Allowance]) -> None:
        """From now on, what one of ``lines`` matches is no complaint, but is in `allowed`."""
        self._console.allow(lines)

    def allowed(self) -> list[tuple[AllowedSplat, Where]]:
        """What was no complaint because `allow` says so, of all that the kernel has printed until now, and
        where on the console it is."""
        self._qemu.catch_up()
        path = str(self._console.path)
        return [(splat, Where(path, splat.line)) for splat in self._console.allowed()]

    def run(
        self,
        command: str,
        *,
        stdin: bytes | None = None,
        deadline: float | None = None,
        no_output: float | None = None,
    ) -> Command:
        """Start ``command`` in the guest's shell, with ``stdin`` as its whole input.

        ``deadline`` (start to end) and ``no_output`` (silence) are seconds; by default those of the
        machine's `Deadlines`. Raises GuestLost where the machine is not usable any more, and what
        `Command` raises where a command before was given up and the guest takes no new connection.
        """
        from bpfroots.machine import ssh

        if not self.usable or self._transport is None:
            why = self._watch.dead.message if self._watch.dead else "it was closed"
            msg = f"the machine is gone: {why}"
            raise GuestLost(msg)
        if self._session is not None and self._session.given_up:
            self._transport.close()
            self._transport = self._new_connection()
        self._session = ssh.Session(
            self._transport, next(self._sessions), command, stdin, self._queue.put, self.limits.ssh
        )
        return Command(
            self._watch,
            self.silence,
            self._session,
            self.limits.command if deadline is None else deadline,
            self.limits.no_output if no_output is None else no_output,
        )

    def output(
        self,
        command: str,
        *,
        stdin: bytes | None = None,
        deadline: float | None = None,
        no_output: float | None = None,
    ) -> Completed:
        """`run` to the end, output collected."""
        running = self.run(command, stdin=stdin, deadline=deadline, no_output=no_output)
        lines = list(running)
        assert running.status is not None  # noqa: S101
        return Completed(running.status, b"".join(line + b"\n" for line in lines), running.stderr)

    def silence(self, what: str) -> GuestError:
        """Why nothing comes any more: see `Watch.silence`."""
        assert self._identity is not None  # noqa: S101
        return self._watch.silence(what, self.port, self._identity)

    def gdb_server(self) -> Path:
        """The socket of a gdb server for the guest's CPUs, gone with this process. Raises InfraError."""
        path = temporary_directory() / "gdb"
        words: dict[str, object] = {"command-line": f"gdbserver unix:{path},server=on,wait=off"}
        try:
            said = self._qemu.qmp.execute("human-monitor-command", words, timeout=self.limits.qmp)
        except QmpFailure as failure:
            said = str(failure)
        if not path.exists():
            msg = f"QEMU starts no gdb server: {str(said).strip()}"
            raise InfraError(msg)
        return path

    def shell_command(self, *, terminal: bool = False) -> list[str]:
        """The ssh command for a person; its key files live as long as this process."""
        assert self._identity is not None  # noqa: S101
        return shell_command(self.port, self._identity, terminal=terminal)

    def close(self) -> None:
        """Kill the guest. No process, thread or socket of it is left. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        _log.debug("%s: not needed any more", self._qemu.name)
        self._queue.close()
        self._qemu.close()
        if self._transport is not None:
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> None:
        """QEMU's greeting, and the port that it has bound. Raises InfraError."""
        try:
            self._qemu.qmp.connect(self.limits.qmp)
            self.port = self._qemu.qmp.ssh_port(self.limits.qmp)
        except QmpFailure as failure:
            raise self._no_start(failure) from None

    def _await_ready(self, ready_mark: str, until: float) -> None:
        self._connect()
        try:
            while (event := self._watch.next(until)) is not None:
                match event:
                    case Marked(line) if INIT_FAILED in line:
                        why = line.partition(INIT_FAILED)[2].strip()
                        what = f"the image's init failed: {why}"
                        raise self._boot_error(what)
                    case Marked(line) if ready_mark in line:
                        return
        except GuestError as error:
            raise self._boot_death(error) from None
        words = "" if self._console.lines else "; not a line on its console"
        what = f"the kernel never reached user space within {self.limits.boot:g} s{words}"
        raise self._boot_error(what)

    def _restore(self, template: Snapshot, until: float) -> None:
        self._connect()
        snapshot.restore(self._qemu.qmp, self._watch, template.state, until, self.limits.qmp)

    def _wake(self, until: float) -> None:
        """Give the guest time and randomness, by its console. Raises SnapshotFailure, GuestError."""
        line, answer = snapshot.wake_line()
        self._qemu.type(line)
        while (event := self._watch.next(until)) is not None:
            if isinstance(event, Marked) and event.line.endswith(answer):
                return
        msg = "nothing in the guest takes its clock and randomness from the console"
        raise SnapshotFailure(msg)

    def _log_in(self, identity: SshIdentity) -> None:
        from bpfroots.machine import ssh

        self._identity = identity
        until = time.monotonic() + self.limits.ssh
        self._watch.accept_splats()
        while self._transport is None:
            try:
                self._transport = ssh.connect(self.port, identity, max(0.1, until - time.monotonic()))
            except SshFailure as failure:
                why = failure
            else:
                return
            try:
                self._watch.next(min(until, time.monotonic() + _SSH_RETRY))
            except GuestError as error:
                raise self._boot_death(error) from None
            if why.final or time.monotonic() >= until:
                waited = "" if why.final else f" within {self.limits.ssh:g} s"
                what = f"user space is up, but SSH does not answer{waited}: {why}"
                raise self._boot_error(what) from None

    def _new_connection(self) -> paramiko.Transport:
        from bpfroots.machine import ssh

        assert self._identity is not None  # noqa: S101
        try:
            return ssh.connect(self.port, self._identity, self.limits.ssh)
        except SshFailure as failure:
            what = f"the command did not start ({failure})"
            raise self.silence(what) from None

    def _no_start(self, failure: QmpFailure) -> InfraError:
        """QEMU gave no greeting: its own words, once it is gone."""
        try:
            while self._watch.next(time.monotonic() + 1) is not None:
                pass
        except GuestError:
            pass
        said = self._qemu.stderr()
        status = "" if self._watch.exit is None else f" (status {self._watch.exit})"
        msg = f"QEMU did not start{status}: {said.splitlines()[-1] if said else failure}"
        return InfraError(msg, detail=said)

    def _boot_death(self, error: GuestError) -> BootError | InfraError:
        if isinstance(error, GuestLost):
            return InfraError(f"{error.message} during boot", detail=error.detail, console=error.console)
        return self._boot_error(f"the kernel died during boot: {error.message}")

    def _boot_error(self, message: str) -> BootError:
        # `message` may be about silence; a complaint on the console says more than that.
        splats = self._watch.new_splats()
        if splats and splats[0].title not in message:
            message += f"; console line {splats[0].line}: {splats[0].title}"
        tail = "\n".join(f"  {line}" for line in self._console.tail(15))
        return BootError(message, detail=tail, console=Where(str(self._console.path)))
