"""What a night is made of, without a guest: its file, its lock, telling, and keeping."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from bpfroots.errors import InfraError, UserError
from bpfroots.history.database import History
from bpfroots.history.trend import Finding, Trend
from bpfroots.kernels.update import fetch
from bpfroots.nightly import config as configs
from bpfroots.nightly import night
from bpfroots.nightly import page as report
from bpfroots.nightly.notify import notify
from bpfroots.nightly.state import NightRecord, WorkFailure
from bpfroots.progress import Progress
from bpfroots.results import artefacts
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore
from tests import ROOT, nights

_PROGS = """
[[work]]
type = "test_progs"
kernels = ["baseline"]
"""
_AB = '[[work]]\ntype = "ab"\nkernels = ["baseline", "patched"]\nprograms = ["cases"]\n'
_WORK = '[[work]]\ntype = "cells"\nkernels = ["baseline"]\ncases = "example"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with its own results."""
    real = ROOT
    for name in ("kernels", "testcases"):
        (tmp_path / name).symlink_to(real / name)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr("bpfroots.settings.project", lambda: tmp_path)
    return tmp_path


def _config(tmp_path: Path, text: str) -> configs.Config:
    path = tmp_path / "night.toml"
    path.write_text(text)
    return configs.load(path)


def test_the_projects_own_night_runs_everything() -> None:
    config = configs.load(ROOT / "contrib/night.toml")
    assert config.kernels == ["baseline", "patched"]
    kinds = [type(work).__name__ for work in config.work]
    assert kinds == ["Cells", "TestVerifier", "TestProgs", "TestMaps", "Ab"]


def test_the_sample_in_the_documentation_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/nightly.md").read_text()
    sample = text.split("```toml\n")[1].split("```")[0]
    # Kernels of a tree that is not here.
    sample_here = sample.replace('"../linux@origin/master", ', "").replace("baseline+./series", "patched")
    config = _config(tmp_path, sample_here)
    assert config.kernels == ["baseline", "patched"]
    assert [type(work).__name__ for work in config.work] == [
        *("Cells", "TestVerifier", "TestProgs", "TestMaps", "Ab")
    ]
    every = {key for struct in (configs.Config, configs.Retention) for key in struct.__struct_fields__}
    every |= {key for kind in get_args(configs.Work) for key in kind.__struct_fields__}
    assert [key for key in sorted(every) if key not in sample] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "missing required field `work`"),
        ("work = []", "there is nothing to do"),
        (_WORK + "retries = 3", "unknown field `retries`"),
        ("[[work]]\ntype = 'fuzz'", "Invalid value 'fuzz'"),
        (_WORK.replace("baseline", "baselin"), "kernel baselin: no such definition"),
        (_WORK.replace("example", "nonsense"), "matches no case"),
        (_WORK + 'mechanisms = ["telepathy"]', "unknown mechanism 'telepathy'"),
        (_WORK.replace('"baseline"', ""), "cells: on no kernel"),
        (_WORK + "[thresholds]\nduration = 0.1", "thresholds.duration: no such figure"),
        (_WORK + "[thresholds]\njit_bytes = -1", "thresholds.jit_bytes: below 0"),
        ('name = "../x"\n' + _WORK, "'../x' is not a name of a job"),
        (_WORK + "[", "not TOML"),
        (_AB.replace(', "patched"', ""), "ab: on 1 kernels, not two"),
        (_AB.replace('"cases"', ""), "ab: no programs"),
        (_PROGS + 'deny = ["/nowhere"]', "/nowhere: cannot be read"),
        (_PROGS + f'allow = ["{ROOT}/docs"]', "docs: no ALLOWLIST in it"),
        (_PROGS + 'splat_allow = ["/nowhere"]', "/nowhere: no SPLAT_ALLOWLIST in it"),
        (_PROGS + "timeout = 0", "test_progs: timeout: 0 s is no time"),
        (_PROGS + _PROGS, "test_progs: twice on baseline"),
        (_PROGS.replace("test_progs", "test_maps") + "tests = ['x']", "unknown field `tests`"),
        (_AB + 'fail_on = ["insn>5%"]', "no figure 'insn'"),
        (_AB + 'expect = "/nowhere.toml"', "/nowhere.toml: No such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        _config(tmp_path, text)
    assert str(tmp_path / "night.toml") in caught.value.message
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_tests_of_the_tree_are_work_of_a_night(tmp_path: Path) -> None:
    text = _PROGS + 'tests = ["align"]\nas_is = true\n' + _PROGS.replace("test_progs", "test_maps")
    progs, maps = _config(tmp_path, text).work
    assert isinstance(progs, configs.TestProgs)
    assert (progs.tests, progs.as_is, progs.timeout) == (("align",), True, 120)
    assert isinstance(maps, configs.TestMaps)


def test_paths_of_kernels_start_at_the_project(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    config = _config(tmp_path, _WORK.replace("baseline", f"{tmp_path}/tree@v6.12"))
    assert config.kernels == [f"{tmp_path}/tree@v6.12"]
    (relative,) = configs._anchored(("../linux@origin/master",))
    assert relative == f"{ROOT}/../linux@origin/master"
    (on_top,) = configs._anchored(("../linux@master+./series@2",))
    assert on_top == f"{ROOT}/../linux@master+{ROOT}/series@2"


def test_a_comparison_is_work_of_a_night(tmp_path: Path) -> None:
    (work,) = _config(tmp_path, _AB + 'fail_on = ["insns>5%"]').work
    assert isinstance(work, configs.Ab)
    assert [one.text for one in work.options.fail_on] == ["insns>5%"]


def _nightly(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpfroots", "nightly", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "BPFROOTS_ROOT": str(root)},
        check=False,
    )


def test_two_at_once(project: Path) -> None:
    (project / "night.toml").write_text(_WORK)
    with (project / "results/.nightly.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = _nightly(project, project / "night.toml")
    assert done.returncode == 4
    assert "another bpfroots nightly is running" in done.stderr
    assert list((project / "results").glob("2*")) == []


def test_nothing_to_resume(project: Path) -> None:
    (project / "night.toml").write_text(_WORK)
    done = _nightly(project, project / "night.toml", "--resume")
    assert done.returncode == 2
    assert "no night of nightly was interrupted" in done.stderr


def test_a_command_gets_the_summary(tmp_path: Path) -> None:
    notify(
        ["sh", "-c", f"cat > {tmp_path}/mail; echo '{{subject}}' > {tmp_path}/subject"],
        "all is well",
        "line\n",
    )
    assert (tmp_path / "mail").read_text() == "line\n"
    assert (tmp_path / "subject").read_text() == "all is well\n"


def test_a_command_that_fails_is_our_side(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="notify: sh: no such mailbox"):
        notify(["sh", "-c", "echo no such mailbox >&2; exit 67"], "", "")


def test_the_subject_says_whether_to_read_on() -> None:
    calm = Trend("RUN", "BEFORE", 3)
    assert report.subject(calm, [], []) == "bpfroots RUN: nothing got worse"
    bad = [Cell(case="a/b", kernel="patched", mechanism="duplicate", outcome="fail", reason="results differ")]
    failed = [WorkFailure("kernel linux", "it does not build", 3)]
    assert report.subject(calm, failed, bad) == "bpfroots RUN: 1 part failed, 1 cell not as expected"
    text = report.summary(calm, failed, bad, Path("results/RUN"))
    assert "  kernel linux: it does not build\n" in text
    assert "  a/b (duplicate, patched): results differ\n" in text


# -- what is kept


def _run(content: dict[str, bytes]) -> Path:
    store = RunStore.create("nightly", [])
    for case, data in content.items():
        cell = Cell(case=case, kernel="patched", mechanism="duplicate", outcome="pass")
        store.artefact(cell, "log", data)
        store.add(cell)
    store.finish()
    artefacts.deposit(store.path)
    return store.path


def _logs(run: Path) -> dict[str, bytes]:
    return {cell.case: (run / cell.artefacts["log"]).read_bytes() for cell in RunStore.open(run).cells()}


def _kept(project: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(project / "results/artefacts"))


def test_equal_files_are_there_once(project: Path) -> None:
    content = {"a/1": b"same", "a/2": b"same", "a/3": b"other"}
    first, second = _run(content), _run(content | {"a/3": b"third"})
    assert _kept(project) == 3
    assert (_logs(first), _logs(second)) == (content, content | {"a/3": b"third"})
    inodes = {path.stat().st_ino for path in project.glob("results/2*/cells/**/log")}
    assert len(inodes) == 3


def test_pruning_breaks_no_kept_run(project: Path) -> None:
    contents = [{f"a/{n}": b"%d" % (n * night % 7) for n in range(20)} for night in range(6)]
    runs = [_run(content) for content in contents]
    assert artefacts.prune(project / "results", [runs[0].name, runs[2].name, runs[5].name]) == 3
    left = {index: run for index, run in enumerate(runs) if run.exists()}
    assert list(left) == [1, 3, 4]
    for index, run in left.items():
        assert _logs(run) == contents[index]
    assert _kept(project) == len({data for index in left for data in contents[index].values()})
    artefacts.prune(project / "results", [run.name for run in runs])
    assert _kept(project) == 0


def test_a_pruning_that_was_killed_is_finished_by_the_next(project: Path) -> None:
    run = _run({"a/1": b"x"})
    run.rename(run.with_name(f".going-{run.name}"))
    artefacts.prune(project / "results", [])
    assert [path.name for path in (project / "results").iterdir()] == ["artefacts"]
    assert _kept(project) == 0


def _night(project: Path, number: int, job: str, *, good: bool = True, finished: bool = True) -> str:
    """A night's folder, recorded where it is finished."""
    run = nights.night(number, job=job)
    run.run = run.run.replace("nightly", job or "run")
    store = RunStore(project / "results" / run.run, run)
    store.path.mkdir(parents=True)
    if not finished:
        run.finished = ""
    store.save()
    if finished:
        with History() as history:
            history.record(run, [], good=good)
    return run.run


def test_old_nights_go_but_not_what_findings_point_at(project: Path) -> None:
    kept_for_others = [_night(project, 0, "other"), _night(project, 1, "")]
    reference, gone, first_bad, broken_off = (
        _night(project, 2, "nightly"),
        _night(project, 3, "nightly", good=False),
        _night(project, 4, "nightly", good=False),
        _night(project, 5, "nightly", finished=False),
    )
    newest = [_night(project, number, "nightly", good=False) for number in (6, 7)]
    finding = Finding("a/1", "k", "duplicate", "verdict", "accept", "reject", first_bad, reference)
    found = Trend(newest[-1], reference, 1, [finding])
    store = RunStore.open(project / "results" / newest[-1])
    config = configs.Config(work=(), retention=configs.Retention(nights=2))
    with History() as history:
        night._Night(config, store, NightRecord(""), Progress(quiet=True), None)._prune(history, found)
        assert len(history.runs("nightly")) == 5
    left = {path.name for path in (project / "results").glob("2*")}
    assert left == {*kept_for_others, reference, first_bad, *newest}
    assert {gone, broken_off}.isdisjoint(left)


# -- sources


def _git(where: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=master")
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=where, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_repository_is_brought_up_to_date(tmp_path: Path) -> None:
    upstream, clone = tmp_path / "upstream", tmp_path / "clone"
    upstream.mkdir()
    _git(upstream, "init", "-q")
    _git(upstream, "commit", "-q", "--allow-empty", "-m", "one")
    _git(tmp_path, "clone", "-q", str(upstream), str(clone))
    assert fetch(clone, "origin") == ""
    _git(upstream, "commit", "-q", "--allow-empty", "-m", "two")
    assert "origin/master" in fetch(clone, "origin")
    assert _git(clone, "rev-parse", "origin/master") == _git(upstream, "rev-parse", "HEAD")
    with pytest.raises(UserError, match="no remote elsewhere"):
        fetch(clone, "elsewhere")
    upstream.rename(tmp_path / "gone")
    with pytest.raises(InfraError, match="git fetch origin"):
        fetch(clone, "origin")
