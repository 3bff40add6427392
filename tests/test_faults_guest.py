"""Every way a guest goes wrong under a run: the outcome named in docs/faults.md, and not one cell lost."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from bpfroots.jobs.engine import Engine
from bpfroots.jobs.kit import Kit, roomy
from bpfroots.jobs.run import open_store
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellSpec, ProgramFile
from bpfroots.kernels import Kernel
from bpfroots.machine import Machine, choose_accel
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore
from tests.faulty import SOURCE, FaultyEngine, Harm, cell, poison

pytestmark = pytest.mark.guest

# Runs that come to their end within the short deadlines on a busy host too.
_SHORT = 5_000_000

Engines = Callable[[Harm], FaultyEngine]


@pytest.fixture
def store(kit: Kit) -> Iterator[RunStore]:
    store = open_store(kit, choose_accel("auto"), "run", ["pytest"])
    yield store
    store.finish()


@pytest.fixture
def engines(kit: Kit, store: RunStore) -> Engines:
    def make(harm: Harm) -> FaultyEngine:
        accel = choose_accel("auto")
        # Where a guest goes wrong, shorter deadlines: what hangs there hangs for good.
        limited = replace(accel, slowdown=0.5) if harm.hangs else accel
        engine = FaultyEngine(Site(kit, store, limited, guests=1))
        engine.harm, engine.booted = harm, 0
        return engine

    return make


def _run(engine: FaultyEngine, kit: Kit) -> dict[str, Cell]:
    """Two cells, the poisoned one, two cells: each comes back once, and all others pass."""
    names = ["before/1", "before/2", "poison/cell", "after/1", "after/2"]
    specs = [poison(name) if name == "poison/cell" else cell(name) for name in names]
    found = list(engine.submit(kit.kernels[0], specs))
    assert sorted(c.case for c in found) == sorted(names)
    cells = {c.case: c for c in found}
    others = {name: (c.outcome, c.reason) for name, c in cells.items() if name != "poison/cell"}
    assert set(others.values()) == {("pass", "")}, others
    assert not _qemus()
    return cells


def _qemus() -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(os.getpid()), "qemu"], stdout=subprocess.PIPE, check=False)
    return [int(pid) for pid in done.stdout.split()]


_WARN = "<4>WARNING: CPU: 0 PID: 1 at kernel/bpf/core.c:12 bpf_check+0x1/0x2"
_OOPS = "<1>BUG: kernel NULL pointer dereference, address: 0000000000000008"
_STALL = "<3>rcu: INFO: rcu_sched self-detected stall on CPU"


@dataclass(frozen=True)
class _Fault:
    name: str
    command: str
    outcome: str
    words: str = ""


_KERNEL_FAULTS = [
    _Fault("panic", "echo c > /proc/sysrq-trigger", "guest_crash", "panic: sysrq triggered crash"),
    _Fault("oops", f"echo '{_OOPS}' > /dev/kmsg", "guest_crash", "BUG: kernel NULL pointer dereference"),
    _Fault("warn", f"echo '{_WARN}' > /dev/kmsg", "guest_crash", "WARNING in bpf_check at kernel/bpf/core.c"),
    _Fault("rcu-stall", f"echo '{_STALL}' > /dev/kmsg", "guest_hang", "rcu_sched stall"),
    _Fault("oom", "tail /dev/zero", "guest_crash", "Out of memory"),
    _Fault("reset", "reboot -f", "guest_crash", "reset itself"),
]


@pytest.mark.parametrize("fault", _KERNEL_FAULTS, ids=lambda fault: fault.name)
def test_the_guilty_cell_is_named_and_run_again_alone(engines: Engines, kit: Kit, fault: _Fault) -> None:
    engine = engines(Harm(fault.command))
    guilty = _run(engine, kit)["poison/cell"]
    assert guilty.outcome == fault.outcome, guilty.reason
    assert fault.words in guilty.reason
    assert guilty.note == "again when run alone in a fresh guest"
    assert engine.booted == 3  # the first, the one of its own, the one for the innocent
    assert guilty.duration_s > 0


def test_a_cell_that_does_it_only_after_others_is_still_reported(engines: Engines, kit: Kit) -> None:
    """The kernel has done wrong, whoever made it: what ran before is said."""
    harm = 'case "$line" in *poison*) test -e /tmp/before && echo c > /proc/sysrq-trigger ;; esac'
    engine = engines(Harm(f"{harm}; touch /tmp/before", load=""))
    found = list(engine.submit(kit.kernels[0], [cell("quiet/1"), poison("poison/2"), cell("quiet/3")]))
    cells = {c.case: c for c in found}
    assert len(cells) == len(found) == 3
    assert cells["poison/2"].outcome == "guest_crash"
    said = "not when run alone in a fresh guest; before it ran 1 cell, last quiet/1/duplicate"
    assert cells["poison/2"].note == said
    assert cells["quiet/1"].outcome == cells["quiet/3"].outcome == "pass"


def test_a_crash_after_the_last_cell_is_that_cells(engines: Engines, kit: Kit) -> None:
    """Nothing follows that could notice: the end of the runner does."""
    engine = engines(Harm(f"echo '{_WARN}' > /dev/kmsg", load="last/cell"))
    found = list(engine.submit(kit.kernels[0], [cell("first/cell"), poison("last/cell")]))
    outcomes = {c.case: c.outcome for c in found}
    assert len(found) == 2
    assert outcomes == {"first/cell": "pass", "last/cell": "guest_crash"}
    assert all(c.duration_s > 0 for c in found)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("clock", "date -s 2040-01-01"),
        ("flood", "yes 'nothing to see here, move along please' | head -c 5000000 > /dev/console"),
    ],
)
def test_what_is_no_fault(engines: Engines, kit: Kit, name: str, command: str) -> None:
    harm = Harm(f"{command} > /dev/null" if name == "clock" else command, hangs=False)
    engine = engines(harm)
    found = _run(engine, kit)["poison/cell"]
    assert (found.outcome, found.reason) == ("pass", "")
    assert engine.booted == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_qemu_that_goes_once_is_no_cells_fault(
    kit: Kit, engines: Engines, store: RunStore, number: signal.Signals
) -> None:
    engine = engines(Harm("true"))
    found: list[Cell] = []
    for finished in engine.submit(kit.kernels[0], [cell("before/1"), poison(repeat=_SHORT), cell("after/1")]):
        found.append(finished)
        if len(found) == 1:
            for pid in _qemus():
                os.kill(pid, number)
    assert Counter(c.outcome for c in found) == {"pass": 3}, [c.reason for c in found]
    assert engine.booted == 3
    assert not _qemus()


class _ShotEngine(FaultyEngine):
    """Each of its QEMUs is killed as soon as its guest begins the poisoned cell."""

    def _boot(self, kernel: Kernel) -> Machine:
        machine = super()._boot(kernel)
        log = shlex.quote(str(machine._console.path))
        wait = f"grep -m1 -q 'bpfroots: load poison/cell' <(tail -n +1 -F {log}); kill -9 {machine.pid} $!"
        self.shooters.append(subprocess.Popen(["timeout", "300", "bash", "-c", wait]))
        return machine

    shooters: ClassVar[list[subprocess.Popen[bytes]]] = []


def test_a_qemu_that_goes_twice_in_one_cell_leaves_it_without_a_verdict(kit: Kit, store: RunStore) -> None:
    engine = _ShotEngine(Site(kit, store, choose_accel("auto"), guests=1))
    engine.harm, engine.booted = Harm("true"), 0
    try:
        lost = _run(engine, kit)["poison/cell"]
    finally:
        for shooter in engine.shooters:
            shooter.terminate()
            shooter.wait()
    assert (lost.outcome, lost.verdict) == ("infra_error", "")
    assert "QEMU died of SIGKILL" in lost.reason
    assert lost.note == "QEMU said nothing; again when run alone in a fresh guest"
    assert engine.booted == 3


def _large(kit: Kit, store: RunStore, body: str) -> Cell:
    source = SOURCE.replace(b"return XDP_PASS;", body.encode())
    spec = CellSpec("large/cell", "duplicate", ["fine"], program=ProgramFile(source))
    (found,) = Engine(Site(kit, store, choose_accel("auto"))).submit(kit.kernels[0], [spec])
    return found


def test_a_log_of_16_mib_comes_whole(kit: Kit, store: RunStore) -> None:
    """A loop that the verifier goes through turn by turn, with everything it says about it."""
    found = _large(kit, store, "volatile int sum = 0; for (int i = 0; i < 6000; i++) sum += i; return 2;")
    assert found.outcome == "pass", found.reason
    log = store.path / found.artefacts["fine.verifier.log"]
    assert log.stat().st_size > 16 << 20
    assert "processed" in log.read_text()[-400:]
    assert not found.roots[0].verifier.truncated


def test_an_object_of_600_000_instructions(kit: Kit, store: RunStore) -> None:
    """More than 4 MiB. 7.3 needs about a kilobyte for each instruction, and a minute under emulation."""
    body = 'asm volatile(".rept 600000; r0 = 0; .endr" ::: "r0"); return XDP_PASS;'
    found = _large(roomy(kit), store, body.replace("0; r0 = 0; .", "0\\n r0 = 0\\n ."))
    assert found.outcome == "pass", found.reason
    assert found.roots[0].verifier.processed_insns > 600_000
