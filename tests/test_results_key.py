"""One key for a cell: two spellings, and the same cell wherever it is named."""

from __future__ import annotations

import msgspec

from bpfroots.results.key import Key
from bpfroots.results.model import Cell, CostFigure
from bpfroots.results.request import Cases, Request

_KEY = Key("example/a", "duplicate", "baseline")


def test_it_is_spelled_for_people_and_for_files() -> None:
    assert str(_KEY) == f"{_KEY}" == "example/a (duplicate, baseline)"
    assert _KEY.path == "example/a/baseline/duplicate"
    assert str(_KEY.anywhere) == "example/a (duplicate)"
    assert _KEY.anywhere.path == "example/a/duplicate"


def test_a_cell_that_is_asked_for_becomes_one_on_a_kernel() -> None:
    assert Key("example/a", "duplicate").on("baseline") == _KEY
    assert _KEY.anywhere == Key("example/a", "duplicate") != _KEY


def test_what_is_said_of_a_cell_has_its_key() -> None:
    cell = Cell(case="example/a", kernel="baseline", mechanism="duplicate", outcome="pass")
    figure = CostFigure("example/a", "baseline", "duplicate", "on_tc", "tcp", "insns_per_run", 7)
    assert cell.key == figure.key == _KEY
    assert msgspec.structs.replace(cell, kernel="patched").key != _KEY


def test_a_request_of_single_cells_comes_back() -> None:
    request = Request(("baseline",), Cases(only=(_KEY,)), "pytest")
    assert msgspec.json.decode(msgspec.json.encode(request), type=Request) == request
