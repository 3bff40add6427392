"""One table of figures: whatever keeps or shows a figure takes it from there."""

from __future__ import annotations

import ast
import sqlite3
from pathlib import Path

import pytest

from bpfroots.analysis.compare import figures
from bpfroots.history.database import History
from bpfroots.results.figures import FIGURES, INSNS_PER_RUN, NAMED
from bpfroots.results.model import Cell, Cost, Root, RunResult
from tests import ROOT

_PACKAGE = ROOT / "harness/bpfroots"
# The second has the words of the kernel's verifier, which some figures are called by.
_TABLES = {_PACKAGE / "results/figures.py", _PACKAGE / "analysis/verifier_log.py"}


def test_a_cell_has_all_of_them_in_order() -> None:
    root = Root("p", "xdp", "accept", runs=[RunResult("tcp", insns_per_run=7)])
    cell = Cell(
        "a", "k", "duplicate", outcome="pass", verdict="accept", roots=[root], cost=Cost(*range(1, 10))
    )
    assert list(figures(cell)) == [figure.name for figure in FIGURES]
    assert set(Cost.__struct_fields__) == set(NAMED) - {INSNS_PER_RUN}


def test_the_history_has_those_that_are_recorded_in_order(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    History(path).close()
    with sqlite3.connect(path) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(states)")]
    recorded = [figure.name for figure in FIGURES if figure.recorded]
    # The digest of a state is over its columns: another order would make every state a new one.
    assert columns[-len(recorded) :] == recorded


def _lists(path: Path) -> list[int]:
    """The lines at which a list, tuple, set or dictionary names two figures or more."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        keys = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        names = [key.value for key in keys if isinstance(key, ast.Constant)]
        if len(set(names) & NAMED.keys()) > 1:
            found.append(getattr(node, "lineno", 0))
    return found


def test_there_is_no_other_list_of_them() -> None:
    files = set(_PACKAGE.rglob("*.py")) - _TABLES
    assert {str(path): lines for path in files if (lines := _lists(path))} == {}


@pytest.mark.parametrize("text", ["A = ('jit_bytes', 'roots')", "A = {'jit_bytes': 1, 'total_states': 2}"])
def test_twin_another_list_is_seen(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.py"
    path.write_text(text)
    assert _lists(path) == [1]
