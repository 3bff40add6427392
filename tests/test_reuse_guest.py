"""Cells that are known from an earlier run: the same in every figure, and only where nothing has changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from bpfroots.jobs.engine import Engine
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.reuse import Reuse
from bpfroots.jobs.run import open_store
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellSpec, case_cells
from bpfroots.machine import choose_accel
from bpfroots.programs import cases
from bpfroots.programs.cases import Expectation
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore

pytestmark = pytest.mark.guest

_SPECS = case_cells(cases.select("body/loop-tc+xdp"), ["tail_call", "duplicate"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfroots.jobs.reuse.cache_root", lambda: tmp_path / "cache")


def _run(kit: Kit, specs: list[CellSpec]) -> tuple[RunStore, dict[str, Cell]]:
    accel = choose_accel("auto")
    store = open_store(kit, accel, "run", ["pytest"])
    engine = Engine(Site(kit, store, accel), Reuse(kit, accel))
    cells: dict[str, Cell] = {cell.mechanism: cell for cell in engine.submit(kit.kernels[0], specs)}
    store.finish()
    return store, cells


def test_a_known_cell_is_the_same_and_boots_nothing(kit: Kit) -> None:
    first, new = _run(kit, _SPECS)
    second, known = _run(kit, _SPECS)
    assert not any(cell.reused for cell in new.values())
    assert all(cell.duration_s > 0 for cell in new.values() if cell.outcome != "skip")
    assert {cell.reused for cell in known.values() if cell.outcome != "skip"} == {first.run.run}
    for mechanism, cell in known.items():
        assert msgspec.structs.replace(cell, reused="") == new[mechanism]
        for name, relative in cell.artefacts.items():
            assert (second.path / relative).read_bytes() == (
                first.path / new[mechanism].artefacts[name]
            ).read_bytes()
    assert not list((second.path / "console").iterdir())


def test_what_is_asked_for_in_another_way_is_run(kit: Kit) -> None:
    _run(kit, _SPECS)
    longer = [dataclasses.replace(spec, steps=[*spec.steps, spec.steps[-1]]) for spec in _SPECS]
    _, cells = _run(kit, longer)
    assert not any(cell.reused for cell in cells.values())


def test_what_was_not_as_expected_is_tried_again(kit: Kit) -> None:
    wrong = [dataclasses.replace(spec, expected=Expectation("reject")) for spec in _SPECS]
    _, first = _run(kit, wrong)
    _, second = _run(kit, wrong)
    assert first["duplicate"].outcome == second["duplicate"].outcome == "fail"
    assert not any(cell.reused for cell in second.values())


def test_a_cell_whose_reference_has_to_run_is_run(kit: Kit) -> None:
    reference, *rest = _SPECS
    assert reference.mechanism == "duplicate"
    _run(kit, _SPECS)
    changed = dataclasses.replace(reference, steps=[*reference.steps, reference.steps[-1]])
    _, cells = _run(kit, [changed, *rest])
    assert not any(cell.reused for cell in cells.values())


def test_a_damaged_entry_is_not_used(kit: Kit, tmp_path: Path) -> None:
    _run(kit, _SPECS)
    for file in (tmp_path / "cache").rglob("cell.json"):
        file.write_bytes(file.read_bytes().replace(b'"pass"', b'"fail"'))
    _, cells = _run(kit, _SPECS)
    assert {cell.outcome for cell in cells.values()} <= {"pass", "skip"}
    assert not any(cell.reused for cell in cells.values())
