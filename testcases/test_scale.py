from collections.abc import Callable

from bpfroots.results.model import Cell


def test_scale(cell: Cell, check: Callable[[Cell], None]) -> None:
    check(cell)
