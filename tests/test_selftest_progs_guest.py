"""Tests that fail, leak, hang and panic in real guests: none takes another's result with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bpfroots.images import Image, layer
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit
from bpfroots.machine import Machine, choose_accel
from bpfroots.machine.splats import read_allowances
from bpfroots.results.selftests import Tested
from bpfroots.selftest.progs_worker import Limits, Worker
from tests import ROOT

pytestmark = [pytest.mark.guest]
_STAND_IN = ROOT / "tests/selftest_stand_in.sh"


class _Layered:
    """What guests need of a kit."""

    def __init__(self, image: Image) -> None:
        self.image = image


@pytest.fixture
def guest(kit: Kit, tmp_path: Path) -> Callable[[], Machine]:
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(_STAND_IN, files / "test_progs")
    (files / "test_progs").chmod(0o755)
    kernel = kit.kernels[0]
    image = layer.layered(kit.image, files, f"stand-in {_STAND_IN.read_text()}")
    guests = Guests(_Layered(image), choose_accel("auto"))
    return partial(guests.boot, kernel, tmp_path / "console.log")


def _allowing(guest: Callable[[], Machine], path: Path) -> Callable[[], Machine]:
    def boot() -> Machine:
        machine = guest()
        machine.allow(read_allowances(path))
        return machine

    return boot


def _ran(guest: Callable[[], Machine], *names: str) -> dict[str, Tested]:
    accel = choose_accel("auto")
    found = Worker(guest, Limits(60, accel.slowdown)).run(names)
    return {finished.tested.name: finished.tested for finished in found}


def test_no_result_is_lost(guest: Callable[[], Machine]) -> None:
    found = _ran(guest, "before", "fails", "hangs", "between", "panics", "after")
    assert {name: one.outcome for name, one in found.items()} == {
        "before": "pass",
        "fails": "fail",
        "hangs": "timeout",
        "between": "pass",
        "panics": "guest_crash",
        "after": "pass",
    }
    assert found["fails"].reason == "fails:FAIL:attach unexpected error: -22 (errno 22)"
    assert found["hangs"].reason == "hangs not finished within 60 s"
    assert "sysrq triggered crash" in found["panics"].reason
    assert found["panics"].note == "again when run alone in a fresh guest"
    assert found["panics"].console is not None


def test_a_splat_that_a_list_allows_is_no_failure(guest: Callable[[], Machine], tmp_path: Path) -> None:
    path = tmp_path / "SPLAT_ALLOWLIST"
    path.write_text("# known\nWARNING: CPU: .* complain\\+\n")
    found = _ran(_allowing(guest, path), "before", "complains")
    assert [one.outcome for one in found.values()] == ["pass", "pass"]
    (splat,) = found["complains"].allowed
    assert (splat.title, splat.by) == ("WARNING in complain at kernel/x.c:1", "SPLAT_ALLOWLIST:2")
    printed = Path(splat.console.path).read_text().splitlines()
    assert "complain+0x1" in printed[splat.console.line - 1]
    assert found["before"].allowed == []


def test_another_splat_is_a_failure(guest: Callable[[], Machine], tmp_path: Path) -> None:
    path = tmp_path / "SPLAT_ALLOWLIST"
    path.write_text("WARNING: CPU: .* explain\\+\n")
    found = _ran(_allowing(guest, path), "before", "complains")
    # The console may be later than the test's result.
    assert {name: one.outcome for name, one in found.items() if one.outcome != "pass"} in (
        {"complains": "guest_crash"},
        {"exit after complains": "guest_crash"},
    )
    assert found["complains"].allowed == []


def test_what_a_test_leaves_is_not_in_the_next_guest(guest: Callable[[], Machine]) -> None:
    first, then = _ran(guest, "leaks"), _ran(guest, "sees_leak")
    assert (first["leaks"].outcome, then["sees_leak"].outcome) == ("pass", "pass")


def test_the_layer_comes_before_busybox(guest: Callable[[], Machine]) -> None:
    command = (
        "ip -V; bash --version | head -1; iptables-legacy --version; nft --version; readlink /proc/$$/exe"
    )
    with guest() as machine:
        done = machine.output(command)
    said = done.stdout.decode()
    assert said.startswith("ip utility, iproute2")
    assert "GNU bash" in said
    assert "(legacy)" in said
    assert said.endswith("/dash\n")
    # nft has all its libraries; this kernel has no nf_tables.
    assert done.stderr == b"" or b"Netlink socket: Protocol not supported" in done.stderr
