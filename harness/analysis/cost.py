"""From samples to instructions per run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.programs.protocol import Samples


def per_run(samples: Samples) -> float | None:
    """Instructions per run, from a machine with -icount, the way to the program included.

    The median over the samples: a timer that fires inside one makes that one larger. None where
    nothing ran.
    """
    means = [total / runs for total, runs in samples.samples if runs]
    return statistics.median(means) if means else None


def net(samples: Samples, empty: float | None) -> float | None:
    """Instructions per run of the program alone: without those of an empty one of its kind.

    To a tenth: the guest converts cycles to nanoseconds by a multiplication and a shift (struct
    clock_data of its sched_clock), which for a sum of 50 runs may be one more or less.
    """
    found = per_run(samples)
    return None if found is None or empty is None else round(found - empty, 1)


def undisturbed(samples: Sequence[Samples]) -> bool:
    """Whether most samples of each agree to the digit."""
    for found in samples:
        means = [total / runs for total, runs in found.samples if runs]
        if means and sum(mean == statistics.median(means) for mean in means) * 2 < len(means):
            return False
    return True
