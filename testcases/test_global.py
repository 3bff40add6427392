from collections.abc import Callable

from bpfroots.results.model import Cell


def test_global(cell: Cell, check: Callable[[Cell], None]) -> None:
    check(cell)
