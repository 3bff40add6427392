from collections.abc import Callable

from bpfroots.results.model import Cell


def test_data(cell: Cell, check: Callable[[Cell], None]) -> None:
    check(cell)
