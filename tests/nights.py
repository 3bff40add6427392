"""Made-up nights in a history: what happened in each is said by the test."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from bpfroots.history.database import History, Recorded, State
from bpfroots.results.figures import FIGURES
from bpfroots.results.key import Key
from bpfroots.results.model import SCHEMA, KernelInfo, RunInfo

_NAMES = [figure.name for figure in FIGURES if figure.recorded]
MECHANISMS = ("tail_call", "duplicate", "multi_root", "fd_name")
_FIRST = datetime.datetime(2026, 1, 1, 3, tzinfo=datetime.UTC)


def night(number: int, *, job: str = "nightly", inputs: str = "same", key: str = "") -> RunInfo:
    """run.json of the night ``number``. Each has another kernel where no ``key`` is given."""
    started = _FIRST + datetime.timedelta(days=number)
    key = key or f"{number:040x}"
    return RunInfo(
        schema=SCHEMA,
        run=f"{started:%Y-%m-%dT%H-%M-%SZ}-nightly",
        command=["bpfroots", "nightly", "night.toml"],
        started=started.isoformat(),
        kernels=[KernelInfo(name="patched", source_id=f"git:{key}", key=key)],
        inputs=inputs,
        job=job,
        finished=(started + datetime.timedelta(hours=1)).isoformat(),
    )


def accepted(insns: float = 100.0, **changes: object) -> State:
    """A cell as expected; ``insns_per_run`` is ``insns``, other figures are round numbers."""
    figures = dict.fromkeys(_NAMES, 1000.0) | {"insns_per_run": insns}
    figures |= {name: float(str(changes.pop(name))) for name in _NAMES if name in changes}
    words = {"outcome": "pass", "verdict": "accept", "result": "aa", **changes}
    return State(**words, figures=figures)  # type: ignore[arg-type]


def key(case: str, mechanism: str = "duplicate") -> Key:
    return Key(case, mechanism, "patched")


def record(
    history: History, number: int, cells: Mapping[Key, State], *, good: bool = True, **run: str
) -> Recorded:
    """Put a night in; gives it as it is in the history."""
    made = night(number, **run)
    history.record(made, cells.items(), good=good)
    return next(one for one in history.runs() if one.name == made.run)


def synthetic(path: Path, nights: int, cells: int) -> History:
    """A history in which every night has another kernel and one cell in fifty is not what it was."""
    chance = random.Random(1)  # noqa: S311
    history = History(path)
    keys = [
        Key(f"gen/arithmetic-kprobe+xdp-depth{n}", mechanism, "patched")
        for n in range(cells // len(MECHANISMS))
        for mechanism in MECHANISMS
    ]
    now = {
        key: accepted(float(chance.randrange(50, 500)), processed_insns=chance.randrange(20, 9000))
        for key in keys
    }
    for number in range(nights):
        for changed in chance.sample(keys, cells // 50):
            now[changed] = _other(chance)
        history.record(night(number), now.items(), good=number % 7 != 6)
    return history


def _other(chance: random.Random) -> State:
    if chance.random() < 0.05:
        return State(
            outcome="fail", verdict="reject", message=f"R{chance.randrange(10)} invalid mem access 'scalar'"
        )
    digest = f"{chance.randrange(1 << 32):08x}"
    return accepted(
        float(chance.randrange(50, 500)), processed_insns=chance.randrange(20, 9000), code=digest * 3
    )


def names(found: Iterable[object]) -> list[str]:
    """``case: kind`` of findings."""
    return sorted(f"{one.case}: {one.kind}" for one in found)  # type: ignore[attr-defined]
