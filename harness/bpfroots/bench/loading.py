"""`bpfroots load` as a person types it, everything cached."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path

import msgspec

from bpfroots import process
from bpfroots.bench import programs, virtme
from bpfroots.bench.common import Bench, environment, take_turns
from bpfroots.bench.model import SECONDS, Measurement, measurement
from bpfroots.errors import InfraError
from bpfroots.jobs.kit import bpftool
from bpfroots.programs import compile as compiling
from bpfroots.settings import results_root

_WHAT = (
    "bpfroots load PROGRAM, a process of its own: verdict, log, translated instructions and JIT code, and "
    "the report; the peer's is verdict, log and translated instructions (its bpftool has no disassembler)"
)
_DEADLINE = 300.0


class _Loaded(msgspec.Struct):
    """What is wanted of the document of `load --json`."""

    path: str


def measure(bench: Bench) -> Measurement:
    """load; beside it the same by bpftool in a guest of virtme-ng's. Raises InfraError where ours fails."""
    kit = bench.kit
    kernel = kit.kernels[0]
    name, source = next(iter(programs.sources().items()))
    directory = process.temporary_directory()
    file = directory / name
    file.write_bytes(source)

    def ours() -> float:
        argv = [sys.executable, "-m", "bpfroots", "load", str(file), "--kernel", bench.argument]
        argv += ["--accel", bench.accel.name, "--json"]
        start = time.monotonic()
        done = process.run(argv, env=environment(), timeout=_DEADLINE)
        seconds = time.monotonic() - start
        _forget(done.stdout)
        if done.returncode:
            msg = f"bpfroots load {name} ended with status {done.returncode}"
            raise InfraError(msg, detail=done.stderr.decode(errors="replace"))
        return seconds

    with bench.progress.task(f"bench     load {kernel.name}", "runs") as task:
        ours()
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
        sides = [ours, *([lambda: peer.seconds(command)] if peer else [])]
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


def _forget(document: bytes) -> None:
    """Remove the run folder that ``--json`` names: it is no result, and would be the newest run."""
    try:
        folder = Path(msgspec.json.decode(document, type=_Loaded).path)
    except msgspec.MsgspecError:
        return
    if folder.is_relative_to(results_root()):
        shutil.rmtree(folder, ignore_errors=True)
