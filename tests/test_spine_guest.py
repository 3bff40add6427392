"""From a case to a judged cell, in real guests; every verdict with a twin that breaks it."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfroots.jobs.engine import Engine
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.objects import object_cells
from bpfroots.jobs.run import open_store
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellSpec, ProgramFile, case_cells
from bpfroots.machine import choose_accel
from bpfroots.programs import cases
from bpfroots.programs.cases import Expectation
from bpfroots.programs.protocol import MECHANISMS
from bpfroots.results.model import Cell
from bpfroots.results.request import Objects
from bpfroots.results.store import RunStore

pytestmark = pytest.mark.guest

# A kprobe that reads what no pt_regs has, beside an XDP program that is fine.
_HALF_BAD = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("kprobe/__set_task_comm") int beyond(struct pt_regs *ctx) { return *((volatile __u64 *)ctx + 4000); }
SEC("xdp") int fine(struct xdp_md *ctx) { return XDP_PASS; }
"""


@pytest.fixture(scope="module")
def store(kit: Kit) -> Iterator[RunStore]:
    store = open_store(kit, choose_accel("auto"), "run", ["pytest"])
    yield store
    store.finish()


@pytest.fixture(scope="module")
def engine(kit: Kit, store: RunStore) -> Engine:
    return Engine(Site(kit, store, choose_accel("auto")))


def _specs(name: str, mechanisms: Any = MECHANISMS) -> list[CellSpec]:
    return case_cells([case for case in cases.all_cases() if case.name == name], mechanisms)


def _renamed(spec: CellSpec, name: str, **changes: Any) -> CellSpec:
    return dataclasses.replace(spec, name=name, **changes)


@pytest.fixture(scope="module")
def cells(kit: Kit, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cell]:
    """One guest for all: the real cells, and their broken twins under names of their own."""
    bad = tmp_path_factory.mktemp("bad") / "half_bad.bpf.c"
    bad.write_text(_HALF_BAD)
    good, tail, *_ = _specs("body/map_counter-kprobe+tracepoint")
    wrong = tail.program.source.replace(b"count(1, 20)", b"count(1, 21)")
    mutated = dataclasses.replace(tail, program=ProgramFile(wrong))
    specs = [
        *_specs("example/kprobe+tracepoint+cgroup_skb"),
        *_specs("body/packet_parser-tc+xdp"),
        *_specs("global/mix-kprobe+tracepoint"),
        _renamed(good, "twin/good"),
        _renamed(mutated, "twin/good"),
        _renamed(good, "twin/wrong_verdict", expected=Expectation("reject")),
        _renamed(
            good, "twin/never_runs", steps=[s for s in good.steps if "attach" not in str(type(s)).lower()]
        ),
        *object_cells(Objects(tuple(map(str, [bad])))),
    ]
    assert wrong != tail.program.source
    return {cell.key.anywhere.path: cell for cell in engine.submit(kit.kernels[0], specs)}


def test_the_example_runs_under_todays_mechanisms(cells: dict[str, Cell]) -> None:
    for mechanism in ("duplicate", "tail_call"):
        cell = cells[f"example/kprobe+tracepoint+cgroup_skb/{mechanism}"]
        assert (cell.outcome, cell.verdict) == ("pass", "accept"), cell.reason
        assert [root.type for root in cell.roots] == ["kprobe", "tracepoint", "cgroup_skb/ingress"]
        assert all(root.verifier.processed_insns > 0 for root in cell.roots)
        assert all(root.run_cnt > 0 for root in cell.roots)


def test_todays_kernel_has_one_image_per_root(cells: dict[str, Cell]) -> None:
    cell = cells["example/kprobe+tracepoint+cgroup_skb/duplicate"]
    addresses = [image.addr for root in cell.roots for image in root.jit.images]
    assert len(set(addresses)) == len(addresses) == 6


def test_the_tail_call_is_an_indirect_branch_through_a_retpoline(cells: dict[str, Cell]) -> None:
    tail = cells["example/kprobe+tracepoint+cgroup_skb/tail_call"]
    duplicate = cells["example/kprobe+tracepoint+cgroup_skb/duplicate"]
    assert tail.cost.indirect_branches == tail.cost.retpoline_calls == 3
    assert duplicate.cost.indirect_branches == 0


@pytest.mark.parametrize("mechanism", ["multi_root", "fd_name"])
def test_new_mechanisms_are_refused_cleanly(cells: dict[str, Cell], mechanism: str) -> None:
    cell = cells[f"global/mix-kprobe+tracepoint/{mechanism}"]
    assert cell.outcome == "unsupported", cell.reason


def test_test_runs_return_what_they_should(cells: dict[str, Cell]) -> None:
    cell = cells["body/packet_parser-tc+xdp/duplicate"]
    assert cell.outcome == "pass", cell.reason
    tc, xdp = cell.roots
    assert [run.input for run in tc.runs] == ["udp4", "tcp4", "icmp4", "arp", "short"]
    assert {run.retval for run in tc.runs} == {0xFFFFFFFF}
    assert {run.retval for run in xdp.runs} == {2}


def test_artefacts_are_on_disk(cells: dict[str, Cell], store: RunStore) -> None:
    cell = cells["body/packet_parser-tc+xdp/duplicate"]
    wanted = {"source.bpf.c", "on_tc.verifier.log", "on_tc.xlated.txt", "on_tc.jited.bin", "on_tc.jited.asm"}
    assert wanted <= set(cell.artefacts)
    assert all((store.path / path).stat().st_size for path in cell.artefacts.values())


def test_twin_a_mutated_body_is_caught_by_the_oracle(cells: dict[str, Cell]) -> None:
    assert cells["twin/good/duplicate"].outcome == "pass"
    cell = cells["twin/good/tail_call"]
    assert cell.outcome == "fail"
    assert "results differ from duplicate" in cell.reason


def test_twin_an_accepted_program_that_should_be_rejected_fails(cells: dict[str, Cell]) -> None:
    cell = cells["twin/wrong_verdict/duplicate"]
    assert (cell.outcome, cell.reason) == ("fail", "expected reject, got accept")


def test_twin_a_root_that_is_never_attached_fails(cells: dict[str, Cell]) -> None:
    cell = cells["twin/never_runs/duplicate"]
    assert cell.outcome == "fail"


def test_each_root_has_its_own_verdict(cells: dict[str, Cell]) -> None:
    cell = cells["load/half_bad.bpf.c/duplicate"]
    assert (cell.outcome, cell.verdict) == ("fail", "reject")
    verdicts = {root.name: root.verdict for root in cell.roots}
    assert verdicts == {"beyond": "reject", "fine": "accept"}
    assert "invalid bpf_context access" in next(root.message for root in cell.roots if root.name == "beyond")


def test_every_cell_is_on_disk(cells: dict[str, Cell], store: RunStore) -> None:
    assert {cell.key.anywhere.path for cell in store.cells()} >= set(cells)


def _figures(cell: Cell) -> Any:
    return [
        (root.verdict, root.verifier.processed_insns, [image.sha256 for image in root.jit.images])
        for root in [*cell.roots, *cell.targets]
    ]


def _qemu_children() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _is_our_qemu(path)]


def _is_our_qemu(path: Path) -> bool:
    try:
        status, command = (path / "status").read_text(), (path / "comm").read_text()
    except OSError:
        return False
    return f"PPid:\t{os.getpid()}\n" in status and command.startswith("qemu")


def test_a_killed_qemu_costs_no_cell_and_figures_repeat(
    kit: Kit, engine: Engine, cells: dict[str, Cell]
) -> None:
    """QEMU dies under the runner, once: no cell's fault. All come back from fresh guests, unchanged."""
    specs = case_cells([c for c in cases.all_cases() if c.family == "data"], ("duplicate", "tail_call"))
    specs += _specs("body/packet_parser-tc+xdp", ("duplicate",))
    found: list[Cell] = []
    for cell in engine.submit(kit.kernels[0], specs):
        found.append(cell)
        if len(found) == 1:
            for pid in _qemu_children():
                os.kill(pid, signal.SIGKILL)
    assert [cell.key.anywhere.path for cell in found].count("data/map-kprobe+tracepoint/duplicate") == 1
    assert sorted(cell.key.anywhere.path for cell in found) == sorted(spec.id for spec in specs)
    assert {cell.outcome for cell in found} == {"pass"}
    again = next(cell for cell in found if cell.case == "body/packet_parser-tc+xdp")
    assert _figures(again) == _figures(cells["body/packet_parser-tc+xdp/duplicate"])
    assert not _qemu_children()
