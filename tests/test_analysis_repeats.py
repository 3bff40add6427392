"""How many runs a verdict takes, and whether the confidence that is stated holds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.bisect.repeats import Belief, confidence, error_per_kernel

_BELIEFS = st.builds(
    Belief,
    steady=st.floats(0, 1, exclude_max=True),
    failures=st.integers(0, 50),
    passes=st.integers(0, 200),
)


@given(_BELIEFS, st.integers(0, 300))
def test_more_passes_leave_less_doubt(belief: Belief, runs: int) -> None:
    assert 0 <= belief.error(runs + 1) <= belief.error(runs) <= 0.5
    assert 0 <= belief.missed(runs + 1) <= belief.missed(runs) <= 1


@given(_BELIEFS, st.floats(1e-6, 0.4), st.integers(1, 300))
def test_no_run_too_few_and_none_too_many(belief: Belief, error: float, most: int) -> None:
    runs = belief.runs_for(error, most)
    assert 1 <= runs <= most
    if runs < most:
        assert belief.error(runs) <= error
    if runs > 1:
        assert belief.error(runs - 1) > error


@given(_BELIEFS)
def test_a_failure_makes_the_rate_higher_and_a_pass_lower(belief: Belief) -> None:
    assert belief.after(1, 0).rate >= belief.rate
    assert belief.after(0, 1).rate <= belief.rate
    assert belief.after(0, 1).always == 0


@given(st.integers(0, 30), st.integers(1, 60), st.integers(1, 60))
def test_missed_is_the_mean_over_all_rates(failures: int, passes: int, runs: int) -> None:
    """Of (1-p)^runs, with p as likely as p^failures * (1-p)^passes: by adding up small steps."""
    steps = [(n + 0.5) / 20_000 for n in range(20_000)]
    weights = [p**failures * (1 - p) ** passes for p in steps]
    mean = math.fsum(w * (1 - p) ** runs for p, w in zip(steps, weights, strict=True)) / math.fsum(weights)
    assert Belief(0.5, failures, passes).missed(runs) == pytest.approx(mean, rel=1e-3, abs=1e-9)


@given(st.floats(0.5, 0.9999), st.integers(1, 30))
def test_errors_of_kernels_add_up_to_what_was_wanted(confidence: float, kernels: int) -> None:
    assert (1 - error_per_kernel(confidence, kernels)) ** kernels == pytest.approx(confidence)


@given(
    _BELIEFS,
    st.integers(1, 5),
    st.dictionaries(st.integers(1, 60), st.integers(1, 40), max_size=8),
    st.integers(1, 40),
)
def test_confidence_is_what_counting_every_commit_gives(
    belief: Belief, suspects: int, passed: dict[int, int], end: int
) -> None:
    good = {0: end, **passed}
    # The good end itself is one more that may be the first bad one.
    wrong = math.fsum(
        belief.missed(sum(runs for place, runs in good.items() if place >= first))
        for first in range(max(good) + 1)
    )
    assert confidence(belief, suspects, good.items()) == pytest.approx(suspects / (suspects + wrong))


@given(_BELIEFS, st.dictionaries(st.integers(1, 60), st.integers(1, 40), min_size=1), st.integers(1, 9))
def test_runs_of_the_highest_good_kernel_make_the_answer_surer(
    belief: Belief, passed: dict[int, int], more: int
) -> None:
    good = {0: 1, **passed}
    again = good | {max(good): good[max(good)] + more}
    assert confidence(belief, 1, again.items()) >= confidence(belief, 1, good.items())


def test_what_fails_every_time_takes_one_run() -> None:
    assert Belief(0.99).after(5, 0).runs_for(error_per_kernel(0.99, 7), 100) == 1


def test_the_known_rate_gives_the_known_number() -> None:
    """field: ln 0.01 / ln(1-p) runs for an error of 1 %, where so much was seen that p is known."""
    for rate, runs in ((0.9, 2), (0.5, 7), (0.3, 13), (0.1, 44)):
        known = Belief(0, int(rate * 100_000), int((1 - rate) * 100_000))
        assert known.runs_for(0.01 / 1.01, 100) == pytest.approx(runs, abs=1)


@pytest.mark.parametrize("seen", [(1, 0), (3, 0), (1, 4), (5, 12)])
def test_a_call_of_good_is_wrong_as_often_as_it_says(seen: tuple[int, int]) -> None:
    """Kernels of which half are bad, at rates as the belief has them: of those that pass, so many are bad."""
    generator = random.Random(20)  # noqa: S311
    failures, passes = seen
    belief = Belief(0.0, failures, passes)
    for runs in (1, 3, 10):
        good = wrong = 0
        for _ in range(40_000):
            bad = generator.random() < 0.5
            rate = generator.betavariate(failures + 1, passes + 1) if bad else 0.0
            if all(generator.random() >= rate for _ in range(runs)):
                good += 1
                wrong += bad
        assert wrong / good == pytest.approx(belief.error(runs), abs=4 * math.sqrt(0.25 / good))
