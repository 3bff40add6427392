"""The plots of the summary as inline SVG: where things go. What they look like is in report.css."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bpfroots.analysis.compare import Comparison, Row
from bpfroots.analysis.growth import GrowthSeries, by_mechanism, by_roots, by_size, main_kernel
from bpfroots.report import text
from bpfroots.results.figures import BASELINE

_WIDTH, _HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 84, 12, 34
_LABEL_GAP = 14.0


@dataclass(frozen=True)
class Bar:
    """A mechanism's mean as a horizontal bar. ``width`` and ``y`` in units of the drawing."""

    mechanism: str
    y: float
    width: float
    label: str


@dataclass(frozen=True)
class Bars:
    """``one`` is where 1.00 lies."""

    title: str
    note: str
    bars: list[Bar]
    one: float
    left: int = 84
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class Line:
    """A mechanism's line, and where its name is written."""

    mechanism: str
    points: list[tuple[float, float, str]]
    label_y: float

    @property
    def path(self) -> str:
        return "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


@dataclass(frozen=True)
class Curves:
    """Curves over a common grid; ticks are (place, label), and so are marks: upright lines."""

    title: str
    note: str
    x_title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    marks: list[tuple[float, str]] = field(default_factory=list)
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    bottom: int = _HEIGHT - _BOTTOM
    width: int = _WIDTH
    height: int = _HEIGHT


def plots(comparison: Comparison) -> list[Bars | Curves]:
    """Cost by mechanism, JIT bytes by number of roots, verified insns by body size; each where measured.

    All are of one kernel, the one that has most of the mechanisms.
    """
    kernel = main_kernel(comparison.rows)
    rows = [row for row in comparison.rows if row.kernel == kernel]
    same = f"{kernel}; mean over the cases that every mechanism accepts"
    found = [
        _bars(same, rows),
        _lines("JIT bytes by number of roots", same, "roots", by_roots(rows, "jit_bytes")),
        _lines(
            "Verified insns by size of a program",
            same,
            "instructions of a program, body included",
            by_size(rows, "processed_insns"),
            log=True,
        ),
    ]
    return [plot for plot in found if plot is not None]


def over_runs(
    title: str,
    note: str,
    runs: Sequence[str],
    over: Mapping[str, list[tuple[int, float]]],
    marks: Sequence[int] = (),
) -> Curves:
    """``over``: mechanism → (number of a run, value). The axis has no more than these, so that little shows.

    ``runs`` are names, ``marks`` numbers of them. Each mechanism has a value.
    """
    values = [value for points in over.values() for _, value in points]
    low, high = min(values), max(values)
    margin = (high - low) * 0.1 or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    right = Curves.right

    def y(value: float) -> float:
        return Curves.bottom - (value - low) / (high - low) * (Curves.bottom - _TOP)

    def x(number: int) -> float:
        return _LEFT + 8 + number / max(1, len(runs) - 1) * (right - _LEFT - 16)

    labels = dict(_apart((y(points[-1][1]), mechanism) for mechanism, points in over.items()))
    return Curves(
        title,
        note,
        "",
        [
            Line(
                mechanism,
                [(x(number), y(value), f"{runs[number]}: {value:,.6g}") for number, value in points],
                labels[mechanism],
            )
            for mechanism, points in over.items()
        ],
        # A date is a fifth of the width.
        [(x(number), runs[number][:10]) for number in sorted({0, len(runs) // 2, len(runs) - 1})],
        [(y(tick), f"{tick:,.4g}") for tick in _between(low, high)],
        [(x(number), runs[number]) for number in marks],
    )


def _between(low: float, high: float) -> list[float]:
    """Three to five round figures from ``low`` to ``high``."""
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * 4 >= high - low)
    return [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _bars(note: str, rows: Sequence[Row]) -> Bars | None:
    means = by_mechanism(rows, "insns_per_run")
    if len(means) < 2:
        return None
    left, top, step = Bars.left, 26, (_HEIGHT - 50) / len(means)
    scale = (_WIDTH - left - 48) / max(means.values())
    bars = [
        Bar(name, top + index * step, mean * scale, text.ratio(mean))
        for index, (name, mean) in enumerate(means.items())
    ]
    return Bars(
        "Insns per run",
        f"{note}; {BASELINE} = 1.00; counted under emulation",
        bars,
        left + scale,
    )


def _steps(top: float) -> list[float]:
    """Round figures from 0 to at least ``top``, four or five of them."""
    power = 10.0 ** math.floor(math.log10(top / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * 4 >= top)
    return [step * index for index in range(math.ceil(top / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _lines(
    title: str, note: str, x_title: str, series: Sequence[GrowthSeries], *, log: bool = False
) -> Curves | None:
    values = [value for line in series for _, value in line.points if value > 0]
    xs = sorted({x for line in series for x, _ in line.points})
    if not values or len(xs) < 2:
        return None
    ticks = _powers(min(values), max(values)) if log else _steps(max(values))

    def y(value: float) -> float:
        if log:
            low, high = math.log10(ticks[0]), math.log10(ticks[-1])
            share = (math.log10(max(value, ticks[0])) - low) / (high - low)
        else:
            share = value / ticks[-1]
        return Curves.bottom - share * (Curves.bottom - _TOP)

    def x(value: int) -> float:
        # Sizes double from one to the next; numbers of roots are even steps as well.
        at, first, last = (math.log2(v) if log else v for v in (value, xs[0], xs[-1]))
        return _LEFT + 8 + (at - first) / (last - first) * (Curves.right - _LEFT - 16)

    labels = dict(_apart((y(line.points[-1][1]), line.mechanism) for line in series))
    lines = [
        Line(
            line.mechanism,
            [(x(at), y(value), f"{line.mechanism}, {at:,}: {value:,.0f}") for at, value in line.points],
            labels[line.mechanism],
        )
        for line in series
    ]
    return Curves(
        title,
        note,
        x_title,
        lines,
        [(x(at), f"{at:,}") for at in xs],
        [(y(tick), _short(tick)) for tick in ticks],
    )


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:,.0f}"


def _apart(places: Iterator[tuple[float, str]]) -> Iterator[tuple[str, float]]:
    """Labels next to the ends of their lines, but never on top of one another."""
    previous = -math.inf
    ordered = sorted(places)
    spare = _LABEL_GAP * (len(ordered) - 1)
    for place, name in ordered:
        previous = max(min(place, Curves.bottom - spare), previous + _LABEL_GAP)
        spare -= _LABEL_GAP
        yield name, previous
