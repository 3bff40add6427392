"""Instructions per run, measured: exact to one instruction, and the same in every boot."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bpfroots.analysis import cost as analysis
from bpfroots.jobs import cost as costs
from bpfroots.jobs import run as cells_job
from bpfroots.jobs.compiled import compile_cells
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.runner import stream
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellSpec, case_cells
from bpfroots.machine import Machine, choose_accel
from bpfroots.programs import compile as compiling
from bpfroots.programs import cost, protocol
from bpfroots.programs.cases import Case, select
from bpfroots.programs.roots import KINDS
from bpfroots.progress import Progress, Task
from bpfroots.results.model import SCHEMA, Cell, CostFigure, RunInfo
from bpfroots.results.request import Cases, Request
from bpfroots.results.store import RunStore
from bpfroots.shape import Shape

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]

_DEADLINE = 300
_EXTRA = (0, 1, 3, 11, 41)


def _source(kind: str, extra: int) -> str:
    """An empty program with ``extra`` instructions that the JIT turns into one each."""
    body = "".join('\tasm volatile("r2 = 1" ::: "r2");\n' for _ in range(extra))
    return cost.empty_source(KINDS[kind]).replace("\treturn", body + "\treturn")


def _figures(machine: Machine, kit: Kit, kind: str) -> dict[int, dict[int, float]]:
    """Instructions per run by input, of programs with more and more instructions."""
    steps = cost.steps([cost.EMPTY_ROOT], [KINDS[kind]])
    objects = {
        f"{extra}.bpf.o": compiling.compile_source(
            kit.toolchain, kit.objects, _source(kind, extra).encode(), "extra"
        )
        for extra in _EXTRA
    }
    loads = [
        cost.load(protocol.Load(str(extra), "duplicate", f"{extra}.bpf.o", [cost.EMPTY_ROOT]), steps)
        for extra in _EXTRA
    ]
    found = {}
    for line in stream(machine, loads, objects):
        if isinstance(line, protocol.Loaded):
            assert not line.error
            figures = {samples.step: analysis.most_often(samples) for samples in line.costs}
            found[int(line.id)] = {step: figure.value for step, figure in figures.items() if figure}
    return found


@pytest.mark.parametrize("kind", ["kprobe", "tc", "xdp"])
def test_exact_to_one_instruction(guest: Machine, kit: Kit, kind: str) -> None:
    found = _figures(guest, kit, kind)
    empty = found[0]
    assert empty
    for extra in _EXTRA:
        more = {step: value - empty[step] for step, value in found[extra].items()}
        assert more == dict.fromkeys(empty, extra)


@pytest.fixture(scope="module")
def guest(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Any:
    console = tmp_path_factory.mktemp("icount") / "console.log"
    with Guests(kit, choose_accel("tcg")).boot(kit.kernels[0], console, shape=Shape(icount=True)) as machine:
        yield machine


def _crowded() -> list[Case]:
    """Of each generated body and way of its arguments a case with several roots on one event."""
    found: dict[tuple[str, str], Case] = {}
    for case in select("gen or example/kprobe"):
        events = [kind.trigger.kind for kind in case.kinds if kind.exact and not kind.test_run]
        if len(events) > len(set(events)):
            found.setdefault((case.params.get("body", ""), case.params.get("args", "")), case)
    return [*found.values(), *select("example/kprobe+tracepoint-constant_index")]


def _measured(kit: Kit, directory: Path, specs: list[CellSpec]) -> dict[tuple[str, str, str], CostFigure]:
    """The figures of cells in this order, in a guest that is booted for them."""
    guests = Guests(kit, choose_accel("tcg"))
    guests.no_clones = "two boots are to agree"
    (directory / "console").mkdir(parents=True)
    store = RunStore(directory, RunInfo(SCHEMA, "exact", [], ""))
    way, _ = costs.ways(kit.kernels[0], choose_accel("tcg"))
    meter = costs.Meter(Site(kit, store, choose_accel("tcg")), compile_cells(kit, specs).objects)
    found = costs.Measuring(meter, guests, kit.kernels[0], specs).run(way)
    return {(figure.case, figure.root, figure.input): figure for figure in found}


def test_two_boots_any_order_and_several_roots_on_one_event(kit: Kit, tmp_path: Path) -> None:
    specs = case_cells(_crowded(), ["duplicate"])
    assert len(specs) > 20
    first = _measured(kit, tmp_path / "first", specs)
    random.Random(2019).shuffle(specs)  # noqa: S311
    second = _measured(kit, tmp_path / "second", specs)
    keys = first.keys() | second.keys()
    assert [(first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)] == []
    assert {(figure.exact, figure.value % 1) for figure in first.values()} == {(True, 0)}


@pytest.mark.parametrize(("first", "clock"), [(costs.SETTLED, "tsc"), ("true", "tsc-early")])
def test_waits_for_the_clock_that_linux_stays_with(guest: Machine, first: str, clock: str) -> None:
    """A guest that has just started reads another, at other costs: on a busy machine that was measured."""
    became = "{ sleep 1; echo tsc >/tmp/clock; } >/dev/null 2>&1 &"
    bind = f"echo tsc-early >/tmp/clock; mount -o bind /tmp/clock {costs.CLOCK}"
    done = guest.output(f"{bind}; {became} {first}; cat {costs.CLOCK}; wait; umount {costs.CLOCK}")
    assert done.stdout.decode().strip() == clock


def _samples(machine: Machine, kit: Kit, body: str, declarations: str = "") -> protocol.Samples:
    """Of a kprobe program with this in it."""
    source = cost.empty_source(KINDS["kprobe"]).replace("\treturn", body + "\treturn")
    source = source.replace('SEC("kprobe', declarations + 'SEC("kprobe')
    program = compiling.compile_source(kit.toolchain, kit.objects, source.encode(), "sampled")
    order = protocol.Load("sampled", "duplicate", "sampled.bpf.o", [cost.EMPTY_ROOT])
    load = cost.load(order, cost.steps([cost.EMPTY_ROOT], [KINDS["kprobe"]]))
    lines = list(stream(machine, [load], {"sampled.bpf.o": program}))
    (samples,) = (line.costs[0] for line in lines if isinstance(line, protocol.Loaded))
    return samples


def test_twin_what_differs_from_run_to_run_is_not_exact(guest: Machine, kit: Kit) -> None:
    body = """
	for (__u32 i = bpf_get_prandom_u32() % 32; i; i--)
		asm volatile("r2 = 1" ::: "r2");
"""
    found = analysis.most_often(_samples(guest, kit, body))
    assert found
    assert not found.exact


def test_a_run_finds_what_those_before_it_found(guest: Machine, kit: Kit) -> None:
    """A buffer that is full after three runs, and a counter: left alone, they send later runs another way.

    With its header a record is 1024 bytes, so that all begin at equal low bits of an address: arch/x86/lib/
    memcpy_64.S compares those of source and destination, and copies backward or forward.
    """
    declarations = """
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} buffer SEC(".maps");
char record[1016];
__u64 runs;

"""
    body = """
	if (bpf_ringbuf_output(&buffer, record, sizeof(record), BPF_RB_NO_WAKEUP) || ++runs > 3)
		bpf_ktime_get_ns();
"""
    samples = _samples(guest, kit, body, declarations).samples
    ((_, times),) = Counter(total for total, _ in samples).most_common(1)
    # All but the first, which has no record before it to look at, and one that an interrupt may meet.
    assert times >= len(samples) - 2, samples


def _example(directory: Path) -> dict[tuple[str, str, str], list[tuple[str, str, float]]]:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "run", "-k", "example/kprobe+cgroup_skb", "--cost", "--json"],
        capture_output=True,
        timeout=_DEADLINE,
        check=True,
    )
    document = json.loads(done.stdout)
    return {
        (cell["case"], cell["mechanism"], key): [
            (root["name"], run["input"], run[key]) for root in cell["roots"] for run in root["runs"]
        ]
        for cell in document["cells"]
        if cell.get("verdict") == "accept"
        for key in ("insns_per_run", "insns_per_run_no_retpolines")
    }


def test_two_boots_equal_figures_and_the_order_of_the_mechanisms(tmp_path: Path) -> None:
    first, second = _example(tmp_path), _example(tmp_path)
    assert first == second
    total = {key: sum(insns for _, _, insns in runs) for key, runs in first.items()}
    for figure in ("insns_per_run", "insns_per_run_no_retpolines"):
        direct = total["example/kprobe+cgroup_skb", "duplicate", figure]
        constant = total["example/kprobe+cgroup_skb-constant_index", "tail_call", figure]
        variable = total["example/kprobe+cgroup_skb", "tail_call", figure]
        assert direct < constant < variable


def test_time_is_measured_where_a_machine_runs_at_the_speed_of_its_host(kit: Kit) -> None:
    kernel, emulated = kit.kernels[0], choose_accel("tcg")
    counted = costs.ways(kernel, emulated)
    assert [way.measure for way in counted] == ["insns_per_run", "insns_per_run_no_retpolines"]
    native = dataclasses.replace(emulated, name="kvm")
    (wall,) = set(costs.ways(kernel, native)) - set(counted)
    assert (wall.measure, wall.icount) == ("ns_per_run", False)


def test_instructions_are_not_counted_where_the_definition_says_so(kit: Kit, tmp_path: Path) -> None:
    kernel, accel = dataclasses.replace(kit.kernels[0], countable=False), choose_accel("tcg")
    assert costs.ways(kernel, accel) == ()
    assert costs.ways(kernel, dataclasses.replace(accel, name="kvm")) == (costs.WALL,)
    store = RunStore(tmp_path, RunInfo(schema=SCHEMA, run="r", command=[], started=""))
    (tmp_path / "console").mkdir()
    request = Request((kernel.name,), Cases("example/kprobe+cgroup_skb", ("duplicate",)), cost=True)
    without, said = dataclasses.replace(kit, kernels=[kernel]), io.StringIO()
    programs = cells_job.Programs(cells_job.specs_of(request), without)
    run = cells_job.Run(request, Site(without, store, accel), programs, Progress(said))
    run.run()
    assert {cell.outcome for cell in run.cells} == {"pass"}
    assert f"cost      {kernel.name}: not measured; its definition has icount = false" in said.getvalue()
    assert not (tmp_path / "costs.jsonl").exists()


def test_a_cell_without_figures_is_counted_and_the_others_have_theirs(kit: Kit, tmp_path: Path) -> None:
    specs = case_cells(select("body/loop-tc+xdp"), ["tail_call", "duplicate"])
    specs[0] = dataclasses.replace(specs[0], globals={"not_there": "1"})
    (tmp_path / "console").mkdir()
    kernel, accel = kit.kernels[0], choose_accel("tcg")
    site = Site(kit, RunStore(tmp_path, RunInfo(SCHEMA, "late", [], "")), accel)
    task = Task(None, None)
    cells = [
        Cell(case=spec.name, kernel=kernel.name, mechanism=spec.mechanism, verdict="accept", outcome="pass")
        for spec in specs
    ]
    figures = costs.Meter(site, compile_cells(kit, specs).objects).measure(kernel, specs, cells, task)
    assert {figure.mechanism for figure in figures} == {specs[1].mechanism}
    assert task.summary == f"{len(figures)} figures; 1 cells could not be measured (run.log says why)"


def test_ways_at_once_give_what_each_gives_alone(kit: Kit, tmp_path: Path) -> None:
    """Two guests count on the same cores: neither figure changes, and no guest stays."""
    specs = case_cells(select("example"), ["duplicate", "tail_call"])
    specs = [spec for spec in specs if not spec.skip]
    (tmp_path / "console").mkdir()
    store = RunStore(tmp_path, RunInfo(SCHEMA, "together", [], ""))
    kernel, accel = kit.kernels[0], choose_accel("tcg")
    meter = costs.Meter(Site(kit, store, accel, guests=2), compile_cells(kit, specs).objects)
    measured = costs.ways(kernel, accel)
    together = sorted(meter._figures(kernel, specs, measured), key=repr)
    alone = costs.Measuring(meter, Guests(kit, accel), kernel, specs)
    assert together == sorted((figure for way in measured for figure in alone.run(way)), key=repr)
    assert {figure.measure for figure in together} == {way.measure for way in measured}

    before = _guests()
    given_up = meter._figures(kernel, specs, measured)
    next(given_up)
    assert len(_guests() - before) == 2
    given_up.close()
    assert _guests() == before


def _guests() -> set[int]:
    """The QEMUs that this process has started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rpartition(")")
            if int(words[2].split()[1]) == os.getpid() and "qemu" in words[0]:
                found.add(int(stat.parent.name))
    return found


def test_time_of_a_run(kit: Kit, tmp_path: Path) -> None:
    """How it is measured, with the emulator's time: a figure for each root and input, and of some size."""
    specs = case_cells(select("body/loop-tc+xdp"), ["duplicate"])
    objects = compile_cells(kit, specs).objects
    (tmp_path / "console").mkdir()
    store = RunStore(tmp_path, RunInfo(SCHEMA, "wall", [], ""))
    meter = costs.Meter(Site(kit, store, choose_accel("tcg")), objects)
    guests = Guests(kit, choose_accel("tcg"))
    found = list(costs.Measuring(meter, guests, kit.kernels[0], specs).run(costs.WALL))
    assert {(figure.root, figure.measure) for figure in found} == {
        ("on_tc", "ns_per_run"),
        ("on_xdp", "ns_per_run"),
    }
    assert max(figure.value for figure in found) > 10
