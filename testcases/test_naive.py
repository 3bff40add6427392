"""Which check stops which attack: the cases of testcases/insn on a kernel that has dropped one.

`pytest --kernel=naive` boots one guest for each check that kernels/patches/naive can drop, and
expects the cases that naive.toml names to fail there, and all others to pass.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bpfroots.errors import BpfrootsError, GuestError
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit, prepare
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress
from testcases.insn_suite import build_program, parse, send

pytestmark = pytest.mark.guest

# They count programs and descriptors: what was accepted wrongly, and attached, is one more. The last two need
# a race, with PROG_CLASS and with PROG_REPLACED dropped.
_MAY_FAIL = frozenset(
    {
        "malformed_loads_leave_nothing",
        "copy_out_fault",
        "log_too_small",
        "pinned_second_root",
        "programs_used_while_they_are_loaded",
        "fd_swapped_while_caller_is_loaded",
        "callee_replaced_while_caller_is_loaded",
    }
)


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bit of bpf_naive=: the function that checks, and the attacks that get through without it.

    ``crashes``: the kernel itself notices too late, and the guest ends there.
    """

    name: str
    bit: int
    where: str
    why: str
    fail: tuple[str, ...] = ()
    crashes: bool = False


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    check: list[Check]


KERNEL = "naive"
CHECKS = msgspec.toml.decode((Path(__file__).parent / f"{KERNEL}.toml").read_bytes(), type=_Table).check


@pytest.fixture(scope="module")
def kit(pytestconfig: pytest.Config) -> tuple[Kit, Path]:
    if KERNEL not in pytestconfig.getoption("--kernel"):
        pytest.skip(f"needs the kernel with checks to drop: pytest --kernel={KERNEL}")
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert manager is not None
    try:
        with manager.global_and_fixture_disabled():
            return prepare([KERNEL], Progress()), build_program(Progress())
    except BpfrootsError as error:
        pytest.fail(error.render(), pytrace=False)


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
def test_without(check: Check, kit: tuple[Kit, Path], pytestconfig: pytest.Config, tmp_path: Path) -> None:
    guests = Guests(kit[0], choose_accel(pytestconfig.getoption("--accel")))
    append = (f"bpf_naive={1 << check.bit:#x}",)
    crashed = ""
    lines: list[str] = []
    try:
        with guests.boot(kit[0].kernels[0], tmp_path / "console.log", append=append) as machine:
            for line in send(machine, kit[1]):
                lines.append(line.decode(errors="replace"))
    except GuestError as error:
        crashed = error.message
    said = parse("\n".join(lines)).checks
    wrong = [line for line in said if not line.startswith("ok ")]
    seen = "\n".join([*wrong, crashed or "the kernel did not notice", *said[-1:]])
    assert bool(crashed) == check.crashes, seen
    failed = {line.removeprefix("not ok ").split(": ")[0] for line in wrong}
    assert set(check.fail) <= failed, seen
    if not crashed:
        assert failed - set(check.fail) <= _MAY_FAIL, seen
