"""From samples to a figure: what most single runs took, and whether that is one."""

from __future__ import annotations

import pytest

from bpfroots.analysis.cost import PerRun, median, most_often, net
from bpfroots.programs.protocol import Samples


def _samples(*runs: int | tuple[int, int]) -> Samples:
    return Samples("on_tc", 0, [run if isinstance(run, tuple) else (run, 1) for run in runs])


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (_samples(7, 7, 7), PerRun(7)),
        (_samples(90, 7, 7, 5000, 7, 7, 8), PerRun(7)),
        (_samples(7, 7, 9, 9), PerRun(7, exact=False)),
        (_samples(7, 7, 7, 9, 9, 8, 1), PerRun(7, exact=False)),
        # Once is once: another process had the event as well, or none.
        (_samples((14, 2), (0, 0), 7, 7, 7, 7), PerRun(7)),
        (_samples((14, 2), (0, 0), 7, 7), PerRun(7, exact=False)),
        (_samples((14, 2), (0, 0)), None),
        (_samples(), None),
    ],
)
def test_what_most_runs_took(samples: Samples, found: PerRun | None) -> None:
    assert most_often(samples) == found


def test_time_is_a_median_of_means() -> None:
    assert median(_samples((300, 100), (1000, 100), (400, 100), (0, 0))) == PerRun(4)
    assert median(_samples((0, 0))) is None


def test_without_what_an_empty_program_takes() -> None:
    assert net(PerRun(107), PerRun(7)) == PerRun(100)
    assert net(PerRun(107), PerRun(7, exact=False)) == PerRun(100, exact=False)
    assert net(PerRun(107), None) is None
