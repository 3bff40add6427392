"""Instructions per run, measured: exact to one instruction, and the same in every boot."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import cost as analysis
from harness.jobs import cost as costs
from harness.jobs.engine import compile_cells
from harness.jobs.guests import Guests
from harness.jobs.kit import Kit
from harness.jobs.runner import stream
from harness.jobs.spec import case_cells
from harness.machine import Machine, Shape, choose_accel
from harness.programs import compile as compiling
from harness.programs import cost, protocol
from harness.programs.cases import select
from harness.programs.roots import KINDS
from harness.progress import Progress
from harness.results.model import SCHEMA, Run
from harness.results.store import RunStore

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
        f"{extra}.bpf.o": compiling.compile_source(kit.toolchain, kit.objects, _source(kind, extra), "extra")
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
            means = {samples.step: analysis.per_run(samples) for samples in line.costs}
            found[int(line.id)] = {step: mean for step, mean in means.items() if mean is not None}
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


def _example(directory: Path) -> dict[tuple[str, str, str], list[tuple[str, str, float]]]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "-k", "example/kprobe+cgroup_skb", "--cost", "--json"],
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


def test_time_is_measured_where_a_machine_runs_at_the_speed_of_its_host() -> None:
    emulated = choose_accel("tcg")
    assert [way.measure for way in costs.ways(emulated)] == ["insns_per_run", "insns_per_run_no_retpolines"]
    native = dataclasses.replace(emulated, name="kvm")
    (wall,) = set(costs.ways(native)) - set(costs.ways(emulated))
    assert (wall.measure, wall.icount) == ("ns_per_run", False)


def test_time_of_a_run(kit: Kit, tmp_path: Path) -> None:
    """How it is measured, with the emulator's time: a figure for each root and input, and of some size."""
    specs = case_cells(select("body/loop-tc+xdp"), ["duplicate"])
    objects = compile_cells(kit, specs)
    (tmp_path / "console").mkdir()
    store = RunStore(tmp_path, Run(SCHEMA, "wall", [], ""))
    with Progress(quiet=True).task("wall") as task:
        found = costs.measure_one(
            Guests(kit, choose_accel("tcg")), kit, store, kit.kernels[0], specs, objects, costs.WALL, task
        )
    assert {(figure.root, figure.measure) for figure in found} == {
        ("on_tc", "ns_per_run"),
        ("on_xdp", "ns_per_run"),
    }
    assert max(figure.value for figure in found) > 10
