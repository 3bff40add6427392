"""test_progs in guests: every test gets one result, whatever becomes of its guest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from bpfroots.errors import GuestCrash, GuestError, GuestHang, GuestLost
from bpfroots.machine import Machine
from bpfroots.results.selftests import Tested
from bpfroots.selftest.progs_worker import Limits, Worker
from tests.selftest_guests import ProgsGuest, ProgsGuests


def _ran(guests: ProgsGuests, names: Sequence[str]) -> dict[str, Tested]:
    found = [finished.tested for finished in Worker(guests, Limits(120, 1.0)).run(names)]
    assert len({one.name for one in found}) == len(found)
    assert all(guest.closed for guest in guests.made)
    return {one.name: one for one in found}


def test_one_guest_runs_a_batch() -> None:
    guests = ProgsGuests({"b": "fail"})
    found = _ran(guests, ["a", "b", "c"])
    assert [(one.name, one.outcome) for one in found.values()] == [
        ("a", "pass"),
        ("b", "fail"),
        ("c", "pass"),
    ]
    assert found["b"].reason == "b:FAIL:attach unexpected error: -22"
    assert [guest.asked for guest in guests.made] == [["a", "b", "c"]]


@pytest.mark.parametrize("lost", [GuestCrash("panic: boom"), GuestHang("answers nothing")])
def test_the_test_a_guest_is_lost_in_is_named_and_the_others_continue(lost: GuestError) -> None:
    guests = ProgsGuests({"b": lost})
    found = _ran(guests, ["a", "b", "c", "d"])
    assert {name: one.outcome for name, one in found.items()} == {
        "a": "pass",
        "b": lost.outcome,
        "c": "pass",
        "d": "pass",
    }
    assert found["b"].note == "again when run alone in a fresh guest"
    assert [guest.asked for guest in guests.made] == [["a", "b", "c", "d"], ["b"], ["c", "d"]]


def test_what_happens_only_after_others_is_kept_and_said() -> None:
    guests = ProgsGuests({"b": GuestCrash("panic: boom")}, {})
    found = _ran(guests, ["a", "b", "c"])
    assert (found["b"].outcome, found["b"].reason) == ("guest_crash", "panic: boom")
    assert found["b"].note == "not when run alone in a fresh guest; before it ran 1 test, last a"
    assert found["c"].outcome == "pass"


@pytest.mark.parametrize("names", ["abcd", "bcd"])
def test_a_panic_that_takes_the_result_of_the_test_before_it(names: str) -> None:
    panic = GuestCrash("panic: boom")
    # In the first guest b's line never comes: c was faster.
    guests = ProgsGuests({"b": panic, "c": panic}, {"c": panic})
    found = _ran(guests, list(names))
    assert [one.outcome for one in found.values()] == [*["pass"] * (len(names) - 2), "guest_crash", "pass"]
    assert found["c"].note == "again when run alone in a fresh guest"


@pytest.mark.parametrize("names", ["abcd", "bcd"])
def test_a_splat_that_overtakes_the_end_of_the_test_before_it(names: str) -> None:
    guests = ProgsGuests({"c": GuestCrash("panic: boom")}, late=True)
    found = _ran(guests, list(names))
    assert [one.outcome for one in found.values()] == [*["pass"] * (len(names) - 2), "guest_crash", "pass"]
    assert found["c"].note == "again when run alone in a fresh guest"
    assert [guest.asked for guest in guests.made] == [list(names), ["b"], ["c"], ["d"]]


def test_a_splat_that_neither_does_alone_stays_where_it_was_seen() -> None:
    guests = ProgsGuests({"c": GuestCrash("panic: boom")}, {}, late=True)
    found = _ran(guests, ["a", "b", "c", "d"])
    assert [one.outcome for one in found.values()] == ["pass", "guest_crash", "pass", "pass"]
    assert found["b"].note.startswith("not when run alone in a fresh guest; before it ran 1 test")


def test_a_splat_fails_a_test_that_says_ok() -> None:
    found = _ran(ProgsGuests({"b": "splat"}), ["a", "b", "c"])
    assert [one.outcome for one in found.values()] == ["pass", "guest_crash", "pass"]
    assert found["b"].reason == "WARNING in b"


def test_a_test_that_is_too_slow_in_a_batch_counts_by_what_it_does_alone() -> None:
    found = _ran(ProgsGuests({"b": "slow"}, {}), ["a", "b", "c"])
    assert [one.outcome for one in found.values()] == ["pass", "pass", "pass"]
    assert found["b"].note.endswith("among others: b/x not finished within 480 s")


def test_a_test_that_is_always_too_slow() -> None:
    found = _ran(ProgsGuests({"b": "slow"}), ["a", "b", "c"])
    assert (found["b"].outcome, found["b"].reason) == ("timeout", "b/x not finished within 480 s")
    assert found["c"].outcome == "pass"


def test_a_program_that_ends_in_a_test_fails_that_test() -> None:
    guests = ProgsGuests({"b": "exit"})
    found = _ran(guests, ["a", "b", "c"])
    assert found["b"].outcome == "fail"
    assert found["b"].reason == "test_progs ended with status 139: Caught signal #11!"
    assert [guest.asked for guest in guests.made] == [["a", "b", "c"], ["c"]]


def test_a_host_that_loses_guests_is_not_asked_for_ever() -> None:
    guests = ProgsGuests({"a": GuestLost("QEMU died of SIGBUS")})
    found = _ran(guests, ["a", "b", "c"])
    assert {one.outcome for one in found.values()} == {"infra_error"}
    assert len(guests.made) == 2


@pytest.mark.parametrize(("names", "on_disk"), [(["a", "build_id"], True), (["a", "b"], False)])
def test_only_a_test_that_wants_a_disk_gets_one(names: list[str], on_disk: bool) -> None:
    guests = ProgsGuests({})
    assert {one.outcome for one in _ran(guests, names).values()} == {"pass"}
    assert ("mount --bind /run/on-disk/uprobe_multi uprobe_multi" in guests.made[0].command) is on_disk


def test_a_summary_that_says_something_else_is_no_pass() -> None:
    guest = ProgsGuest(
        {}, {"success": 2, "success_subtest": 0, "failed": 0, "failed_subtest": 0, "results": []}
    )
    found = [
        finished.tested for finished in Worker(lambda: cast("Machine", guest), Limits(120, 1.0)).run(["a"])
    ]
    assert [(one.name, one.outcome) for one in found] == [("a", "pass"), ("exit after a", "infra_error")]
    assert "the summary counts [2, 0, 0, 0], the lines [1, 0, 0, 0]" in found[1].reason
