"""Guests at once and batches, and the pool that guests wait in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from bpfroots.errors import BootError
from bpfroots.jobs import schedule
from bpfroots.jobs.pool import Pool
from bpfroots.jobs.spec import CellSpec
from bpfroots.machine import Machine
from bpfroots.programs.protocol import MECHANISMS
from bpfroots.settings import jobs
from bpfroots.shape import Shape

GIB = 1024


class _Guest:
    """Stands for a machine: a pool knows no more of one than this."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class _Maker:
    """Makes guests, each as soon as it is allowed to."""

    def __init__(self) -> None:
        self.made: list[_Guest] = []
        self.allowed = threading.Semaphore(0)
        self.asked = threading.Semaphore(0)

    def __call__(self) -> Machine:
        self.asked.release()
        assert self.allowed.acquire(timeout=30)
        guest = _Guest()
        self.made.append(guest)
        return cast(Machine, guest)


@pytest.fixture
def maker() -> _Maker:
    return _Maker()


@pytest.fixture
def pool(maker: _Maker) -> Iterator[Pool]:
    made = Pool(maker)
    yield made
    for _ in range(9):
        maker.allowed.release()
    made.close()


def test_a_warm_guest_is_given_out_once(pool: Pool, maker: _Maker) -> None:
    maker.allowed.release(3)
    pool.warm(1)
    assert maker.asked.acquire(timeout=30)
    first, second, third = pool.take(), pool.take(), pool.take()
    assert len({id(guest) for guest in (first, second, third)}) == len(maker.made) == 3


def test_warm_counts_those_on_their_way(pool: Pool, maker: _Maker) -> None:
    pool.warm(2)
    pool.warm(2)
    for _ in range(2):
        assert maker.asked.acquire(timeout=30)
    assert not maker.asked.acquire(blocking=False)
    maker.allowed.release(2)
    pool.take()
    pool.warm(2)
    assert maker.asked.acquire(timeout=30)


def test_close_ends_what_nobody_took_and_makes_no_more(maker: _Maker) -> None:
    pool = Pool(maker)
    pool.warm(2)
    for _ in range(2):
        assert maker.asked.acquire(timeout=30)
    maker.allowed.release(2)
    taken = cast(_Guest, pool.take())
    pool.close()
    assert [guest.closed for guest in maker.made if guest is not taken] == [True]
    assert not taken.closed
    pool.warm(2)
    assert not maker.asked.acquire(blocking=False)


def test_what_making_raises_comes_to_who_takes() -> None:
    def fail() -> Machine:
        msg = "it does not boot"
        raise BootError(msg)

    pool = Pool(fail)
    pool.warm(1)
    with pytest.raises(BootError, match="it does not boot"):
        pool.take()
    pool.warm(1)
    pool.close()


@pytest.mark.parametrize(
    ("available", "shape", "wanted", "guests"),
    [
        (16 * GIB, Shape(memory_mib=256), None, jobs()),
        (16 * GIB, Shape(memory_mib=256), 5, 5),
        (16 * GIB, Shape(memory_mib=256), 1, 1),
        # 512 MiB are left to others, and QEMU takes 200 on top.
        (512 + 3 * 456, Shape(memory_mib=256), 8, 3),
        (512 + 3 * 456 - 1, Shape(memory_mib=256), 8, 2),
        (16 * GIB, Shape(memory_mib=2048, cpus=64), None, 1),
        (300, Shape(memory_mib=2048), None, 1),
        (300, Shape(memory_mib=2048), 4, 1),
    ],
)
def test_guests_at_once(
    monkeypatch: pytest.MonkeyPatch, available: int, shape: Shape, wanted: int | None, guests: int
) -> None:
    monkeypatch.setattr(schedule, "available_mib", lambda: available)
    assert schedule.guests_at_once(shape, wanted) == guests


def test_the_free_memory_of_this_host_is_read() -> None:
    assert schedule.available_mib() > 64


def _cells(cases: int, each: int) -> list[CellSpec]:
    return [CellSpec(f"case/{n}", mechanism, []) for mechanism in MECHANISMS[:each] for n in range(cases)]


@pytest.mark.parametrize(
    ("cases", "each", "guests"), [(1, 1, 1), (2, 1, 2), (7, 3, 2), (100, 3, 2), (200, 1, 1)]
)
def test_batches_lose_nothing_and_keep_a_case_together(cases: int, each: int, guests: int) -> None:
    specs = _cells(cases, each)
    found = schedule.batches(specs, guests)
    assert sorted(spec.id for batch in found for spec in batch) == sorted(spec.id for spec in specs)
    homes = {spec.name: {n for n, batch in enumerate(found) if spec in batch} for spec in specs}
    assert all(len(home) == 1 for home in homes.values())
    assert all(batch for batch in found)
    assert max(map(len, found)) < 64 + each
    assert len(found) >= min(cases, guests)


def test_batches_get_smaller_so_that_the_last_guest_is_not_alone_for_long() -> None:
    sizes = [len(batch) for batch in schedule.batches(_cells(400, 1), 2)]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], max(sizes[-3:])) == (64, 4)
    # Its twin: one guest has to do it all, and starts as few runners as it can.
    assert [len(batch) for batch in schedule.batches(_cells(130, 1), 1)] == [64, 64, 2]
