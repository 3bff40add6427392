"""A run of test_progs on several kernels: its folder, what is run again, nights, flaky tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bpfroots import settings
from bpfroots.errors import GuestCrash, UserError
from bpfroots.history.database import History
from bpfroots.history.record import beside_cells, observe_run
from bpfroots.images import Image
from bpfroots.jobs.kit import Kit
from bpfroots.kernels import BootImage, Kernel
from bpfroots.machine import Accel, Machine
from bpfroots.nightly import config as configs
from bpfroots.nightly import work as works
from bpfroots.progress import Progress
from bpfroots.results import selftests as kept
from bpfroots.results.request import Selftests
from bpfroots.results.selftests import Tested
from bpfroots.results.store import RunStore
from bpfroots.selftest import progs_build, progs_kernel, progs_run, progs_site
from bpfroots.selftest.progs_select import Selection, select_all
from bpfroots.selftest.progs_worker import Finished
from bpfroots.shape import Shape
from tests.selftest_guests import ProgsGuest

_NAMES = ["align", "arena_htab", "verifier_and", "verifier_or"]


class _Lab:
    """Kernels whose guests are fakes; each kernel's tests do what ``acts`` says."""

    def __init__(self, acts: dict[str, dict[str, Any]]) -> None:
        self.acts = acts
        self.keys: dict[str, str] = {}
        self.asked: list[str] = []

    def sites(self, request: Selftests, *_: object) -> list[tuple[progs_site.Site, Selection]]:
        (selection,) = select_all([_NAMES], request.tests)
        report = progs_build.Report("clang 22", [], {"arena_htab": "arena.c:1: no type"})
        found = []
        for name in request.kernels:
            kernel = Kernel(
                name, name, self.keys.get(name, f"key-{name}"), "7.3.4", BootImage(Path("bzImage"))
            )
            image = Image(Path("image"), "digest")
            found.append((progs_site.Site(kernel, image, report, image, Path()), selection))
        return found

    def boot(self, kernel: Kernel, console: Path, *, shape: Shape) -> Machine:
        assert console.is_file()
        assert shape.cpus == 2
        guest = ProgsGuest(self.acts[kernel.name])
        run = guest.run

        def remembered(*words: Any, **how: Any) -> Any:
            running = run(*words, **how)
            self.asked += [f"{kernel.name}/{name}" for name in guest.asked]
            return running

        guest.run = remembered  # type: ignore[method-assign]
        return cast("Machine", guest)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Lab:
    made = _Lab({"base": {"verifier_or": "fail"}, "patched": {"align": GuestCrash("panic: boom")}})
    monkeypatch.setattr("bpfroots.settings.project", lambda: tmp_path)
    monkeypatch.setattr(progs_run, "prepare_sites", made.sites)
    monkeypatch.setattr("bpfroots.jobs.run.qemu_version", lambda: "7.2")
    monkeypatch.setattr(progs_run, "choose_accel", lambda _: Accel("tcg", "", 1.0))
    monkeypatch.setattr(progs_site.Site, "guests", lambda *_: made)
    return made


def _run(*kernels: str, tests: tuple[str, ...] = ()) -> progs_run.ProgsRun:
    return progs_run.run(Selftests("test_progs", kernels, tests), ["bpfroots"], Progress(quiet=True))


def test_what_only_the_second_kernel_does_is_a_new_failure(lab: _Lab) -> None:
    result = _run("base", "patched")
    (changes,) = result.changes().values()
    assert [(change.kind, change.name) for change in changes] == [
        ("new failure", "align"),
        ("fixed", "verifier_or"),
    ]
    assert result.exit_code == 1
    assert _run("base").exit_code == 1
    assert _run("base", tests=("verifier_and",)).exit_code == 0


def test_a_run_folder_has_every_test_once(lab: _Lab) -> None:
    result = _run("patched")
    path = result.store.path
    found = {one.name: one for one in kept.read(path / "selftests/patched/test_progs.jsonl")}
    assert {name: one.outcome for name, one in found.items()} == {
        "align": "guest_crash",
        "arena_htab": "skip",
        "verifier_and": "pass",
        "verifier_or": "pass",
    }
    assert found["arena_htab"].reason == "not built: arena.c:1: no type"
    assert "not ok 1 test_progs/align" in (path / "results.ktap").read_text()
    assert 'message="panic: boom; again when run alone' in (path / "junit.xml").read_text()
    beside = {result.case: result.outcome for result in beside_cells(RunStore.open(path))}
    assert beside["test_progs/align"] == "guest_crash"
    assert beside["kernel/test_progs"] == "fail"


def test_only_what_is_missing_is_run_again(lab: _Lab) -> None:
    result = _run("patched")
    path = result.store.path / "selftests/patched/test_progs.jsonl"
    first, *_ = path.read_text().splitlines(keepends=True)
    path.write_text(first + '{"name": "verif')  # killed while it wrote
    lab.asked.clear()
    again = progs_run.resume("test_progs", RunStore.open(result.store.path), Progress(quiet=True))
    done = kept.read(path)
    assert sorted(one.name for one in done) == _NAMES
    stays = next(name for name in _NAMES if f'"{name}"' in first)
    assert f"patched/{stays}" not in lab.asked
    assert [one.name for one in again.tests["patched"]] == _NAMES


def test_a_run_of_something_else_is_not_resumed(lab: _Lab) -> None:
    store = RunStore.create("run", ["bpfroots"])
    with pytest.raises(UserError, match="not a run of test_progs"):
        progs_run.resume("test_progs", store, Progress(quiet=True))


# -- a night -----------------------------------------------------------------------------------------


def _work(lab: _Lab, store: RunStore, work: configs.TestProgs) -> int:
    names = {name: name for name in work.kernels}
    accel = Accel("tcg", "", 1.0)
    config = configs.Config((work,))
    kit = cast("Kit", None)
    failed, code = works.do(work, works.NightSite(config, kit, names, accel, store, Progress(quiet=True)))
    assert failed == []
    return code


@pytest.mark.usefixtures("one_of_each")
def test_a_night_has_tests_like_cells(lab: _Lab) -> None:
    store = RunStore.create("nightly", ["bpfroots"])
    assert _work(lab, store, configs.TestProgs(("base", "patched"))) == 1
    seen = {str(key): state.outcome for key, state in observe_run(store)}
    assert seen["test_progs/align (patched)"] == "guest_crash"
    assert seen["test_progs/verifier_or (base)"] == "fail"
    assert not store.run.finished
    # Its twin: a night without a new failure. What is done is not done again.
    asked = len(lab.asked)
    assert _work(lab, store, configs.TestProgs(("base",))) == 0
    assert len(lab.asked) == asked


@pytest.fixture
def one_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of a night are whatever the lab has."""
    monkeypatch.setattr("bpfroots.kernels.resolve_all", lambda names: {name: name for name in names})


# -- tests that fail only sometimes ------------------------------------------------------------------


def _changed(result: progs_run.ProgsRun) -> list[tuple[str, str, str]]:
    (changes,) = result.changes().values()
    return [(change.kind, change.name, change.note) for change in changes]


def test_a_new_failure_that_passes_when_it_is_run_again_is_flaky(lab: _Lab) -> None:
    lab.acts = {"base": {}, "patched": {"align": "once"}}
    result = _run("base", "patched")
    assert _changed(result) == [("flaky", "align", "passes when run again, alone in a fresh guest")]
    assert result.exit_code == 0
    (kept_,) = [
        one for one in kept.read(result.store.path / "selftests/patched/test_progs.jsonl") if one.again
    ]
    assert (kept_.name, kept_.outcome, kept_.again) == ("align", "fail", "pass")
    assert lab.asked.count("patched/align") == 2
    assert lab.asked.count("patched/verifier_or") == 1
    assert "not ok" in (result.store.path / "results.ktap").read_text()


def test_one_that_fails_again_is_new(lab: _Lab) -> None:
    lab.acts = {"base": {}, "patched": {"align": "fail"}}
    result = _run("base", "patched")
    assert _changed(result) == [("new failure", "align", "fails when run again, alone in a fresh guest")]
    assert result.exit_code == 1


def test_one_that_passes_and_then_loses_its_guest_is_new(lab: _Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.acts = {"base": {}, "patched": {"align": "once"}}
    finished = progs_kernel.OnKernel._finished

    def and_after(kernel: Any, todo: list[list[str]]) -> Iterator[Finished]:
        yield from finished(kernel, todo)
        if todo == [["align"]]:
            yield Finished(Tested("exit after align", "guest_crash", "WARNING in x"))

    monkeypatch.setattr(progs_kernel.OnKernel, "_finished", and_after)
    result = _run("base", "patched")
    assert _changed(result)[0][:2] == ("new failure", "align")
    assert result.exit_code == 1


def test_what_fails_on_both_is_not_run_again(lab: _Lab) -> None:
    lab.acts = {"base": {"align": "fail"}, "patched": {"align": "once"}}
    result = _run("base", "patched")
    assert _changed(result) == [("still failing", "align", "")]
    assert lab.asked.count("patched/align") == 1


def test_a_failure_of_a_test_that_is_known_as_flaky_is_not_new(lab: _Lab) -> None:
    lab.acts = {"base": {}, "patched": {}}
    assert _run("base", "patched").exit_code == 0
    lab.acts = {"base": {}, "patched": {"align": "fail"}}  # and the same kernel
    result = _run("base", "patched")
    again = "fails when run again, alone in a fresh guest"
    assert _changed(result) == [
        ("flaky", "align", f"known as flaky: fails in 1 of 2 runs on patched; {again}")
    ]
    assert result.exit_code == 0


def test_a_failure_that_came_with_another_kernel_is_new(lab: _Lab) -> None:
    lab.acts = {"base": {}, "patched": {}}
    assert _run("base", "patched").exit_code == 0
    lab.acts, lab.keys = {"base": {}, "patched": {"align": "fail"}}, {"patched": "another"}
    result = _run("base", "patched")
    assert [kind for kind, _, _ in _changed(result)] == ["new failure"]
    assert result.exit_code == 1


def test_one_that_comes_and_goes_is_flaky_whatever_has_changed(lab: _Lab) -> None:
    for number, act in enumerate(("ok", "fail", "ok", "fail", "ok")):
        lab.acts, lab.keys = {"base": {"align": act}, "patched": {}}, {"base": f"base-{number}"}
        _run("base")
    lab.acts, lab.keys = {"base": {}, "patched": {"align": "fail"}}, {"base": "base-5"}
    result = _run("base", "patched")
    (change,) = _changed(result)
    assert change[:2] == ("flaky", "align")
    assert change[2].startswith("known as flaky: fails in 2 of 6 runs on base")


def test_a_history_that_cannot_be_read_takes_no_result_with_it(lab: _Lab) -> None:
    lab.acts = {"base": {}, "patched": {"align": "fail"}}
    _run("base")
    path = settings.results_root() / "history.db"
    path.write_text("no database, but long enough to be one by its size " * 100)
    assert [kind for kind, _, _ in _changed(_run("base", "patched"))] == ["new failure"]
    # Its twin: a run of the history itself says so.
    with pytest.raises(UserError, match="not a database"):
        History()
