"""From samples to instructions, or nanoseconds, per run."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import NamedTuple

from bpfroots.programs.protocol import Samples


class PerRun(NamedTuple):
    """What a run takes. ``exact``: most runs took just that."""

    value: float
    exact: bool = True


def most_often(samples: Samples) -> PerRun | None:
    """Instructions per run, from a machine with -icount, the way to the program included: what single runs
    took most often. None where nothing ran.

    Others were met by an interrupt, or counted one more or less: the guest converts cycles to nanoseconds by
    a multiplication and a shift (struct clock_data of its sched_clock). A sample in which the program did
    not run once, as it should, says nothing.
    """
    singly = Counter(total for total, runs in samples.samples if runs == 1)
    if not singly:
        return None
    most = max(singly.values())
    value = min(total for total, times in singly.items() if times == most)
    return PerRun(value, exact=2 * most > len(samples.samples))


def median(samples: Samples) -> PerRun | None:
    """Nanoseconds per run, the way to the program included. None where nothing ran."""
    means = [total / runs for total, runs in samples.samples if runs]
    return PerRun(statistics.median(means)) if means else None


def net(found: PerRun | None, empty: PerRun | None) -> PerRun | None:
    """A run of the program alone: without what an empty one of its kind takes."""
    if found is None or empty is None:
        return None
    return PerRun(round(found.value - empty.value, 1), found.exact and empty.exact)
