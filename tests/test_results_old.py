"""Run folders of earlier versions, kept in golden/runs as they were written, are read as today's are."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bpfroots.bisect.model import Judgement, Shown, add_judgement, read_judgements
from bpfroots.errors import UserError, Where
from bpfroots.history.database import History, State
from bpfroots.history.record import observe_run
from bpfroots.results import old
from bpfroots.results.key import Key
from bpfroots.results.model import BUILD, SCHEMA
from bpfroots.results.request import Cases
from bpfroots.results.selftests import read_verifier
from bpfroots.results.store import RunStore
from tests import ROOT
from tests.nights import night

_RUNS = ROOT / "tests/golden/runs"


def _opened(label: str) -> RunStore:
    (folder,) = _RUNS.glob(f"*Z-{label}")
    return RunStore.open(folder)


def test_every_folder_is_of_an_earlier_version() -> None:
    found = {json.loads(path.read_bytes())["schema"] for path in _RUNS.glob("*/run.json")}
    assert found == {2}
    assert SCHEMA > 2


def test_chosen_cells_are_named_by_keys() -> None:
    request = _opened("pytest").run.request
    assert request is not None
    assert isinstance(request.what, Cases)
    assert request.what.only == (
        Key("example/kprobe+tc", "duplicate", "baseline"),
        Key("example/kprobe+tc", "tail_call", "baseline"),
    )


def test_cells_have_their_costs() -> None:
    cells = {cell.key: cell for cell in _opened("pytest").cells()}
    (run,) = cells[Key("example/kprobe+tc", "duplicate", "baseline")].roots[0].runs
    assert run.insns_per_run == 21


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    later = Path(shutil.copytree(_opened("pytest").path, tmp_path / "run"))
    found = json.loads((later / "run.json").read_bytes())
    (later / "run.json").write_text(json.dumps(found | {"schema": SCHEMA + 1}))
    with pytest.raises(UserError, match="a later version of bpfroots"):
        RunStore.open(later)


def test_what_a_reason_held_has_its_own_fields() -> None:
    cells = {cell.key: cell for cell in _opened("pytest").cells()}
    crash = cells[Key("example/crash", "duplicate", "baseline")]
    assert crash.reason == "BUG: KASAN: use-after-free in bpf_check"
    assert crash.console == Where("/results/r/console/baseline-1.log", 214)
    assert crash.note.startswith("not when run alone in a fresh guest; before it ran 3 cells")
    lost = cells[Key("example/lost", "duplicate", "baseline")]
    assert (lost.reason, lost.console) == ("no answer within 40 s", None)
    assert lost.note == "again when run alone in a fresh guest"
    tail, named = (cells[Key("example/kprobe+tc", m, "baseline")] for m in ("tail_call", "fd_name"))
    assert tail.not_expressible == "the value it returns is used"
    assert named.not_expressible == "a pointer; it is not one"
    differs = cells[Key("example/mapdiff", "multi_root", "baseline")]
    assert differs.reason == "results differ from duplicate: a; b"


@pytest.mark.parametrize("label", ["pytest", "nightly", "bisect", "bisect-2"])
def test_a_folder_says_what_was_done(label: str) -> None:
    assert _opened(label).run.kind == label.removesuffix("-2")


def test_kernels_say_what_they_are_of() -> None:
    built, image = _opened("pytest").run.kernels
    assert (built.commit, built.prebuilt) == ("a" * 40, False)
    assert (image.commit, image.prebuilt) == ("", True)


def test_runs_of_one_kernel_are_numbered() -> None:
    cells = _opened("bisect").cells()
    assert {cell.kernel for cell in cells} == {"linux@0123456789ab"}
    assert [cell.attempt for cell in cells] == [1, 2, 3]


def test_twin_a_kernel_with_a_dot_in_its_name_is_not_numbered() -> None:
    found: dict[str, Any] = {"kernel": "linux-6.12"}
    old.attempt(found, {"linux-6.12", "linux-6"})
    assert found == {"kernel": "linux-6.12"}


def test_a_judgement_says_which_run_tells_most(tmp_path: Path) -> None:
    lines = '{"commit":"c1","word":"bad","shown":"k.2"}\n{"commit":"c2","word":"good","shown":"k"}\n'
    (tmp_path / "judgements.jsonl").write_text(lines)
    found = read_judgements(tmp_path, {"k"})
    assert [judgement.shown for judgement in found] == [Shown("k", 2), Shown("k")]
    add_judgement(tmp_path, Judgement("c3", "bad", shown=Shown("k", 3)))
    assert read_judgements(tmp_path, {"k"})[2].shown == Shown("k", 3)


def test_tests_of_the_kernels_tree_have_number_and_user() -> None:
    store = _opened("nightly")
    (step,) = [step for step in store.steps() if step.program == "test_verifier"]
    path = store.selftest_results(step)
    assert path is not None
    assert [(test.number, test.user, test.id) for test in read_verifier(path)] == [
        (1, "p", "1/p"),
        (2, "u", "2/u"),
        (3, "p", "3/p"),
    ]


def test_what_is_no_cell_is_a_step() -> None:
    build, failed, tests = _opened("nightly").steps()
    assert (build.case, build.program, build.key) == (BUILD, "", Key(BUILD, "", "baseline"))
    assert (failed.kernel, failed.outcome, failed.reason) == ("mine", "fail", "mine: does not build")
    assert (tests.case, tests.program, tests.outcome) == (
        "kernel/test_verifier",
        "test_verifier",
        "guest_crash",
    )


def test_a_bisections_test_of_the_kernels_tree_is_no_cell() -> None:
    store = _opened("bisect-2")
    assert store.cells() == []
    assert [(step.key, step.outcome) for step in store.steps()] == [
        (Key("selftest/calls: two", "", "linux@0123456789ab"), "pass"),
        (Key("selftest/calls: two", "", "linux@0123456789ab", 2), "fail"),
    ]
    assert len(_opened("bisect").cells()) == 3


def test_the_history_of_an_old_folder_is_that_of_a_new_one() -> None:
    seen = dict(observe_run(_opened("nightly"))) | dict(observe_run(_opened("pytest")))
    crash = seen[Key("example/crash", "duplicate", "baseline")]
    assert crash.splat == crash.reason == "BUG: KASAN: use-after-free in bpf_check"
    assert seen[Key("kernel/test_verifier", "", "baseline")].splat == "WARNING in check_ids"
    assert seen[Key("test_verifier/second [u]", "", "baseline")].reason == "Unexpected success to load"
    assert seen[Key("test_verifier/third [p]", "", "baseline")].outcome == "infra_error"


def test_a_history_of_before_has_no_mechanism_for_what_is_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with History(path) as history:
        history.record(night(0), [(Key("kernel/build", "", "patched"), State("pass"))])
    with sqlite3.connect(path) as db:  # as version 1 had it
        db.execute("UPDATE cells SET mechanism = 'step'")
        db.execute("PRAGMA user_version = 1")
    with History(path) as history:
        (run,) = history.runs()
        assert list(history.cells(run.id)) == [Key("kernel/build", "", "patched")]
