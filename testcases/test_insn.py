"""Multi-root loads by the raw system call: testcases/insn, in one guest of a kernel that has them.

Each check of the program is one line of its output; what is asserted here is that every one of
them says ok, that none got lost on the way, and that a wrong expectation would be seen.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from bpfroots.errors import BpfrootsError
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import prepare
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress
from testcases.insn_suite import Said, build_program, multi_root_kernel, parse, send

pytestmark = pytest.mark.guest

#: Checks of each group: one that is not reached is a loss.
_GROUPS = {
    "example": 35,
    "views": 6,
    "state": 14,
    "context": 36,
    "helpers": 16,
    "memory": 6,
    "globals": 12,
    "kfuncs": 13,
    "returns": 12,
    "layout": 16,
    "tail_calls": 16,
    "limits": 17,
    "sound": 53,
    "features": 24,
    "fixes": 70,
    "packets": 50,
    "frags": 11,
    "maps": 17,
    "attributes": 49,
    "privileges": 30,
    "errors": 6,
    "lifetime": 12,
    "call_code": 17,
    "call_arguments": 69,
    "call_types": 23,
    "call_names": 20,
    "call_exports": 11,
    "call_privileges": 12,
    "call_attach": 10,
    "call_stack": 16,
    "call_packets": 45,
    "call_sleep": 45,
    "call_restricted": 25,
    "call_exceptions": 7,
    "call_freplace": 44,
    "call_lifetime": 28,
    "call_groups": 20,
    "call_races": 2,
    "call_limits": 8,
}


#: A program alone may not name a map that its type may not use, even where it never gets there
#: (resolve_pseudo_ldimm64(), bpf_check_tail_call()); a root of several may, where it never gets there.
#: A helper that it does not have counts as well for what a function may do (visit_insn()).
_MORE_THAN_ALONE = {
    "spin_lock_map_in_arm_of_xdp/alone kp",
    "perf_array_not_reached_by_sleepable/alone ka",
    "perf_array_not_reached_by_sleepable_reversed/alone ka",
    "tail_call_in_dead_arm_of_other_type/alone tp",
    "packet_kept_over_helper_of_xdp/alone tc",
}


class Runs(NamedTuple):
    """What the program says with each of its options but ``--alone``."""

    suite: Said
    twin: Said
    alike: Said


def _ask(
    config: pytest.Config, tmp_path_factory: pytest.TempPathFactory, kernel: str, *options: str
) -> list[Said]:
    """What the suite says on ``kernel``, with each of ``options``, in one guest."""
    manager = config.pluginmanager.getplugin("capturemanager")
    assert manager is not None
    try:
        with manager.global_and_fixture_disabled():
            program = build_program(Progress())
            kit = prepare([kernel], Progress())
        guests = Guests(kit, choose_accel(config.getoption("--accel")))
        console = tmp_path_factory.mktemp("insn") / "console.log"
        with guests.boot(kit.kernels[0], console) as machine:
            return [
                parse(b"\n".join(send(machine, program, option)).decode(errors="replace"))
                for option in options
            ]
    except BpfrootsError as error:
        pytest.fail(error.render(), pytrace=False)


@pytest.fixture(scope="module")
def runs(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The suite, then the other options of the program, in one guest."""
    kernel = multi_root_kernel(pytestconfig)
    return Runs(*_ask(pytestconfig, tmp_path_factory, kernel, "", "--twin", "--alike"))


@pytest.mark.parametrize("group", _GROUPS)
def test_insn(runs: Runs, group: str) -> None:
    lines = runs.suite.groups.get(group, [])
    wrong = [line for line in lines if not line.startswith("ok ")]
    assert not wrong, "\n".join(wrong)
    assert len(lines) == _GROUPS[group]


def test_insn_lost_no_check(runs: Runs) -> None:
    suite = runs.suite
    assert suite.announced is not None, "the program did not come to its end"
    assert len(suite.checks) == suite.announced
    names = [line.removeprefix("not ").split(":")[0] for line in suite.checks]
    assert len(set(names)) == len(names)
    assert list(suite.groups) == list(_GROUPS)


def test_insn_sees_a_wrong_expectation(runs: Runs) -> None:
    assert runs.twin.announced == 3
    said = [line.split(":")[0] for line in runs.twin.checks]
    assert said == ["not ok twin", "not ok unlike/alike r0", "not ok unlike/alike r1"]


def test_every_root_behaves_as_alone(runs: Runs) -> None:
    """Result, packet and maps of each root that BPF_PROG_TEST_RUN can run."""
    assert runs.alike.announced == len(runs.alike.checks) > 100
    more = tuple(f"not ok {name.replace('/alone ', '/alike ')}: " for name in _MORE_THAN_ALONE)
    unlike = [line for line in runs.alike.checks if not line.startswith(("ok ", *more))]
    assert not unlike, "\n".join(unlike)


def test_every_root_alone_on_baseline(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    multi_root_kernel(pytestconfig)
    (alone,) = _ask(pytestconfig, tmp_path_factory, "baseline", "--alone")
    assert alone.announced == len(alone.checks) > 100
    refused = {
        line.removeprefix("not ok ").split(": ")[0] for line in alone.checks if not line.startswith("ok ")
    }
    assert refused == _MORE_THAN_ALONE
