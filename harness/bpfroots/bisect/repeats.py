"""How often a kernel has to pass before it is called good, where a bad one does not fail every time, and how
sure the answer is in the end.

A good kernel never shows the failure that is looked for; so one failure makes a kernel bad. A bad one either
fails every time, or at a rate that is not known (any is as likely as any other), the same on all bad kernels;
what they have shown so far says how likely each is. Before its runs a kernel is as likely good as bad, since
git halves what is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Belief:
    """``steady``: the chance, before any run, that bad kernels fail every time. ``failures`` and ``passes``
    are runs of kernels that are known to be bad."""

    steady: float
    failures: int = 0
    passes: int = 0

    def after(self, failures: int, passes: int) -> Belief:
        """With more runs of a bad kernel."""
        return replace(self, failures=self.failures + failures, passes=self.passes + passes)

    @property
    def always(self) -> float:
        """The chance that bad kernels fail every time."""
        if self.passes:
            return 0.0
        other = (1 - self.steady) / (self.failures + 1)  # the integral of p^failures
        return self.steady / (self.steady + other)

    @property
    def rate(self) -> float:
        """The failure rate to be expected of a bad kernel."""
        mean = (self.failures + 1) / (self.failures + self.passes + 2)
        return self.always + (1 - self.always) * mean

    def missed(self, runs: int) -> float:
        """The chance that a bad kernel passes ``runs`` runs."""
        if runs == 0:
            return 1.0
        a, b = self.failures + 1, self.passes + 1
        return (1 - self.always) * math.exp(_log_beta(a, b + runs) - _log_beta(a, b))

    def error(self, passes: int) -> float:
        """The chance that a kernel is bad that has passed ``passes`` runs and failed none."""
        missed = self.missed(passes)
        return missed / (1 + missed)

    def runs_for(self, error: float, most: int) -> int:
        """The fewest passes after which a kernel may be called good; at least 1, and ``most`` at the most."""
        return next((runs for runs in range(1, most) if self.error(runs) <= error), most)


def confidence(belief: Belief, suspects: int, good: Iterable[tuple[int, int]]) -> float:
    """The chance that one of the ``suspects`` is the first bad commit, where each was as likely as another.

    ``good`` are the kernels called good: how many commits each has above the good end (which has 0, and is
    one more that may be bad), and how often it has passed. Exact for a history without merges: were the first
    bad commit further down, all that is called good from there on would be bad, and have passed all its runs.
    """
    wrong, passes = 0.0, 0
    ordered = sorted(good, reverse=True)
    below = [place for place, _ in ordered[1:]] + [-1]
    for (place, runs), next_place in zip(ordered, below, strict=True):
        passes += runs
        wrong += (place - next_place) * belief.missed(passes)
    return suspects / (suspects + wrong)


def error_per_kernel(confidence: float, kernels: int) -> float:
    """How wrong each of ``kernels`` calls of good may be for all to be right with ``confidence``."""
    return 1 - math.pow(confidence, 1 / max(1, kernels))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
