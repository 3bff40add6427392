"""`bpfroots load` as a person types it, everything cached."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from bpfroots import process
from bpfroots.bench import programs, virtme
from bpfroots.bench.common import Bench, ours, take_turns
from bpfroots.bench.model import SECONDS, Measurement, measurement
from bpfroots.jobs.kit import bpftool
from bpfroots.programs import compile as compiling

_WHAT = (
    "bpfroots load PROGRAM, a process of its own: verdict, log, translated instructions and JIT code, and "
    "the report; the peer's is verdict, log and translated instructions (its bpftool has no disassembler)"
)
_DEADLINE = 300.0


def measure(bench: Bench) -> Measurement:
    """load; beside it the same by bpftool in a guest of virtme-ng's. Raises InfraError where ours fails."""
    kit = bench.kit
    kernel = kit.kernels[0]
    name, source = next(iter(programs.sources().items()))
    directory = process.temporary_directory()
    file = directory / name
    file.write_bytes(source)

    def load() -> float:
        words = ["load", str(file), "--kernel", bench.argument]
        return ours(bench, words, dict[str, object], deadline=_DEADLINE, ends=(0,))[0]

    with bench.progress.task(f"bench     load {kernel.name}", "runs") as task:
        load()
        try:
            peer = virtme.find(kernel, bench.accel)
            object_ = directory / "program.bpf.o"
            shutil.copyfile(compiling.compile_source(kit.toolchain, kit.objects, source, name), object_)
            command = _script(bpftool(bench.progress), object_)
            peer.seconds(command)
        except virtme.NoPeer as error:
            peer, command, reason = None, "", error.message
        else:
            reason = ""
        context = bench.context(kernel)
        sides = [load, *([lambda: peer.seconds(command)] if peer else [])]
        samples = take_turns(bench.runs, sides, lambda done: task.update(done, bench.runs))
    return measurement(
        samples[0],
        samples[1] if peer else [],
        unit=SECONDS,
        what=_WHAT,
        context=context,
        name=f"{peer.name} and bpftool" if peer else "",
        command=peer.command(command) if peer else "",
        reason=reason,
    )


def _script(tool: Path, object_: Path) -> str:
    """The same by hand, in a guest that sees the host's files."""
    pin = f"/sys/fs/bpf/{programs.PROGRAM}"
    words = shlex.quote(str(tool))
    return " && ".join(
        (
            "(mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf)",
            f"{words} -d prog load {shlex.quote(str(object_))} {pin} >/dev/null 2>&1",
            f"{words} prog dump xlated pinned {pin} >/dev/null",
        )
    )
