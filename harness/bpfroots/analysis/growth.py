"""Figures of a comparison over something that grows: the number of roots, the size of the shared body."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from bpfroots.analysis.compare import Row, geometric_mean
from bpfroots.programs.protocol import MECHANISMS, Mechanism


class GrowthSeries(msgspec.Struct):
    """A line of a plot: ``points`` are (x, mean), in order of x. Every line is over the same cases."""

    mechanism: Mechanism
    points: list[tuple[int, float]]


def main_kernel(rows: Iterable[Row]) -> str:
    """The kernel with most accepted mechanisms, then most accepted cells; "" without rows."""
    accepted: dict[str, list[Mechanism]] = {}
    for row in rows:
        found = accepted.setdefault(row.kernel, [])
        if row.verdict == "accept":
            found.append(row.mechanism)
    return max(accepted, key=lambda kernel: (len(set(accepted[kernel])), len(accepted[kernel])), default="")


def _shared(rows: Iterable[Row], figure: str) -> dict[str, dict[Mechanism, Row]]:
    """Cases accepted under every mechanism that the kernel has, with the figure in each."""
    cases: dict[str, dict[Mechanism, Row]] = {}
    mechanisms: set[Mechanism] = set()
    for row in rows:
        if row.verdict == "accept" and figure in row.figures:
            cases.setdefault(row.case, {})[row.mechanism] = row
            mechanisms.add(row.mechanism)
    return {case: found for case, found in cases.items() if found.keys() == mechanisms}


def _series(
    cases: dict[str, dict[Mechanism, Row]], figure: str, x: Callable[[str], int]
) -> list[GrowthSeries]:
    found: dict[Mechanism, dict[int, list[float]]] = {}
    for case, by_mechanism in cases.items():
        for mechanism, row in by_mechanism.items():
            found.setdefault(mechanism, {}).setdefault(x(case), []).append(row.figures[figure])
    return [
        GrowthSeries(mechanism, [(at, sum(values) / len(values)) for at, values in sorted(points.items())])
        for mechanism, points in sorted(found.items(), key=lambda item: MECHANISMS.index(item[0]))
    ]


def by_mechanism(rows: Sequence[Row], figure: str) -> dict[Mechanism, float]:
    """Geometric means of the ratios to the baseline, over the cases that every mechanism accepts."""
    found: dict[Mechanism, list[float]] = {}
    for by_mechanism in _shared(rows, figure).values():
        ratios = {mechanism: row.ratios.get(figure) for mechanism, row in by_mechanism.items()}
        if all(ratios.values()):
            for mechanism, ratio in ratios.items():
                found.setdefault(mechanism, []).append(ratio or 0)
    return {name: geometric_mean(found[name]) for name in sorted(found, key=MECHANISMS.index)}


def by_roots(rows: Sequence[Row], figure: str) -> list[GrowthSeries]:
    """Means of a figure by number of roots, on one kernel, over the cases that every mechanism accepts."""
    cases = _shared(rows, figure)
    return _series(cases, figure, lambda case: int(next(iter(cases[case].values())).figures["roots"]))


def by_size(rows: Sequence[Row], figure: str) -> list[GrowthSeries]:
    """Means of a figure by size of a program with the body in it (its instructions as `duplicate`).

    x is the power of two that the size is closest to: sizes differ from case to case.
    """
    cases = {case: found for case, found in _shared(rows, figure).items() if "duplicate" in found}

    def size(case: str) -> int:
        figures = cases[case]["duplicate"].figures
        insns = figures["xlated_bytes"] / 8 / max(figures["roots"], 1)
        return 1 << max(0, round(math.log2(max(insns, 1))))

    return _series(cases, figure, size)
