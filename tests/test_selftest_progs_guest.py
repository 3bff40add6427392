"""A part of the tree's test_progs on baseline and patched; and tests that fail, leak, hang and panic in real
guests: none takes another's result with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bpfroots.images import Image, layer
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit
from bpfroots.kernels import selftests, tree
from bpfroots.machine import Machine, choose_accel
from bpfroots.machine.splats import read_allowances
from bpfroots.progress import Progress
from bpfroots.results.selftests import Tested
from bpfroots.selftest import progs_build, progs_site
from bpfroots.selftest.progs_worker import Limits, Worker
from tests import ROOT

pytestmark = [pytest.mark.guest]
_STAND_IN = ROOT / "tests/selftest_stand_in.sh"
_ATTACKS = ROOT / "tests/selftest_attacks.c"


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


def _ran(guest: Callable[[], Machine], *names: str, timeout_s: float = 60) -> dict[str, Tested]:
    accel = choose_accel("auto")
    found = Worker(guest, Limits(timeout_s, accel.slowdown)).run(names)
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


# -- the program itself ------------------------------------------------------------------------------

#: Of each kind something: the verifier, calls, tail calls, kfuncs, linking, tc, XDP. The tests of signed
#: programs want a kernel with keys.
_SUBSET = (
    *("verifier_and", "subprogs", "tailcalls", "test_global_funcs", "for_each"),
    *("linked_funcs", "kfunc_call", "tc_bpf", "xdp_noinline"),
)
_WANTS_KEYS, _SIGNED = "signed_loader", "loadtime_no_map"


def test_a_part_of_the_tests_of_the_tree_passes_on_both_kernels() -> None:
    chosen = [word for name in (*_SUBSET, f"{_WANTS_KEYS}/{_SIGNED}") for word in ("-t", name)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bpfroots", "selftest", "test_progs", "--as-is", "--json"),
            *("--kernel", "baseline", "--kernel", "patched", *chosen),
        ],
        capture_output=True,
        timeout=3600,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for kernel in said["kernels"]:
        tests = {test["name"]: test for test in kernel["tests"]}
        assert sorted(tests) == sorted((*_SUBSET, _WANTS_KEYS))
        failed = {name for name, test in tests.items() if test["outcome"] != "pass"}
        # It fails for what it should, which shows that a failure is seen.
        assert failed == {_WANTS_KEYS}
        assert "verify_sig_setup" in tests[_WANTS_KEYS]["reason"]
        assert len(tests["tailcalls"]["subtests"]) > 30
        assert {sub["outcome"] for sub in tests["tailcalls"]["subtests"]} == {"pass"}
    (changes,) = said["changes"].values()
    assert {change["kind"] for change in changes} == {"still failing"}


@pytest.fixture
def attacked(kit: Kit, tmp_path: Path) -> Callable[[], Machine]:
    """Guests with baseline's test_progs, which has the tests in selftest_attacks.c only."""
    kernel, progress = kit.kernels[0], Progress(quiet=True)
    assert kernel.source is not None
    added = f"{selftests.DIRECTORY}/prog_tests/{_ATTACKS.name}"
    (tmp_path / "files" / added).parent.mkdir(parents=True)
    shutil.copy(_ATTACKS, tmp_path / "files" / added)
    tree.synchronise(tmp_path / "linux", kernel.source, tree.Overlay(tmp_path / "files", frozenset({added})))
    digest = hashlib.sha256(_ATTACKS.read_bytes()).hexdigest()
    other = dataclasses.replace(kernel, source=tmp_path / "linux", key=f"{kernel.key}-{digest}")
    testmods = progs_site._modules(kernel, progress)
    built = progs_build.ensure(
        "test_progs", other, testmods, frozenset({_ATTACKS.name}), progress, kernel.name
    )
    image = layer.layered(kit.image, built.files, built.key)
    guests = Guests(_Layered(image), choose_accel("auto"))
    return partial(
        guests.boot, kernel, tmp_path / "console.log", shape=kernel.shape.at_least(cpus=2, memory_mib=512)
    )


def test_attacks_on_the_program_lose_no_other_result(attacked: Callable[[], Machine]) -> None:
    names = ["1_before", "2_hangs", "3_between", "4_panics", "5_leaks", "6_after"]
    found = _ran(attacked, *(f"attack_{name}" for name in names), timeout_s=20)
    assert {name.removeprefix("attack_"): one.outcome for name, one in found.items()} == {
        "1_before": "pass",
        "2_hangs": "timeout",
        "3_between": "pass",
        "4_panics": "guest_crash",
        "5_leaks": "pass",
        "6_after": "pass",
    }
    assert found["attack_2_hangs"].reason.startswith("attack_2_hangs not finished within")
    assert "sysrq triggered crash" in found["attack_4_panics"].reason
    assert [sub.name for sub in found["attack_3_between"].subtests] == ["one"]
    # A fresh guest has nothing of what was left; the same one would.
    (elsewhere,) = _ran(attacked, "attack_7_elsewhere").values()
    assert elsewhere.outcome == "pass"
    both = _ran(attacked, "attack_5_leaks", "attack_7_elsewhere")
    assert [one.outcome for one in both.values()] == ["pass", "fail"]
