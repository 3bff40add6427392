"""The first patch of each result: found in few kernels, and never wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bpfroots.ab import pair, per_patch, series
from bpfroots.ab.model import ChangedProgram, Findings, SeriesInfo, SeriesPatch, Side, WhatDiffers
from bpfroots.errors import KernelError
from bpfroots.progress import Progress
from bpfroots.results.request import Together

_SIDE = Side("k", "6.12", "k")


class _Kernels:
    """Kernels that answer at once: program N is another one from patch ``first[N]`` on."""

    def __init__(self, count: int, first: list[int], broken: frozenset[int] = frozenset()) -> None:
        self.first = first
        self.broken = broken
        self.built: list[int] = []
        patches = [SeriesPatch(str(n), f"patch {n}") for n in range(1, count + 1)]
        self.taken = series.Taken("base", Path("/s"), SeriesInfo("s", "base", patches))

    def compare(self, patches: int) -> Findings:
        changes = [
            ChangedProgram(
                "load/a.bpf.o", f"p{n}", "xdp", "duplicate", "figures", [WhatDiffers("insns", 1, 2)]
            )
            for n, first in enumerate(self.first)
            if first <= patches
        ]
        return Findings(_SIDE, _SIDE, changes=changes)

    def ran_on(self, _wanted: object, kernel: str, _only: object, _progress: object) -> Findings:
        number = int(kernel.rpartition("@")[2])
        self.built.append(number)
        if number in self.broken:
            msg = "does not build"
            raise KernelError(msg)
        return self.compare(number)

    def find(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setattr(per_patch, "ran_on", self.ran_on)
        found = self.compare(self.taken.count)
        wanted = pair.Asked(("base", self.taken.patched), Together(()), series=self.taken)
        per_patch.find(found, wanted, Progress(quiet=True))
        return [change.differences[0].first_patch for change in found.changes]


@pytest.mark.parametrize("seed", range(30))
def test_every_first_patch_is_found(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)  # noqa: S311
    count = chance.randint(1, 40)
    first = [chance.randint(1, count) for _ in range(chance.randint(1, 6))]
    kernels = _Kernels(count, first)
    assert kernels.find(monkeypatch) == [str(one) for one in first]
    assert len(kernels.built) == len(set(kernels.built)) <= count - 1


def test_one_change_takes_a_halving(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = _Kernels(32, [17])
    assert kernels.find(monkeypatch) == ["17"]
    assert len(kernels.built) == 5


def test_what_does_not_build_is_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = _Kernels(4, [3], broken=frozenset({2}))
    assert kernels.find(monkeypatch) == ["2 or 3"]


def test_a_series_of_one_patch_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = _Kernels(1, [1])
    assert kernels.find(monkeypatch) == ["1"]
    assert kernels.built == []
