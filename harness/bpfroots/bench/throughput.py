"""Verdicts of small programs per second: the runner against veristat, in one guest, for the same objects."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bpfroots import process
from bpfroots.bench import programs, veristat
from bpfroots.bench.common import Bench, take_turns
from bpfroots.bench.model import RATE, Measurement, measurement
from bpfroots.errors import InfraError
from bpfroots.jobs import runner
from bpfroots.jobs.guests import Guests
from bpfroots.machine import Machine
from bpfroots.programs import bundle, protocol
from bpfroots.programs.protocol import Load

_COUNT = 500
# Ten times as slow, and not what is compared.
_COUNT_IN_FULL = 100
_JOB = "/tmp/job"  # noqa: S108  (the guest's)
_WHAT = (
    f"verdict and statistics (log level 4) of {_COUNT} small programs that are in the guest, an object each; "
    "with_transfer: sent from the host in the same command; full_collection: "
    f"log, xlated and JIT code as well, of {_COUNT_IN_FULL}"
)


def measure(bench: Bench) -> Measurement:
    """throughput. Raises InfraError where our runner or veristat does not accept all of them."""
    kit = bench.kit
    kernel = kit.kernels[0]
    files = programs.objects(kit, _COUNT)
    brief = _loads(list(files), ())
    full = _loads(list(files)[:_COUNT_IN_FULL], ("log", "xlated", "jited"))
    reason = "" if kernel.source else f"the source of {kernel.name} is not known, and veristat is part of it"
    tool = veristat.of(kernel, bench.progress) if kernel.source else None
    console = process.temporary_directory() / "console.log"
    with (
        bench.progress.task(f"bench     throughput {kernel.name}", "runs") as task,
        Guests(kit, bench.accel).boot(kernel, console) as machine,
    ):
        _send(machine, brief, files, tool)
        sides = [
            lambda: _ours(machine, len(brief)),
            lambda: _streamed(machine, brief, files),
            lambda: _streamed(machine, full, files),
            *([lambda: _peer(machine)] if tool else []),
        ]
        take_turns(1, sides, lambda _: None)
        context = bench.context(kernel)
        samples = take_turns(bench.runs, sides, lambda done: task.update(done, bench.runs))
    return measurement(
        samples[0],
        samples[3] if tool else [],
        unit=RATE,
        what=_WHAT,
        context=context,
        name=f"{veristat.VERISTAT} of {kernel.name}'s tree",
        command=veristat.COMMAND,
        reason=reason,
        more={"with_transfer": samples[1], "full_collection": samples[2]},
    )


def _loads(names: Sequence[str], collect: tuple[str, ...]) -> list[Load]:
    return [
        Load(
            id=name,
            mechanism="duplicate",
            object=name,
            roots=[programs.PROGRAM],
            collect=collect,  # type: ignore[arg-type]
        )
        for name in names
    ]


def _send(machine: Machine, loads: Sequence[Load], files: Mapping[str, Path], tool: Path | None) -> None:
    """What both sides read: the job and the objects for the runner, a folder of objects for veristat."""
    done = machine.output(f"cat > {_JOB}", stdin=bundle.bundle(loads, files))
    if done.status:
        msg = f"no room for {len(files)} objects: {done.stderr.decode(errors='replace').strip()}"
        raise InfraError(msg)
    if tool:
        veristat.send(machine, tool, bundle.archive(files))


def _ours(machine: Machine, count: int) -> float:
    """Programs a second, from the command to its last line, read."""
    start = time.monotonic()
    lines = machine.run(f"{bundle.COMMAND} <{_JOB}")
    accepted = sum(_accepted(protocol.parse(line)) for line in lines)
    return _rate(accepted, count, time.monotonic() - start)


def _streamed(machine: Machine, loads: Sequence[Load], files: Mapping[str, Path]) -> float:
    """The same as cells are run: objects and job go in, lines come out."""
    start = time.monotonic()
    accepted = sum(map(_accepted, runner.stream(machine, loads, files)))
    return _rate(accepted, len(loads), time.monotonic() - start)


def _accepted(line: protocol.Line) -> bool:
    return isinstance(line, protocol.Loaded) and line.verdict == "accept"


def _peer(machine: Machine) -> float:
    start = time.monotonic()
    done = machine.output(f"cd {veristat.FOLDER} && exec {veristat.COMMAND}")
    seconds = time.monotonic() - start
    return _rate(done.stdout.count(b",success,"), _COUNT, seconds)


def _rate(accepted: int, count: int, seconds: float) -> float:
    if accepted != count:
        msg = f"{accepted} of {count} programs were accepted, and all should be"
        raise InfraError(msg)
    return count / seconds
