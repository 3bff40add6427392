"""test_progs: which tests are asked for, what a lost guest comes to, and what two kernels differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bpfroots import settings
from bpfroots.errors import GuestCrash, GuestError, GuestHang, GuestLost, UserError
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
from bpfroots.results.selftests import Subtest, Tested
from bpfroots.results.store import RunStore
from bpfroots.selftest import progs_build, progs_compare, progs_kernel, progs_lists, progs_run, progs_site
from bpfroots.selftest.progs_select import Lists, Selection, select_all
from bpfroots.selftest.progs_worker import Finished, Limits, Worker
from bpfroots.shape import Shape

# -- what is asked for -------------------------------------------------------------------------------

_GOLDEN = Path(__file__).parent / "golden/selftest/lists"
_NAMES = ["align", "arena_htab", "verifier_and", "verifier_or"]


def _select(*wanted: str) -> Selection:
    (found,) = select_all([_NAMES], wanted)
    return found


def test_everything_is_run_where_nothing_is_named() -> None:
    assert _select() == Selection(_NAMES)


def test_names_patterns_and_subtests() -> None:
    found = _select("verifier_*", "align/mov", "align/shift*")
    assert found.names == ["align", "verifier_and", "verifier_or"]
    assert found.subtests == {"align": ["mov", "shift*"]}


def test_a_test_that_is_wanted_as_a_whole_is_run_as_one() -> None:
    assert _select("align/mov", "align") == Selection(["align"])


def test_a_test_that_there_is_not() -> None:
    with pytest.raises(UserError, match="no such test") as raised:
        _select("aligm")
    assert raised.value.hint == "-t align"


def test_a_test_that_only_the_series_has() -> None:
    first, other = select_all([_NAMES, [*_NAMES, "multi_root"]], ("multi_root",))
    assert (first.names, other.names) == ([], ["multi_root"])


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """As kernel-patches/vmtest has them."""
    (tmp_path / "DENYLIST").write_text(
        "# TEMPORARY\nalign/mov: 32 bits\nverifier_or\t# broken since the merge\n"
    )
    (tmp_path / "DENYLIST.x86_64").write_text("*htab*                # until next merge (?)\n")
    (tmp_path / "DENYLIST.s390x").write_text("verifier_and\n")
    (tmp_path / "ALLOWLIST").write_text("verifier_*\nalign/x*\n")
    return tmp_path


def test_what_lists_deny_is_not_run_and_says_why(lists: Path) -> None:
    (found,) = select_all([_NAMES], (), [Lists(deny=tuple(progs_lists.read(lists, "DENYLIST")))])
    assert found.to_run == ["align", "verifier_and"]
    assert found.denied == {
        "arena_htab": "denied by DENYLIST.x86_64:1: until next merge (?)",
        "verifier_or": "denied by DENYLIST:3: broken since the merge",
    }
    assert found.denied_subtests == ["align/mov: 32 bits"]


def test_lists_of_other_runs_are_not_taken(tmp_path: Path) -> None:
    """The suffixes that kernel-patches/vmtest and libbpf/ci have (run-vmtest.env)."""
    for suffix in (".asan", ".rc", ".aarch64", ".s390x", ".test_progs-bpf_gcc", ".test_progs_cpuv4"):
        (tmp_path / f"DENYLIST{suffix}").write_text("align\n")
    for suffix in ("", ".x86_64", ".test_progs"):
        (tmp_path / f"DENYLIST{suffix}").write_text(f"verifier{suffix}\n")
    found = [entry.test for entry in progs_lists.read(tmp_path, "DENYLIST")]
    assert found == ["verifier", "verifier.x86_64", "verifier.test_progs"]
    (one,) = progs_lists.read(tmp_path / "DENYLIST.rc", "DENYLIST")
    assert str(one) == "DENYLIST.rc:1"


@pytest.mark.parametrize(
    ("line", "pattern", "note"),
    [
        ("sockmap_basic/sockmap udp multi channels", "sockmap_basic/sockmap udp multi channels", ""),
        ("btf_dump/btf_dump: syntax", "btf_dump/btf_dump: syntax", ""),
        (
            "tc_tunnel/ip6gre*    # connect() 1000ms too short",
            "tc_tunnel/ip6gre*",
            "connect() 1000ms too short",
        ),
        ("timer_interrupt\t\t\t# flaky", "timer_interrupt", "flaky"),
        ("*arena*", "*arena*", ""),
        (
            "exceptions/throwing extension -> main subprog",
            "exceptions/throwing extension -> main subprog",
            "",
        ),
        ("token       # vmtest#473", "token", "vmtest#473"),
        ("fd_array_cnt # wait \u2014 too short", "fd_array_cnt", "wait \u2014 too short"),
    ],
)
def test_lines_as_the_lists_of_bpf_ci_have_them(tmp_path: Path, line: str, pattern: str, note: str) -> None:
    path = tmp_path / "DENYLIST"
    path.write_text(f"# TEMPORARY\n\n{line}\n", encoding="utf-8")
    (entry,) = progs_lists.read(path, "DENYLIST")
    assert (entry.pattern, entry.note, entry.where) == (pattern, note, "DENYLIST:3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "",
            [
                "get_stack_raw_tp",
                "stacktrace_build_id",
                "stacktrace_build_id_nmi",
                "task_fd_query_rawtp",
                "varlen",
            ],
        ),
        (".asan", ["*arena*", "task_local_data", "uprobe_multi_test"]),
        (".riscv64", ["exceptions"]),
        (".s390x", ["exe_ctx", "get_stack_raw_tp", "stacktrace_build_id"]),
    ],
)
def test_the_lists_of_a_tree(name: str, expected: list[str]) -> None:
    """Those of Linux 7.3, as the tree has them."""
    found = progs_lists.read(_GOLDEN / f"DENYLIST{name}", "DENYLIST")
    assert [entry.pattern for entry in found] == expected


def test_what_is_named_runs_though_it_is_denied(lists: Path) -> None:
    deny = tuple(progs_lists.read(lists / "DENYLIST", "DENYLIST"))
    (found,) = select_all([_NAMES], ("verifier_or", "align/mov: 32 bits"), [Lists(deny=deny)])
    assert (found.to_run, found.denied, found.denied_subtests) == (["align", "verifier_or"], {}, [])
    (found,) = select_all([_NAMES], ("verifier_*",), [Lists(deny=deny)])
    assert found.to_run == ["verifier_and"]


def test_only_what_a_list_allows(lists: Path) -> None:
    allow = tuple(progs_lists.read(lists, "ALLOWLIST"))
    (found,) = select_all([_NAMES], (), [Lists(allow=allow)])
    assert (found.names, found.subtests) == (["align", "verifier_and", "verifier_or"], {"align": ["x*"]})


def test_a_directory_without_lists(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no DENYLIST in it"):
        progs_lists.read(tmp_path, "DENYLIST")
    assert progs_lists.of_tree(tmp_path) == []


def test_the_longest_come_first_and_by_themselves() -> None:
    found = progs_kernel.batches(["a", "b", "c", "d"], {"c": 100.0, "a": 30.0, "b": 25.0, "d": 50.0})
    assert found == [["c"], ["d"], ["a", "b"]]


def test_every_test_is_in_one_batch() -> None:
    names = [f"t{n}" for n in range(100)]
    found = progs_kernel.batches(names, {})
    assert sorted(name for batch in found for name in batch) == sorted(names)
    assert all(batch == sorted(batch, key=names.index) for batch in found)


# -- guests ------------------------------------------------------------------------------------------


@dataclass
class _Guest:
    """A guest whose test_progs does what ``acts`` says, test by test: "ok", "fail", "exit", "slow",
    "once" (fails and then never again), a splat that is seen as the test ends, or an error that the guest is
    lost with."""

    acts: dict[str, Any]
    summary: dict[str, Any] | None = None
    asked: list[str] = field(default_factory=list)
    closed: bool = False
    #: What the kernel says in a test is seen as the test before it ends: the host is slow.
    late: bool = False
    _splat: GuestError | None = None
    _ok: int = 0
    _failed: list[str] = field(default_factory=list)

    def clean(self) -> bool:
        return self._splat is None

    def allowed(self) -> list[Any]:
        return []

    def close(self) -> None:
        self.closed = True

    def run(self, command: str, *, stdin: bytes, deadline: float, no_output: float) -> Any:
        assert "./test_progs" in command
        assert 0 < no_output < deadline
        self.asked = [line[1:] for line in stdin.decode().splitlines() if line[0] == "+"]
        return _Running(self._lines())

    def output(self, command: str) -> Any:
        assert "summary.json" in command
        counts = {"success": self._ok, "success_subtest": 0, "failed": len(self._failed), "failed_subtest": 0}
        results = [
            {"name": name, "failed": True, "message": "", "number": 1, "subtests": []}
            for name in self._failed
        ]
        return SimpleNamespace(stdout=json.dumps(self.summary or counts | {"results": results}).encode())

    def _lines(self) -> Iterator[bytes]:
        for number, name in enumerate(self.asked, 1):
            act = self.acts.get(name, "ok")
            if isinstance(act, GuestError):
                raise act
            if act == "exit":
                yield b"Caught signal #11!"
                return
            if act == "slow":
                said = f"WATCHDOG: test case {name}/x executes for 480 seconds, terminating with SIGSEGV"
                yield said.encode()
            if act == "once":
                self.acts[name], act = "ok", "fail"
            coming = self.acts.get(self.asked[number]) if number < len(self.asked) else None
            if self.late and isinstance(coming, GuestError):
                self._splat = coming
            if act == "splat":
                self._splat = GuestCrash(f"WARNING in {name}")
            if act == "fail":
                self._failed.append(name)
                yield f"{name}:FAIL:attach unexpected error: -22".encode()
            yield f"#{number:<7} {name}:{'FAIL' if act == 'fail' else 'OK'}".encode()
            if self._splat:
                raise self._splat
            self._ok += act != "fail"


class _Running:
    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.status = 139

    def __iter__(self) -> Iterator[bytes]:
        return self._lines


class _Guests:
    """Fresh guests; ``acts`` of the first, the second, ...; the last one's of all that follow."""

    def __init__(self, *acts: dict[str, Any], late: bool = False) -> None:
        self._acts = list(acts)
        self._late = late
        self.made: list[_Guest] = []

    def __call__(self) -> Machine:
        acts = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        self.made.append(_Guest(acts, late=self._late))
        return cast("Machine", self.made[-1])


def _ran(guests: _Guests, names: Sequence[str]) -> dict[str, Tested]:
    found = [finished.tested for finished in Worker(guests, Limits(120, 1.0)).run(names)]
    assert len({one.name for one in found}) == len(found)
    assert all(guest.closed for guest in guests.made)
    return {one.name: one for one in found}


def test_one_guest_runs_a_batch() -> None:
    guests = _Guests({"b": "fail"})
    found = _ran(guests, ["a", "b", "c"])
    assert [(one.name, one.outcome) for one in found.values()] == [
        ("a", "pass"),
        ("b", "fail"),
        ("c", "pass"),
    ]
    assert found["b"].reason == "b:FAIL:attach unexpected error: -22"
    assert [guest.asked for guest in guests.made] == [["a", "b", "c"]]


@pytest.mark.parametrize("lost", [GuestCrash("panic: boom"), GuestHang("answers nothing")])
def test_the_test_a_guest_is_lost_in_is_named_and_the_others_continue(lost: GuestError) -> None:
    guests = _Guests({"b": lost})
    found = _ran(guests, ["a", "b", "c", "d"])
    assert {name: one.outcome for name, one in found.items()} == {
        "a": "pass",
        "b": lost.outcome,
        "c": "pass",
        "d": "pass",
    }
    assert found["b"].note == "again when run alone in a fresh guest"
    assert [guest.asked for guest in guests.made] == [["a", "b", "c", "d"], ["b"], ["c", "d"]]


def test_what_happens_only_after_others_is_kept_and_said() -> None:
    guests = _Guests({"b": GuestCrash("panic: boom")}, {})
    found = _ran(guests, ["a", "b", "c"])
    assert (found["b"].outcome, found["b"].reason) == ("guest_crash", "panic: boom")
    assert found["b"].note == "not when run alone in a fresh guest; before it ran 1 test, last a"
    assert found["c"].outcome == "pass"


@pytest.mark.parametrize("names", ["abcd", "bcd"])
def test_a_panic_that_takes_the_result_of_the_test_before_it(names: str) -> None:
    panic = GuestCrash("panic: boom")
    # In the first guest b's line never comes: c was faster.
    guests = _Guests({"b": panic, "c": panic}, {"c": panic})
    found = _ran(guests, list(names))
    assert [one.outcome for one in found.values()] == [*["pass"] * (len(names) - 2), "guest_crash", "pass"]
    assert found["c"].note == "again when run alone in a fresh guest"


@pytest.mark.parametrize("names", ["abcd", "bcd"])
def test_a_splat_that_overtakes_the_end_of_the_test_before_it(names: str) -> None:
    guests = _Guests({"c": GuestCrash("panic: boom")}, late=True)
    found = _ran(guests, list(names))
    assert [one.outcome for one in found.values()] == [*["pass"] * (len(names) - 2), "guest_crash", "pass"]
    assert found["c"].note == "again when run alone in a fresh guest"
    assert [guest.asked for guest in guests.made] == [list(names), ["b"], ["c"], ["d"]]


def test_a_splat_that_neither_does_alone_stays_where_it_was_seen() -> None:
    guests = _Guests({"c": GuestCrash("panic: boom")}, {}, late=True)
    found = _ran(guests, ["a", "b", "c", "d"])
    assert [one.outcome for one in found.values()] == ["pass", "guest_crash", "pass", "pass"]
    assert found["b"].note.startswith("not when run alone in a fresh guest; before it ran 1 test")


def test_a_splat_fails_a_test_that_says_ok() -> None:
    found = _ran(_Guests({"b": "splat"}), ["a", "b", "c"])
    assert [one.outcome for one in found.values()] == ["pass", "guest_crash", "pass"]
    assert found["b"].reason == "WARNING in b"


def test_a_test_that_is_too_slow_in_a_batch_counts_by_what_it_does_alone() -> None:
    found = _ran(_Guests({"b": "slow"}, {}), ["a", "b", "c"])
    assert [one.outcome for one in found.values()] == ["pass", "pass", "pass"]
    assert found["b"].note.endswith("among others: b/x not finished within 480 s")


def test_a_test_that_is_always_too_slow() -> None:
    found = _ran(_Guests({"b": "slow"}), ["a", "b", "c"])
    assert (found["b"].outcome, found["b"].reason) == ("timeout", "b/x not finished within 480 s")
    assert found["c"].outcome == "pass"


def test_a_program_that_ends_in_a_test_fails_that_test() -> None:
    guests = _Guests({"b": "exit"})
    found = _ran(guests, ["a", "b", "c"])
    assert found["b"].outcome == "fail"
    assert found["b"].reason == "test_progs ended with status 139: Caught signal #11!"
    assert [guest.asked for guest in guests.made] == [["a", "b", "c"], ["c"]]


def test_a_host_that_loses_guests_is_not_asked_for_ever() -> None:
    guests = _Guests({"a": GuestLost("QEMU died of SIGBUS")})
    found = _ran(guests, ["a", "b", "c"])
    assert {one.outcome for one in found.values()} == {"infra_error"}
    assert len(guests.made) == 2


def test_a_summary_that_says_something_else_is_no_pass() -> None:
    guest = _Guest({}, {"success": 2, "success_subtest": 0, "failed": 0, "failed_subtest": 0, "results": []})
    found = [
        finished.tested for finished in Worker(lambda: cast("Machine", guest), Limits(120, 1.0)).run(["a"])
    ]
    assert [(one.name, one.outcome) for one in found] == [("a", "pass"), ("exit after a", "infra_error")]
    assert "the summary counts [2, 0, 0, 0], the lines [1, 0, 0, 0]" in found[1].reason


# -- two kernels -------------------------------------------------------------------------------------


def _test(name: str, outcome: Any = "pass", **subtests: Any) -> Tested:
    return Tested(name, outcome, subtests=[Subtest(sub, how) for sub, how in subtests.items()])


def _changes(first: list[Tested], other: list[Tested]) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in progs_compare.changes(first, other)]


@pytest.mark.parametrize(
    ("first", "other", "expected"),
    [
        (_test("a"), _test("a"), []),
        (_test("a"), _test("a", "fail"), [("new failure", "a")]),
        (_test("a"), _test("a", "guest_crash"), [("new failure", "a")]),
        (_test("a", "fail"), _test("a", "fail"), [("still failing", "a")]),
        (_test("a", "fail"), _test("a"), [("fixed", "a")]),
        (_test("a"), _test("a", "skip"), [("not run any more", "a")]),
        (_test("a", x="pass", y="pass"), _test("a", "fail", x="fail", y="pass"), [("new failure", "a/x")]),
        (_test("a", x="pass"), _test("a", x="pass", z="pass"), []),
        (_test("a", x="pass"), _test("a", "fail", x="pass", z="fail"), [("failure of a new test", "a/z")]),
        (_test("a", x="pass", y="pass"), _test("a", x="pass"), [("gone", "a/y")]),
        # A test that took its guest down has no subtests: it is one failure, and nothing is gone.
        (_test("a", x="pass", y="pass"), _test("a", "guest_crash"), [("new failure", "a")]),
        (_test("a"), _test("b"), [("gone", "a")]),
        (_test("a"), _test("b", "fail"), [("failure of a new test", "b"), ("gone", "a")]),
    ],
)
def test_changes(first: Tested, other: Tested, expected: list[tuple[str, str]]) -> None:
    assert _changes([first], [other]) == expected


def test_new_failures_come_first() -> None:
    first = [_test("a", "fail"), _test("b", "fail"), _test("c"), _test("d")]
    other = [_test("a", "fail"), _test("b"), _test("c", "fail"), _test("e", "fail")]
    assert [kind for kind, _ in _changes(first, other)] == [
        "new failure",
        "failure of a new test",
        "still failing",
        "fixed",
        "gone",
    ]


def test_results_are_named_once_each() -> None:
    tested = Tested("a", "fail", "x: no", 2.5, [Subtest("x", "fail", "no"), Subtest("x", "pass")])
    found = list(kept.results("test_progs", "v7.3", [tested]))
    assert [result.case for result in found] == ["test_progs/a", "test_progs/a/x", "test_progs/a/x 2"]
    assert found[0].duration_s == 2.5
    assert found[1].reproduce == "bpfroots selftest test_progs -t a/x --kernel v7.3"


# -- a run -------------------------------------------------------------------------------------------


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
        guest = _Guest(self.acts[kernel.name])
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
    monkeypatch.setattr(progs_run, "_sites", made.sites)
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


def test_a_test_that_ended_early_says_nothing_of_its_subtests() -> None:
    first = _test("a", "fail", x="fail", y="pass")
    kept.note_repeat(first, _test("a", "pass", y="pass"))
    assert [sub.again for sub in first.subtests] == ["", ""]
    first = _test("a", "fail", x="fail", y="pass")
    kept.note_repeat(first, _test("a", "pass", x="pass", y="pass"))
    assert [sub.again for sub in first.subtests] == ["pass", ""]
    assert [change.kind for change in progs_compare.changes([_test("a", x="pass")], [first])] == ["flaky"]
