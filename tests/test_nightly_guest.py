"""Nights in a row on a real kernel: what was planted in the last one is named, each with its first bad run,
and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bpfroots.results.store import RunStore
from tests import ROOT

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]

_DEADLINE = 600
_TEMPLATE = """
{% macro maps() %}{% endmacro %}
{% macro signature() -%} int planted(__u32 slot, __u64 salt) {%- endmacro %}
{% macro shared(linkage) %}
{{ linkage }} {{ signature() }}
{
	volatile __u64 sum = salt;
{% if case.params.random %}
	sum = bpf_get_prandom_u32() | (__u64)bpf_get_prandom_u32() << 32;
{% endif %}
{% if case.params.refused %}
	sum = *(volatile int *)salt;
{% endif %}
#pragma clang loop unroll(disable)
	for (int i = 0; i < {{ case.params.loops }}; i++)
		sum += i;
{% for _ in range(case.params.straight) %}
	sum = sum * 3 + 1;
{% endfor %}
	add(&results, slot, {{ "sum" if case.params.random else case.params.left }});
	return 0;
}
{% endmacro %}
{% macro call(root) -%} planted({{ root.index }}, {{ case.params.salt }}); {%- endmacro %}
"""
_CASE = """
[[case]]
name = "{name}"
template = "planted"
roots = ["xdp"]
[case.params]
loops = {loops}
straight = {straight}
salt = 3
refused = {refused}
random = {random}
left = {left}
"""
_CALM = {"loops": 9, "straight": 4, "refused": "false", "random": "false", "left": 7}
#: What is planted, and which kinds of findings it has to give.
_PLANTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "calm": ({}, set()),
    "verdict": ({"refused": "true"}, {"verdict"}),
    "result": ({"left": 8}, {"result"}),
    "states": ({"loops": 90}, {"processed_insns", "total_states", "insns_per_run"}),
    "code": ({"straight": 60}, {"processed_insns", "jit_bytes", "insns_per_run"}),
    "splat": ({}, {"splat"}),
    "fickle": ({"random": "true"}, set()),
}
_WARN = "WARNING: CPU: 0 PID: 1 at kernel/bpf/core.c:100 bpf_check+0x10/0x20"
_CONFIG = """
name = "two-nights"
notify = ["sh", "-c", "cat > {root}/mail; echo '{{subject}}' > {root}/subject"]

[[work]]
type = "cells"
kernels = ["baseline"]
mechanisms = ["duplicate"]
cases = "planted"
"""
_BROKEN = """
[[work]]
type = "cells"
kernels = ["{tree}", "baseline"]
mechanisms = ["duplicate"]
cases = "planted/calm"
"""
# `bpfroots`, with guests whose kernel complains when it loads a certain program.
_BPFROOTS = """
import sys
import bpfroots.jobs.run
from bpfroots.cli import main
from tests.faulty import FaultyEngine, Harm
if sys.argv[1] != "-":
    FaultyEngine.harm, FaultyEngine.booted = Harm(sys.argv[1], load="planted/splat"), 0
    bpfroots.jobs.run.Engine = FaultyEngine
del sys.argv[1]
main()
"""


@dataclass
class _Project:
    root: Path
    plants: set[str] = field(default_factory=set)

    def write(self, config: str = "") -> None:
        """The cases, with what is in ``plants`` planted."""
        cases = []
        for name, (plant, _) in _PLANTS.items():
            always = name == "fickle"
            cases.append(
                _CASE.format(name=name, **(_CALM | (plant if always or name in self.plants else {})))
            )
        (self.root / "testcases/cases/planted.toml").write_text("".join(cases))
        (self.root / "night.toml").write_text(_CONFIG.format(root=self.root) + config)

    def start(self, *arguments: str, harm: str = "-") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _BPFROOTS, harm, "nightly", str(self.root / "night.toml"), "--json"]
        return subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "BPFROOTS_ROOT": str(self.root)},
        )

    def night(self, *arguments: str, harm: str = "-") -> tuple[int, dict[str, Any]]:
        process = self.start(*arguments, harm=harm)
        out, errors = process.communicate(timeout=_DEADLINE)
        assert "Traceback" not in errors, errors
        assert out, errors
        found: dict[str, Any] = json.loads(out)
        return process.returncode, found

    def history(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "bpfroots", "history", "--json"],
            capture_output=True,
            env={**os.environ, "BPFROOTS_ROOT": str(self.root)},
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def project(tmp_path: Path) -> _Project:
    real = ROOT
    for name in ("kernels", "images"):
        (tmp_path / name).symlink_to(real / name)
    shutil.copytree(real / "testcases/templates", tmp_path / "testcases/templates")
    (tmp_path / "testcases/cases").mkdir()
    (tmp_path / "testcases/matrix.toml").symlink_to(real / "testcases/matrix.toml")
    (tmp_path / "testcases/templates/planted.bpf.c.j2").write_text(_TEMPLATE)
    return _Project(tmp_path)


def _kinds(trend: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in trend["regressions"]:
        found.setdefault(finding["case"].removeprefix("planted/"), set()).add(finding["kind"])
    return found


def test_nights_in_a_row(project: _Project) -> None:
    project.write()
    nights = [project.night() for _ in range(2)]
    assert [code for code, _ in nights] == [0, 0]
    for _, found in nights:
        assert (found["trend"]["regressions"], found["trend"]["better"], found["failures"]) == ([], [], [])
    # The same program, kernel and guest, and another answer: flaky, and no regression.
    calm = nights[1][1]["trend"]
    assert [(one["case"], one["kind"]) for one in calm["flaky"]] == [("planted/fickle", "result")]

    project.plants = set(_PLANTS) - {"calm"}
    project.write()
    code, found = project.night(harm=f"echo '{_WARN}' > /dev/kmsg")
    trend = found["trend"]
    assert code == 1
    assert _kinds(trend) == {name: kinds for name, (_, kinds) in _PLANTS.items() if kinds}
    assert {one["first_bad"] for one in trend["regressions"]} == {found["run"]}
    assert {one["last_good"] for one in trend["regressions"]} == {nights[1][1]["run"]}
    assert {one["changed"] for one in trend["regressions"]} == {"cases, guest image, QEMU or the harness"}
    assert [(one["case"], one["kind"]) for one in trend["flaky"]] == [("planted/fickle", "result")]
    assert trend["splats"] == ["WARNING in bpf_check at kernel/bpf/core.c:100"]
    assert (trend["better"], trend["new"], trend["gone"]) == ([], [], [])
    assert (project.root / "subject").read_text().startswith(f"bpfroots {found['run']}: ")
    mail = (project.root / "mail").read_text()
    assert "new splat: WARNING in bpf_check at kernel/bpf/core.c:100" in mail
    assert mail == (Path(found["path"]) / "summary.txt").read_text()

    # Nothing new: each is bad since the night before, and everything in the folders is still to be had.
    code, again = project.night(harm=f"echo '{_WARN}' > /dev/kmsg")
    assert code == 1
    assert _kinds(again["trend"]) == _kinds(trend)
    assert {one["first_bad"] for one in again["trend"]["regressions"]} == {found["run"]}
    assert again["trend"]["splats"] == []


def test_a_kernel_that_does_not_build_stops_nothing_else(project: _Project) -> None:
    tree = project.root / "no-linux"
    tree.mkdir()
    project.write(_BROKEN.format(tree="./no-linux"))
    for name in ("Makefile", "Kconfig", "Kbuild"):
        (tree / name).write_text("this is no makefile\n")
    code, found = project.night()
    assert code == 3
    assert [failure["what"] for failure in found["failures"]] == ["kernel no-linux"]
    assert found["counts"] == {"pass": len(_PLANTS)}
    # Nothing is compared with half a night.
    assert [run["run"]["good"] for run in project.history()["runs"]] == [False]


_MORE = """
[[work]]
type = "cells"
kernels = ["baseline"]
mechanisms = ["duplicate"]
cases = "gen and xdp"
cost = false
"""


@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_night_that_was_broken_off_goes_on(project: _Project, how: signal.Signals, code: int) -> None:
    project.write(_MORE)
    process = project.start()
    assert process.stderr is not None
    folder = Path(next(line.split()[-1] for line in process.stderr if line.startswith("results ")))
    # The first part is done, and the second one begins.
    starts = (line for line in process.stderr if line.startswith("guests    baseline"))
    assert [next(starts), next(starts)]
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == code
    before = len(RunStore.open(folder).cells())
    assert project.history()["runs"] == []

    ended, found = project.night("--resume")
    assert (ended, found["path"], found["failures"]) == (0, str(folder), [])
    cells = RunStore.open(folder).cells()
    assert len(cells) == len({cell.key for cell in cells}) == sum(found["counts"].values()) > before
    assert [(run["run"]["name"], run["run"]["good"]) for run in project.history()["runs"]] == [
        (folder.name, True)
    ]
    assert project.start("--resume").wait(60) == 2
