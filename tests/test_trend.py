"""Nights in a row: each kind of regression is named with its first bad run, what is flaky is called that,
and nothing else is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.history.database import History, Recorded, State
from bpfroots.history.trend import Trend, trend
from bpfroots.results.key import Key
from tests.nights import accepted, key, names, night, record

QUIET = key("calm/cell")


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "history.db") as opened:
        yield opened


def _two(history: History, cell: Key, before: State, after: State) -> Trend:
    """Two nights, in which only one cell changes."""
    record(history, 0, {cell: before, QUIET: accepted()})
    second = record(history, 1, {cell: after, QUIET: accepted()}, good=False)
    return trend(history, second)


REJECTED = State(outcome="fail", verdict="reject", message="R6 invalid mem access 'scalar'")
KINDS: dict[str, State] = {
    "verdict": REJECTED,
    "result": accepted(result="bb"),
    "splat": State(
        outcome="guest_crash", splat="KASAN: use-after-free in f", reason="KASAN: use-after-free in f"
    ),
    "hang": State(outcome="guest_hang", splat="soft lockup of x", reason="soft lockup of x"),
    "timeout": State(outcome="timeout", reason="no end after 30 s"),
    "processed_insns": accepted(processed_insns=1051),
    "total_states": accepted(total_states=1051),
    "jit_bytes": accepted(jit_bytes=1021),
    "insns_per_run": accepted(102.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_named(history: History, kind: str) -> None:
    found = _two(history, key("bad/cell"), accepted(), KINDS[kind])
    assert names(found.regressions) == [f"bad/cell: {kind}"]
    (finding,) = found.regressions
    assert (finding.last_good, finding.first_bad) == (night(0).run, night(1).run)
    assert finding.changed == "source git:000000000000 → git:000000000000"
    assert (found.better, found.flaky, found.gone, found.new) == ([], [], [], [])
    assert found.splats == ([KINDS[kind].splat] if KINDS[kind].splat else [])


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"result"}))
def test_the_way_back_is_better(history: History, kind: str) -> None:
    found = _two(history, key("bad/cell"), KINDS[kind], accepted())
    assert found.regressions == []
    assert [finding.case for finding in found.better] == ["bad/cell"]


def test_of_two_results_nobody_knows_which_is_right(history: History) -> None:
    found = _two(history, key("bad/cell"), KINDS["result"], accepted())
    assert names(found.regressions) == ["bad/cell: result"]


@pytest.mark.parametrize(
    "after",
    [
        accepted(processed_insns=1050, total_states=1050, jit_bytes=1020),
        accepted(100.9),
        accepted(code="other", indirect_branches=2000),
        State(outcome="infra_error", reason="QEMU died of SIGKILL"),
    ],
    ids=["at the thresholds", "insns per run", "what is not gated", "our own fault"],
)
def test_what_is_no_regression(history: History, after: State) -> None:
    found = _two(history, key("bad/cell"), accepted(), after)
    assert (found.regressions, found.better, found.flaky) == ([], [], [])


def test_a_verdict_that_is_expected_now_is_none(history: History) -> None:
    """The series was changed, and with it the case."""
    expected = State(outcome="pass", verdict="reject", message="same insn cannot be used")
    assert _two(history, key("bad/cell"), accepted(), expected).regressions == []


def test_a_mechanism_that_is_lost_is_one(history: History) -> None:
    found = _two(history, key("bad/cell"), accepted(), State(outcome="unsupported"))
    assert names(found.regressions) == ["bad/cell: verdict"]


def _nights(
    history: History, states: list[State | None], *, same: bool = False, good: int = 1
) -> list[Recorded]:
    """A night per state, in which the cell takes no part where that is None; the first ``good`` are good.
    Kernel and all else are the same in all of them or other ones in each."""
    of_kernel = {"key": "1" * 40} if same else {}
    return [
        record(
            history,
            number,
            {QUIET: accepted()} | ({key("bad/cell"): state} if state else {}),
            good=number < good,
            **of_kernel,
        )
        for number, state in enumerate(states)
    ]


def test_the_first_bad_run_is_found_behind_nights_that_say_nothing(history: History) -> None:
    lost = State(outcome="infra_error")
    runs = _nights(history, [accepted(), accepted(), REJECTED, None, lost, REJECTED])
    (finding,) = trend(history, runs[-1]).regressions
    assert (finding.last_good, finding.first_bad) == (runs[1].name, runs[2].name)


def test_what_was_fixed_in_between_is_bad_since_the_second_time(history: History) -> None:
    runs = _nights(history, [accepted(), REJECTED, accepted(), REJECTED])
    (finding,) = trend(history, runs[-1]).regressions
    assert (finding.last_good, finding.first_bad) == (runs[2].name, runs[3].name)


def test_it_is_named_until_it_is_accepted(history: History) -> None:
    runs = _nights(history, [accepted(), REJECTED, REJECTED, REJECTED])
    assert [len(trend(history, run).regressions) for run in runs] == [0, 1, 1, 1]
    history.mark_good(runs[1].name)
    assert trend(history, runs[3]).regressions == []
    assert trend(history, runs[3]).reference == runs[1].name


def test_a_cell_that_was_not_in_the_last_good_run_is_compared_with_the_one_before(history: History) -> None:
    runs = _nights(history, [accepted(), None, REJECTED], good=2)
    found = trend(history, runs[-1])
    assert found.reference == runs[1].name
    assert names(found.regressions) == ["bad/cell: verdict"]


def test_other_answers_of_the_same_kernel_are_flaky(history: History) -> None:
    runs = _nights(history, [accepted(), accepted(), REJECTED], same=True)
    found = trend(history, runs[-1])
    assert found.regressions == []
    (flaky,) = found.flaky
    assert (flaky.case, flaky.kind, flaky.bad) == ("bad/cell", "verdict", True)
    assert flaky.values == {"accept": 2, "reject": 1}
    assert flaky.why == f"nothing had changed from {runs[1].name} to {runs[2].name}"


def test_back_and_forth_is_flaky_whatever_has_changed(history: History) -> None:
    runs = _nights(history, [accepted(), REJECTED, accepted(), REJECTED, accepted()])
    assert names(trend(history, runs[3]).regressions) == ["bad/cell: verdict"]
    assert names(trend(history, runs[4]).flaky) == ["bad/cell: verdict"]


def test_a_figure_that_wanders_is_flaky(history: History) -> None:
    runs = _nights(history, [accepted(100), accepted(100), accepted(131)], same=True)
    assert names(trend(history, runs[-1]).flaky) == ["bad/cell: insns_per_run"]


def test_a_figure_that_goes_on_growing_is_not_flaky(history: History) -> None:
    runs = _nights(history, [accepted(100.0 + 10 * step) for step in range(9)], good=9)
    found = trend(history, runs[-1])
    assert names(found.regressions) == ["bad/cell: insns_per_run"]
    assert found.flaky == []


def test_a_flaky_cell_that_was_fixed_is_not_flaky_for_ever(history: History) -> None:
    states: list[State | None] = [accepted(), REJECTED] * 3
    runs = _nights(history, [*states, *[accepted()] * 20])
    assert names(trend(history, runs[10]).flaky) == ["bad/cell: verdict"]
    assert trend(history, runs[-1]).flaky == []


def test_cells_that_come_and_go_are_listed(history: History) -> None:
    record(history, 0, {key("old/cell"): accepted(), QUIET: accepted()})
    second = record(history, 1, {key("new/cell"): accepted(), QUIET: accepted()})
    found = trend(history, second)
    assert (found.gone, found.new) == (["old/cell (duplicate, patched)"], ["new/cell (duplicate, patched)"])
    assert found.regressions == []


def test_a_known_splat_is_not_new(history: History) -> None:
    runs = _nights(history, [accepted(), KINDS["splat"], KINDS["splat"]])
    assert trend(history, runs[1]).splats == ["KASAN: use-after-free in f"]
    assert trend(history, runs[2]).splats == []
    assert names(trend(history, runs[2]).regressions) == ["bad/cell: splat"]


def test_other_jobs_are_other_histories(history: History) -> None:
    record(history, 0, {QUIET: REJECTED}, job="another")
    run = record(history, 1, {QUIET: accepted()})
    assert trend(history, run).reference == ""
