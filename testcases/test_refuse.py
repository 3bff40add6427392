from collections.abc import Callable

from bpfroots.results.model import Cell


def test_refuse(cell: Cell, check: Callable[[Cell], None]) -> None:
    check(cell)
