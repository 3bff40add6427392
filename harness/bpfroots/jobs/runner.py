"""One in-guest runner over many loads: send the bundle, read its lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bpfroots.errors import GuestLost
from bpfroots.machine import Machine
from bpfroots.programs import bundle, protocol

# A load that exceeds its own deadline is reported by the runner; longer silence is the guest's.
_SILENCE = 1.5


class RunnerDied(GuestLost):
    """The runner ended without its end mark; the guest may be fine."""

    def __init__(self, status: int | None, stderr: str) -> None:
        # The guest's shell says 128+N for a runner that signal N ended.
        how = f"signal {status - 128}" if status and status > 128 else f"status {status}"
        last = stderr.strip().splitlines()[-1:] or ["no message"]
        super().__init__(f"the runner died with {how}: {last[0]}")


def stream(
    machine: Machine, loads: Sequence[protocol.Load], objects: Mapping[str, Path]
) -> Iterator[protocol.Hello | protocol.Start | protocol.Loaded]:
    """Everything the runner says up to its end mark. ``objects``: object name → file.

    Raises GuestError where the guest did not live, or the runner did not come, to the end.
    """
    payload = bundle.bundle(loads, objects)
    silence = loads[0].timeout_s * _SILENCE
    deadline = silence * (1 + len(loads))
    command = machine.run(bundle.COMMAND, stdin=payload, no_output=silence, deadline=deadline)
    done = False
    with contextlib.closing(command):
        for line in protocol.assemble(map(_parse, command)):
            if isinstance(line, protocol.Done):
                done = True
            else:
                yield line
    if not done:
        raise RunnerDied(command.status, command.stderr.decode(errors="replace"))


def _parse(raw: bytes) -> protocol.Line:
    try:
        return protocol.parse(raw)
    except msgspec.DecodeError:
        shown = raw[:120].decode(errors="replace")
        msg = f"not a line of the runner: {shown!r}"
        raise GuestLost(msg) from None
