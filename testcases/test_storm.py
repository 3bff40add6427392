"""Groups of roots under load: `pytest --kernel=debug -m storm --storm-seconds=600`. Never part of CI.

Seventeen tasks load, run, attach, look at, pin and close groups and programs that call each other at
once, fail loads at every stage, and die in the middle of them (testcases/storm). What must hold: no
splat, none of the tasks sees anything odd, and at the end no program, image, FD or unreachable object
is left. A kernel with KASAN, lockdep and kmemleak sees more of it; any that has multi-root loads will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bpfroots import images
from bpfroots.errors import BpfrootsError
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import prepare
from bpfroots.kernels import Definition, resolve, tools_source
from bpfroots.machine import Machine, choose_accel
from bpfroots.progress import Progress
from testcases.insn_suite import multi_root_kernel

pytestmark = [pytest.mark.guest, pytest.mark.storm]

_DIRECTORY = Path(__file__).parent
_PROGRAM = "/run/storm"
_CPUS = 4
_WORKS = 17
# What the storm takes from testcases/insn.
_SHARED = ("insn.h", "load.c", "btf.c", "kernel_btf.c", "symbols.c", "view.c", "guest.c")


@dataclass
class _Said:
    """What the program printed: rounds of each work, what was odd, what was left."""

    done: dict[str, int] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    ended: bool = False


def _build(progress: Progress) -> Path:
    definition = resolve("patched")
    assert isinstance(definition, Definition)
    tree, identity = tools_source(definition, progress)
    sources = [
        *sorted((_DIRECTORY / "storm").glob("*.[ch]")),
        *(_DIRECTORY / "insn" / name for name in _SHARED),
    ]
    return images.build_static("storm", sources, tree, identity, progress)


def _run(machine: Machine, seconds: int, twin: str = "") -> _Said:
    said = _Said()
    limit = 300.0 + seconds
    for raw in machine.run(f"{_PROGRAM} {seconds} {twin}", no_output=limit, deadline=limit * 2):
        word, _, rest = raw.decode(errors="replace").partition(" ")
        if word == "work":
            done, odd, name = rest.split(" ", 2)
            said.done[name.partition(":")[0]] = int(done)
            if int(odd):
                said.odd.append(f"{name} ({odd} times)")
        elif word in ("left", "leak"):
            said.left.append(f"{word} {rest}")
        elif word == "end":
            said.ended = True
    return said


@pytest.fixture(scope="module")
def runs(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[_Said, _Said]:
    """The storm and then its twin, a short one that leaves a program behind, in one guest."""
    seconds = pytestconfig.getoption("--storm-seconds")
    if not seconds:
        pytest.skip("runs only where asked for: --storm-seconds=600")
    argument = multi_root_kernel(pytestconfig)
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert manager is not None
    try:
        with manager.global_and_fixture_disabled():
            program = _build(Progress())
            kit = prepare([argument], Progress())
        kernel = kit.kernels[0]
        shape = kernel.shape.at_least(cpus=_CPUS, memory_mib=2048)
        guests = Guests(kit, choose_accel(pytestconfig.getoption("--accel")))
        console = tmp_path_factory.mktemp("storm") / "console.log"
        with guests.boot(kernel, console, shape=shape) as machine:
            machine.output(f"cat > {_PROGRAM} && chmod +x {_PROGRAM}", stdin=program.read_bytes())
            return _run(machine, seconds), _run(machine, 1, "--twin")
    except BpfrootsError as error:
        pytest.fail(error.render(), pytrace=False)


def test_storm_leaves_nothing(runs: tuple[_Said, _Said]) -> None:
    said = runs[0]
    print(said.done)  # noqa: T201  (pytest -rP shows how much was done)
    assert said.ended
    assert said.odd == []
    assert said.left == []
    assert len(said.done) == _WORKS
    assert all(said.done.values()), said.done


def test_storm_sees_what_is_left(runs: tuple[_Said, _Said]) -> None:
    assert any("programs" in line for line in runs[1].left)
