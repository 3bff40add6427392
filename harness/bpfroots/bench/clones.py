"""A fresh guest: from asking for it to its answer."""

from __future__ import annotations

import time

from bpfroots import process
from bpfroots.bench import virtme
from bpfroots.bench.common import Bench, take_turns
from bpfroots.bench.model import SECONDS, Measurement, measurement
from bpfroots.errors import InfraError
from bpfroots.jobs.guests import Guests
from bpfroots.programs import bundle, protocol

_WHAT = {
    "clone_ssh": "a fresh guest, to the first line of its runner over SSH",
    "clone_serial": "a fresh guest, to its answer on the serial console",
}


def measure(bench: Bench) -> dict[str, Measurement]:
    """clone_ssh and clone_serial, from the same clones; beside them `vng -- true`. Raises InfraError."""
    kit = bench.kit
    kernel = kit.kernels[0]
    guests = Guests(kit, bench.accel)
    console = process.temporary_directory() / "console.log"
    serial: list[float] = []

    def clone() -> float:
        start = time.monotonic()
        with guests.boot(kernel, console) as machine:
            if guests.no_clones:
                msg = f"no clones here: {guests.no_clones}"
                raise InfraError(msg)
            hello = next(iter(machine.run(bundle.COMMAND, stdin=bundle.bundle([], {}))))
            answered = time.monotonic()
            assert isinstance(protocol.parse(hello), protocol.Hello)  # noqa: S101
            serial.append(machine.awake_at - start)
        return answered - start

    with bench.progress.task(f"bench     clone {kernel.name}", "runs") as task:
        clone()  # boots the template where there is none
        serial.clear()
        try:
            peer = virtme.find(kernel, bench.accel)
        except virtme.NoPeer as error:
            peer, reason = None, error.message
        else:
            reason = ""
        context = bench.context(kernel)
        sides = [clone, *([lambda: peer.seconds("true")] if peer else [])]
        samples = take_turns(bench.runs, sides, lambda done: task.update(done, bench.runs))
    theirs = samples[1] if peer else []
    name, command = (peer.name, peer.command("true")) if peer else ("", "")
    return {
        key: measurement(
            ours,
            theirs,
            unit=SECONDS,
            what=_WHAT[key],
            context=context,
            name=name,
            command=command,
            reason=reason,
        )
        for key, ours in (("clone_ssh", samples[0]), ("clone_serial", serial))
    }
