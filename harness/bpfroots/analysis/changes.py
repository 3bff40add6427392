"""What changed between two runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bpfroots.analysis.compare import figures, ratio_of
from bpfroots.analysis.kernels import OtherKernel
from bpfroots.analysis.verifier_log import normalise
from bpfroots.programs.protocol import Mechanism
from bpfroots.results.key import Keyed
from bpfroots.results.model import Cell, Root


class Change(Keyed, msgspec.Struct):
    """One thing that differs between the same cell of two runs.

    ``what`` is "outcome", "verdict", "program" (not the same object was loaded, by digests), "message NAME",
    "code NAME" (the normalised JIT code of a program) or the name of a figure, for which ``ratio`` is b to a
    (null where a is 0).
    """

    case: str
    kernel: str
    mechanism: Mechanism
    what: str
    a: str | float
    b: str | float
    ratio: float | None = None


class Changes(msgspec.Struct):
    """``cells`` were in both runs, ``same`` of them without a difference. ``kernels`` are not the same ones,
    though their names are."""

    a: str
    b: str
    cells: int
    same: int
    changes: list[Change]
    only_a: list[str]
    only_b: list[str]
    kernels: list[OtherKernel] = []


def changes(
    a: Sequence[Cell], b: Sequence[Cell], names: tuple[str, str] = ("first run", "second run")
) -> Changes:
    """The same cells in two runs. Two runs of one kernel each, not the same one, compare the kernels."""
    kernels = [{cell.kernel for cell in run} for run in (a, b)]
    across = len(kernels[0]) == len(kernels[1]) == 1 and kernels[0] != kernels[1]
    left, right = ({cell.key.anywhere if across else cell.key: cell for cell in run} for run in (a, b))
    found = [_cell_changes(cell, right[key]) for key, cell in left.items() if key in right]
    return Changes(
        *names,
        cells=len(found),
        same=sum(not differences for differences in found),
        changes=[change for differences in found for change in differences],
        only_a=[str(key) for key in left if key not in right],
        only_b=[str(key) for key in right if key not in left],
    )


def _code(root: Root) -> str:
    return " ".join(image.sha256[:12] for image in root.jit.images)


def _cell_changes(a: Cell, b: Cell) -> list[Change]:
    kernel = a.kernel if a.kernel == b.kernel else f"{a.kernel} → {b.kernel}"
    pairs: list[tuple[str, str | float, str | float]] = [
        ("outcome", a.outcome, b.outcome),
        ("verdict", a.verdict or "none", b.verdict or "none"),
        *([("program", a.program[:12], b.program[:12])] if a.program and b.program else []),
    ]
    others = {root.name: root for root in b.programs}
    for root in a.programs:
        other = others.get(root.name)
        if other is not None:
            pairs += [(f"message {root.name}", normalise(root.message), normalise(other.message))]
            pairs += [(f"code {root.name}", _code(root), _code(other))]
    left, right = figures(a), figures(b)
    pairs += [(name, left[name], right[name]) for name in left if name in right]
    return [
        Change(
            a.case,
            kernel,
            a.mechanism,
            what,
            one,
            other,
            ratio_of(other, one) if isinstance(one, int | float) and isinstance(other, int | float) else None,
        )
        for what, one, other in pairs
        if one != other
    ]
