"""Two kernels over the programs of a tree's selftests: `bpfroots ab` against veristat in a guest of each."""

from __future__ import annotations

import concurrent.futures
import csv
import shutil
import time
from pathlib import Path

import msgspec

from bpfroots import process
from bpfroots.ab import corpus, pair
from bpfroots.bench import veristat
from bpfroots.bench.common import Bench, ours, scratch, take_turns
from bpfroots.bench.model import SECONDS, Measurement, measurement
from bpfroots.errors import InfraError
from bpfroots.jobs.compiled import compile_cells
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit, prepare, roomy
from bpfroots.jobs.objects import object_cells
from bpfroots.kernels import Kernel
from bpfroots.programs import bundle
from bpfroots.results.request import Objects
from bpfroots.settings import cache_root

_BASE = "baseline"
_DEADLINE = 2 * 3600.0
# What ab takes from earlier runs.
_KNOWN = ("cells", "costs")


class _Compared(msgspec.Struct):
    """What is wanted of the document of `ab --json`."""

    programs: int


def measure(bench: Bench, runs: int, programs: str = "selftests-base") -> Measurement:
    """ab, over the corpus ``programs``. Raises InfraError where ours does not come to its end, or veristat
    has no verdict."""
    kit = roomy(prepare([_BASE, bench.argument], bench.progress))
    base, kernel = kit.kernels
    files = _objects(kit, bench, programs)
    tools = {one.name: veristat.of(one, bench.progress) for one in kit.kernels}
    compared: list[int] = []
    with scratch() as objects:
        for name, path in files.items():
            shutil.copyfile(path, objects / name)
        with bench.progress.task(f"bench     ab {base.name} {kernel.name}", "runs") as task:
            context = bench.context(kernel)
            sides = [
                lambda: _ours(objects, bench, compared),
                lambda: _peer(kit, bench, tools, files),
            ]
            samples = take_turns(runs, sides, lambda done: task.update(done, runs))
    return measurement(
        samples[0],
        samples[1],
        unit=SECONDS,
        what=(
            f"bpfroots ab --kernel {_BASE} --kernel {bench.argument}, of {compared[0]:,} programs in "
            f"{len(files)} objects of {programs}, nothing from earlier runs: verdict, log, "
            "translated and JIT code, comparison, report; the peer's is verdict and statistics, in a guest "
            "of each kernel at once, from its start"
        ),
        context=context,
        name=f"{veristat.VERISTAT} of each tree",
        command=veristat.COMMAND,
    )


def _objects(kit: Kit, bench: Bench, programs: str) -> dict[str, Path]:
    """The objects that compile, by the names that they get."""
    trees = (_BASE, bench.argument)
    what = corpus.read(programs, lambda number: pair.source_of(trees[number], bench.progress), bench.progress)
    assert isinstance(what, Objects)  # noqa: S101
    found = compile_cells(kit, object_cells(what), bench.progress).objects
    return {f"{Path(key.case).stem}.bpf.o": files.program for key, files in found.items()}


def _ours(objects: Path, bench: Bench, compared: list[int]) -> float:
    """`bpfroots ab`; ``compared`` gets the number of programs."""
    words = ["ab", "--kernel", _BASE, "--kernel", bench.argument, str(objects)]
    with scratch() as cache:
        (cache / "bpfroots").mkdir(mode=0o700)
        for entry in cache_root().iterdir():
            if entry.name not in _KNOWN:
                (cache / "bpfroots" / entry.name).symlink_to(entry)
        separate = {"XDG_CACHE_HOME": str(cache)}
        seconds, found = ours(bench, words, _Compared, deadline=_DEADLINE, separate=separate)
    compared.append(found.programs)
    return seconds


def _peer(kit: Kit, bench: Bench, tools: dict[str, Path], files: dict[str, Path]) -> float:
    """Both guests at once, each from its start to the table."""
    archive = bundle.archive(files)
    guests = Guests(kit, bench.accel)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        rows = list(pool.map(lambda one: _asked(guests, one, tools[one.name], archive), kit.kernels))
    seconds = time.monotonic() - start
    if not all(rows):
        msg = f"{veristat.COMMAND}: no program has a verdict"
        raise InfraError(msg)
    return seconds


def _asked(guests: Guests, kernel: Kernel, tool: Path, archive: bytes) -> int:
    """The number of programs that veristat has a verdict on."""
    console = process.temporary_directory() / "console.log"
    with guests.boot(kernel, console) as machine:
        veristat.send(machine, tool, archive)
        command = f"cd {veristat.FOLDER} && exec {veristat.COMMAND}"
        done = machine.output(command, deadline=_DEADLINE, no_output=_DEADLINE)
    if done.status:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        msg = f"{veristat.COMMAND}: status {done.status}"
        raise InfraError(msg, detail="\n".join(said[-5:]))
    verdicts = [row["verdict"] for row in csv.DictReader(done.stdout.decode().splitlines())]
    return sum(verdict in ("success", "failure") for verdict in verdicts)
