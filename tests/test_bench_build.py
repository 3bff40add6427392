"""`bench build` from its two ends: the tree is a tiny one, the commands are the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.bench import building
from bpfroots.bench.common import Bench
from bpfroots.machine import Accel
from bpfroots.progress import Progress
from bpfroots.settings import cache_root
from tests.kernel_project import Project, project


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.usefixtures("fake")
def test_both_build_the_kernel_and_leave_nothing() -> None:
    bench = Bench("baseline", Accel("tcg", "", 1.0), 1, Progress(quiet=True))
    found = building.measure(bench, 2)
    assert found.peer is not None
    assert found.peer.name == "make"
    assert len(found.ours.samples) == len(found.peer.samples) == 2
    assert found.ratio == pytest.approx(found.peer.median / found.ours.median)
    assert not list(cache_root().glob("bench-*"))
