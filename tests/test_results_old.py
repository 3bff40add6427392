"""Run folders of earlier versions, kept in golden/runs as they were written, are read as today's are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bpfroots.errors import UserError
from bpfroots.results.key import Key
from bpfroots.results.model import SCHEMA
from bpfroots.results.request import Cases
from bpfroots.results.store import RunStore
from tests import ROOT

_RUNS = ROOT / "tests/golden/runs"


def _opened(label: str) -> RunStore:
    (folder,) = _RUNS.glob(f"*Z-{label}")
    return RunStore.open(folder)


def test_every_folder_is_of_an_earlier_version() -> None:
    found = {json.loads(path.read_bytes())["schema"] for path in _RUNS.glob("*/run.json")}
    assert found == {2}
    assert SCHEMA > 2


def test_chosen_cells_are_named_by_keys() -> None:
    request = _opened("pytest").run.request
    assert request is not None
    assert isinstance(request.what, Cases)
    assert request.what.only == (
        Key("example/kprobe+tc", "duplicate", "baseline"),
        Key("example/kprobe+tc", "tail_call", "baseline"),
    )


def test_cells_have_their_costs() -> None:
    cells = {cell.key: cell for cell in _opened("pytest").cells()}
    (run,) = cells[Key("example/kprobe+tc", "duplicate", "baseline")].roots[0].runs
    assert run.insns_per_run == 21


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    later = Path(shutil.copytree(_opened("pytest").path, tmp_path / "run"))
    found = json.loads((later / "run.json").read_bytes())
    (later / "run.json").write_text(json.dumps(found | {"schema": SCHEMA + 1}))
    with pytest.raises(UserError, match="a later version of bpfroots"):
        RunStore.open(later)
