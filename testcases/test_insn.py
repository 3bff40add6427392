"""Multi-root loads by the raw system call: testcases/insn, in one guest of a kernel that has them.

Each check of the program is one line of its output; what is asserted here is that every one of
them says ok, that none got lost on the way, and that a wrong expectation would be seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import images
from harness.errors import BpfrootsError
from harness.jobs.guests import Guests
from harness.jobs.kit import prepare
from harness.kernels import Definition, resolve, tools_source
from harness.machine import Completed, choose_accel
from harness.progress import Progress

pytestmark = pytest.mark.guest

_SOURCES = Path(__file__).parent / "insn"
_PROGRAM = "/run/insn"
_SEND = f"cat > {_PROGRAM} && chmod +x {_PROGRAM} && {_PROGRAM}"
#: Checks of each group: one that is not reached is a loss.
_GROUPS = {
    "example": 35,
    "views": 2,
    "state": 14,
    "context": 31,
    "helpers": 16,
    "memory": 6,
    "globals": 8,
    "kfuncs": 11,
    "maps": 12,
    "returns": 10,
    "layout": 6,
    "tail_calls": 9,
    "limits": 17,
    "attributes": 45,
    "privileges": 6,
    "errors": 6,
    "lifetime": 11,
    "review": 16,
}


@dataclass
class Said:
    """What a run of the program printed: lines by group, and the number it ended with."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    announced: int | None = None

    @property
    def checks(self) -> list[str]:
        return [line for lines in self.groups.values() for line in lines]


def parse(output: str) -> Said:
    said = Said()
    group = ""
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word == "group":
            group = rest
            said.groups[group] = []
        elif word == "done":
            said.announced = int(rest)
        elif re.match(r"(not )?ok ", line):
            said.groups.setdefault(group, []).append(line)
    return said


def build_program(progress: Progress) -> Path:
    """The program, against the headers of the patched kernel."""
    definition = resolve("patched")
    assert isinstance(definition, Definition)
    tree, identity = tools_source(definition, progress)
    return images.build_static("insn", sorted(_SOURCES.glob("*.[ch]")), tree, identity, progress)


def _kernel(config: pytest.Config) -> str:
    """The first kernel of --kernel that has multi-root loads; skips where there is none."""
    for argument in config.getoption("--kernel"):
        request = resolve(argument)
        if isinstance(request, Definition) and "multi_root" in request.provides:
            return str(argument)
    pytest.skip("needs a kernel that provides multi_root: pytest --kernel=patched")


def _said(done: Completed) -> Said:
    return parse(done.stdout.decode(errors="replace"))


@pytest.fixture(scope="module")
def runs(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, Said]:
    """The suite and then its twin, in one guest."""
    argument = _kernel(pytestconfig)
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert manager is not None
    try:
        with manager.global_and_fixture_disabled():
            program = build_program(Progress())
            kit = prepare([argument], Progress())
        guests = Guests(kit, choose_accel(pytestconfig.getoption("--accel")))
        console = tmp_path_factory.mktemp("insn") / "console.log"
        with guests.boot(kit.kernels[0], console) as machine:
            suite = _said(machine.output(_SEND, stdin=program.read_bytes()))
            twin = _said(machine.output(f"{_PROGRAM} --twin"))
    except BpfrootsError as error:
        pytest.fail(error.render(), pytrace=False)
    return suite, twin


@pytest.mark.parametrize("group", _GROUPS)
def test_insn(runs: tuple[Said, Said], group: str) -> None:
    lines = runs[0].groups.get(group, [])
    wrong = [line for line in lines if not line.startswith("ok ")]
    assert not wrong, "\n".join(wrong)
    assert len(lines) == _GROUPS[group]


def test_insn_lost_no_check(runs: tuple[Said, Said]) -> None:
    suite = runs[0]
    assert suite.announced is not None, "the program did not come to its end"
    assert len(suite.checks) == suite.announced
    names = [line.removeprefix("not ").split(":")[0] for line in suite.checks]
    assert len(set(names)) == len(names)
    assert list(suite.groups) == list(_GROUPS)


def test_insn_sees_a_wrong_expectation(runs: tuple[Said, Said]) -> None:
    twin = runs[1]
    assert twin.announced == 1
    assert [line.split(":")[0] for line in twin.checks] == ["not ok twin"]
