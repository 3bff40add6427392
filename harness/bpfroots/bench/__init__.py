"""How long things take here, side by side with what others do them with.

Ours and the peer's take turns, so that whatever else the host does meets both; medians and their ratio
are what counts. A peer has the kernel, the accelerator, the CPUs and the memory that ours has.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from bpfroots.bench import building, clones, comparing, loading, testing, throughput
from bpfroots.bench.common import Bench
from bpfroots.bench.model import Measurement
from bpfroots.errors import UserError
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress

#: What takes minutes, and has to be asked for.
LONG = ("build", "ab", "selftest")
#: Everything that can be measured.
NAMES = ("clone_ssh", "clone_serial", "load", "throughput", *LONG)
DEFAULT = NAMES[: -len(LONG)]
_GROUPS = {"clone": ("clone_ssh", "clone_serial"), "all": NAMES}
#: The kernel that is measured on where none is given.
KERNEL = "patched"
_RUNS = 10
_RUNS_OF_MINUTES = 1


def choose(words: Sequence[str]) -> list[str]:
    """The names that ``words`` mean, in the order of `NAMES`. Raises UserError for a word that is none."""
    wanted: set[str] = set()
    for word in words:
        if word not in NAMES and word not in _GROUPS:
            known = (*NAMES, *_GROUPS)
            near = difflib.get_close_matches(word, known, 1)
            msg = f"bench {word}: nothing that can be measured"
            raise UserError(msg, hint=f"bpfroots bench {near[0] if near else ' | '.join(known)}")
        wanted |= set(_GROUPS.get(word, (word,)))
    return [name for name in NAMES if name in wanted] if words else list(DEFAULT)


def run(
    names: Sequence[str], *, kernel: str, accel: str, runs: int | None, progress: Progress
) -> dict[str, Measurement]:
    """Measure ``names`` (see `choose`) on ``kernel``; ``runs`` samples of each.

    Raises what building or booting the kernel raises, and InfraError where ours does not work; where a
    peer does not, its absence has a reason.
    """
    bench = Bench(kernel, choose_accel(accel), runs or _RUNS, progress)
    found: dict[str, Measurement] = {}
    if wanted := [name for name in names if name.startswith("clone_")]:
        measured = clones.measure(bench)
        found |= {name: measured[name] for name in wanted}
    if "load" in names:
        found["load"] = loading.measure(bench)
    if "throughput" in names:
        found["throughput"] = throughput.measure(bench)
    if "build" in names:
        found["build"] = building.measure(bench, runs or _RUNS_OF_MINUTES)
    if "ab" in names:
        found["ab"] = comparing.measure(bench, runs or _RUNS_OF_MINUTES)
    if "selftest" in names:
        found["selftest"] = testing.measure(bench, runs or _RUNS_OF_MINUTES)
    return found
