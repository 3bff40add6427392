"""A booted guest kept in a directory, and any number of clones that start from it.

Guest memory is a file that QEMU maps: the template's mapping is shared, so the file is its memory; a
clone's is private, so it takes a copy of what it writes and nothing else. The rest of the machine, a few
hundred KiB, goes through QEMU's migration with x-ignore-shared, which leaves memory out. The template must
not run again: its clones read the file it would write.
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bpfroots.errors import InfraError
from bpfroots.machine.events import QmpEvent
from bpfroots.machine.failure import QmpFailure
from bpfroots.machine.identity import SshIdentity
from bpfroots.machine.watch import Watch

if TYPE_CHECKING:
    from bpfroots.machine.qmp import Qmp

#: What images/runner/awake.c answers on the console, before the seconds it was told.
AWAKE_MARK = "bpfroots: awake "
_CAPABILITIES = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
# A connection of user-mode networking, in "info usernet"; the forward itself is no connection.
_CONNECTION = re.compile(r"^\s*TCP\[(?!HOST_FORWARD\])", re.MULTILINE)
_ASK_AGAIN = 0.02


class SnapshotFailure(InfraError):
    """No template or no clone: this QEMU, kernel or image cannot do it. Booting still can."""


class _Keys(msgspec.Struct):
    client_key: str
    host_key: str


@dataclass(frozen=True)
class Snapshot:
    """A template in a directory; whoever can read it can log in to its clones."""

    directory: Path

    @property
    def memory(self) -> Path:
        return self.directory / "memory"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def console(self) -> Path:
        """What the template printed, from its boot on."""
        return self.directory / "console.log"

    @property
    def identity(self) -> SshIdentity:
        keys = msgspec.json.decode((self.directory / "keys.json").read_bytes(), type=_Keys)
        return SshIdentity(keys.client_key, keys.host_key)

    def keep(self, identity: SshIdentity) -> None:
        """Write the keys of the template, for `identity`."""
        path = self.directory / "keys.json"
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(_Keys(identity.client_key, identity.host_key)))


def wake_line() -> tuple[str, str]:
    """What the console of a clone is told, the time of day and fresh randomness, and what it answers."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{seconds} {nanoseconds} {secrets.token_hex(32)}", f"{AWAKE_MARK}{seconds}"


def save(qmp: Qmp, watch: Watch, state: Path, until: float, timeout: float) -> None:
    """Stop a guest and write its state; its memory is in its file then. Raises SnapshotFailure, GuestError.

    A connection open through user-mode networking would be open in every clone, at one host
    port: they hang. So it waits for the last one's end.
    """
    try:
        while _CONNECTION.search(qmp.usernet(timeout)):
            if time.monotonic() >= until:
                msg = "a connection to the guest stays open"
                raise SnapshotFailure(msg)
            watch.next(time.monotonic() + _ASK_AGAIN)
        watch.expect_stop()
        qmp.execute("stop", timeout=timeout)
        _write(qmp, watch, state, until, timeout)
    except QmpFailure as failure:
        msg = f"QEMU makes no snapshot: {failure}"
        raise SnapshotFailure(msg) from None


def _write(qmp: Qmp, watch: Watch, state: Path, until: float, timeout: float) -> None:
    """QEMU is done when all is in the pipe, and cat may still be writing: a clone would get half of it."""
    part = state.with_name(f"{state.name}.part")
    from_, to = (shlex.quote(str(path)) for path in (part, state))
    uri = f"exec:cat > {from_} && mv {from_} {to} || rm -f {from_}"
    _migrate(qmp, watch, "migrate", uri, until, timeout)
    while not state.exists():
        if time.monotonic() >= until or not (part.exists() or state.exists()):
            msg = f"{state}: not written to its end"
            raise SnapshotFailure(msg)
        watch.next(time.monotonic() + _ASK_AGAIN)


def restore(qmp: Qmp, watch: Watch, state: Path, until: float, timeout: float) -> None:
    """Give a QEMU that was started with `devices.Backing` its state and let it run. Raises as `save` does."""
    try:
        _migrate(qmp, watch, "migrate-incoming", f"exec:cat {shlex.quote(str(state))}", until, timeout)
        qmp.execute("cont", timeout=timeout)
    except QmpFailure as failure:
        msg = f"QEMU takes no snapshot: {failure}"
        raise SnapshotFailure(msg) from None


def _migrate(qmp: Qmp, watch: Watch, command: str, uri: str, until: float, timeout: float) -> None:
    qmp.execute("migrate-set-capabilities", {"capabilities": _CAPABILITIES}, timeout=timeout)
    qmp.execute(command, {"uri": uri}, timeout=timeout)
    while (event := watch.next(until)) is not None:
        match event:
            case QmpEvent(data={"status": "completed"}):
                return
            case QmpEvent(data={"status": "failed"}):
                break
    said = qmp.execute("query-migrate", timeout=timeout)
    msg = f"{command}: {said.get('error-desc', said.get('status', 'no end'))}"
    raise QmpFailure(msg)
