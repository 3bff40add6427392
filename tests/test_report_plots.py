"""The plots of the summary: over the same cases for every mechanism, and every point where it belongs."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import pytest

from bpfroots.analysis.compare import Comparison, Row, Summary
from bpfroots.analysis.growth import by_mechanism, by_roots, by_size, main_kernel
from bpfroots.programs.protocol import Mechanism
from bpfroots.report import plots


def _row(case: str, mechanism: Mechanism, roots: int, bytes_: int, verdict: str = "accept") -> Row:
    figures = {"roots": roots, "jit_bytes": bytes_, "xlated_bytes": bytes_, "processed_insns": bytes_ / 4}
    return Row(case, "patched", mechanism, verdict, "pass", figures)


_ROWS = [
    _row("a", "tail_call", 1, 400),
    _row("a", "duplicate", 1, 320),
    _row("b", "tail_call", 2, 800),
    _row("b", "duplicate", 2, 640),
    _row("c", "tail_call", 2, 1000),
    _row("c", "duplicate", 2, 720),
]


def test_means_by_number_of_roots() -> None:
    found = {line.mechanism: line.points for line in by_roots(_ROWS, "jit_bytes")}
    assert found == {"tail_call": [(1, 400), (2, 900)], "duplicate": [(1, 320), (2, 680)]}


def test_a_case_that_one_mechanism_does_not_accept_is_in_no_line() -> None:
    rows = [*_ROWS, _row("d", "tail_call", 2, 9000)]
    assert by_roots(rows, "jit_bytes") == by_roots(_ROWS, "jit_bytes")


def test_sizes_are_those_of_a_program() -> None:
    found = {line.mechanism: line.points for line in by_size(_ROWS, "processed_insns")}
    # 320, 640 / 2 and 720 / 2 bytes are about 32 instructions each.
    ((at, mean),) = found["duplicate"]
    assert at == 32
    assert mean == pytest.approx((80 + 160 + 180) / 3)


def test_the_kernel_with_most_mechanisms_is_shown() -> None:
    rows = [Row("a", "baseline", "tail_call", "accept", "pass"), *_ROWS]
    assert main_kernel(rows) == "patched"


def _comparison(rows: list[Row]) -> Comparison:
    return Comparison("tail_call", rows, Summary())


def _cost(case: str, mechanism: Mechanism, ratio: float) -> Row:
    return Row(
        case,
        "patched",
        mechanism,
        "accept",
        "pass",
        {"insns_per_run": 100 * ratio},
        {"insns_per_run": ratio},
    )


def test_bars_are_over_the_same_cases() -> None:
    rows = [
        *(_cost(case, "tail_call", 1.0) for case in "abc"),
        *(_cost(case, "duplicate", ratio) for case, ratio in zip("abc", (0.5, 0.8, 0.1), strict=True)),
        *(_cost(case, "multi_root", ratio) for case, ratio in zip("ab", (0.5, 0.8), strict=True)),
    ]
    means = by_mechanism(rows, "insns_per_run")
    assert list(means) == ["tail_call", "duplicate", "multi_root"]
    assert means["duplicate"] == means["multi_root"] == pytest.approx(math.sqrt(0.4))


def test_places_follow_the_figures() -> None:
    costs = [_cost("a", "tail_call", 1.0), _cost("a", "duplicate", 0.8)]
    bars, by_number = plots.plots(_comparison([*_ROWS, *costs]))[:2]
    assert isinstance(bars, plots.Bars)
    assert isinstance(by_number, plots.Curves)
    assert bars.bars[1].width / bars.bars[0].width == pytest.approx(0.8)
    assert bars.one == pytest.approx(bars.left + bars.bars[0].width)
    tail, copies = by_number.lines
    # Up is less in SVG; more bytes are higher.
    assert tail.points[1][1] < copies.points[1][1] < tail.points[0][1]
    assert all(plots._TOP <= y <= by_number.bottom for line in (tail, copies) for _, y, _ in line.points)


def test_nothing_to_plot_is_no_plot() -> None:
    assert plots.plots(Comparison("tail_call", [], Summary())) == []


def test_labels_do_not_cover_one_another() -> None:
    mechanisms: tuple[Mechanism, ...] = ("tail_call", "duplicate", "multi_root")
    crowded = [
        _row(case, mechanism, roots, 100 * roots + offset)
        for case, roots in (("a", 1), ("b", 8))
        for offset, mechanism in enumerate(mechanisms)
    ]
    lines = plots.plots(_comparison(crowded))[0]
    assert isinstance(lines, plots.Curves)
    ys = sorted(line.label_y for line in lines.lines)
    assert all(b - a >= plots._LABEL_GAP - 0.01 for a, b in itertools.pairwise(ys))


def test_the_drawing_is_well_formed() -> None:
    from bpfroots.report.html import _environment

    template = _environment().get_template("plots.html.j2")
    svg = template.render(plots=plots.plots(_comparison(_ROWS)))
    ET.fromstring(f"<div>{svg}</div>")  # noqa: S314  (our own)
