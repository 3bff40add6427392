"""test_maps: what its sources say that it runs, what its output proves, and guests that are lost in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.errors import GuestCrash, GuestError, GuestHang, GuestLost, GuestTimeout, KernelError
from bpfroots.kernels import selftests
from bpfroots.machine import Machine
from bpfroots.results import selftests as kept
from bpfroots.results.selftests import Tested
from bpfroots.selftest import maps, progs_output
from bpfroots.selftest.maps import Reader, Unit
from bpfroots.selftest.maps_worker import MapsWorker
from bpfroots.selftest.progs_worker import Limits
from tests.selftest_guests import FakeGuest

_GOLDEN = Path(__file__).parent / "golden/selftest"
_KINDS = (
    *("hash", "percpu_hash", "hash_prealloc", "percpu_hash_prealloc", "lru_hash", "lru_hash_no_common"),
    *("percpu_lru_hash", "percpu_lru_hash_no_common", "hash_of_maps", "map_value_size"),
)
# Those of 7.3, whose output the golden file is.
_KNOWN = [
    Unit(maps.FIRST, calls=("hashmap", "sockmap", "map_stress")),
    Unit("array_map_batch_ops", frozenset({"array_map_batch_ops", "array_percpu_map_batch_ops"}), 2),
    Unit("htab_map_batch_ops", frozenset({"htab_map_batch_ops", "htab_percpu_map_batch_ops"}), 2),
    Unit("lpm_trie_map_basic_ops", frozenset({"lpm_trie_map_basic_ops"}), 1),
    Unit("lpm_trie_map_batch_ops", frozenset({"lpm_trie_map_batch_ops"}), 1),
    Unit("lpm_trie_map_get_next_key", frozenset({"lpm_trie_map_get_next_key"}), 1),
    Unit("map_in_map_batch_ops_array", frozenset({"map_in_map_batch_ops_array"}), 4),
    Unit("map_in_map_batch_ops_hash", frozenset({"map_in_map_batch_ops_hash"}), 2),
    Unit("map_percpu_stats", frozenset(f"map_percpu_stats_{kind}" for kind in _KINDS), 10),
    Unit("sk_storage_map", frozenset({"sk_storage_map"}), 1),
]
_NAMES = [unit.name for unit in _KNOWN]

# -- sources -----------------------------------------------------------------------------------------

_MAIN = """\
static void test_hashmap(unsigned int task, void *data)
{
}

static void run_all_tests(void)
{
\ttest_hashmap(0, NULL);

\ttest_map_in_map();
}
"""
_BATCH = """\
static int
verify(int x)
{
}

static void b_percpu(void)
{
\tprintf("test_%s:PASS\\n", __func__);
}

void test_b_ops(void)
{
\tb_percpu();
\tCHECK(1, "x", "y");
}
"""
_BOTH = """\
static void check(void)
{
}

void test_a_ops(void)
{
\tprintf("%s:PASS with inner ARRAY map\\n", __func__);
\tprintf("%s: PASS\\n", __func__);
}

void test_c_ops(void)
{
\tprintf("%s:PASS\\n", __func__);
}
"""


def _tree(source: Path, main: str = _MAIN) -> Path:
    directory = source / selftests.DIRECTORY
    (directory / "map_tests").mkdir(parents=True)
    (directory / "test_maps.c").write_text(main)
    (directory / "map_tests/b.c").write_text(_BATCH)
    (directory / "map_tests/both.c").write_text(_BOTH)
    return source


def test_what_a_tree_runs(tmp_path: Path) -> None:
    first, a, b, c = maps.units(_tree(tmp_path))
    assert first == Unit("run_all_tests", calls=("hashmap", "map_in_map"))
    assert (a.name, a.marks, b.name, b.marks, c.name, c.marks) == ("a_ops", 2, "b_ops", 1, "c_ops", 1)
    assert a.functions == c.functions == {"check", "a_ops", "c_ops"}
    assert b.functions == {"b_percpu", "b_ops"}


def test_a_tree_that_is_made_in_another_way(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="with run_all_tests"):
        maps.units(_tree(tmp_path, "int main(void) {}\n"))


# -- output ------------------------------------------------------------------------------------------


def _golden(name: str) -> list[str]:
    return (_GOLDEN / f"maps-{name}.log").read_text().splitlines()


def _read(lines: list[str]) -> tuple[dict[str, Tested], Reader]:
    reader = Reader(_KNOWN, 0.0)
    found = [tested for second, line in enumerate(lines, 1) for tested in reader.feed(line, float(second))]
    return {one.name: one for one in found}, reader


def test_every_test_is_read() -> None:
    lines = _golden("passes")
    found, reader = _read(lines)
    assert list(found) == _NAMES
    assert (reader.over, reader.wrong, reader.finish(0.0)) == (True, "", [])
    assert [one.name for one in found["run_all_tests"].subtests] == ["hashmap", "sockmap", "map_stress"]
    assert [one.name for one in found["map_in_map_batch_ops_hash"].subtests] == [
        "map_in_map_batch_ops_hash with inner ARRAY map",
        "map_in_map_batch_ops_hash with inner HASH map",
    ]
    assert found["lpm_trie_map_basic_ops"].subtests == []


@given(end=st.integers(min_value=0))
def test_what_did_not_come_to_its_end_has_not_passed(end: int) -> None:
    lines = _golden("passes")
    lines = lines[: end % len(lines)]
    found, reader = _read(lines)
    assert not reader.over
    assert reader.current not in found or len(found) == len(_NAMES)
    passes = sum("PASS" in line for line in lines)
    needed = 0
    for unit in _KNOWN:
        needed += unit.marks
        # The tests of run_all_tests() have passed when another one has printed something.
        assert (unit.name in found) == (passes >= max(1, needed))


def test_a_test_that_prints_nothing_has_passed_when_a_later_one_has() -> None:
    known = [Unit("a", frozenset({"a"}), 1), Unit("silent"), Unit("c", frozenset({"c"}), 2), Unit("quiet")]
    reader = Reader(known, 0.0)
    assert [one.name for one in reader.feed("test_a:PASS", 1.0)] == ["a"]
    assert reader.current == "silent"
    assert [one.name for one in reader.feed("test_c:PASS", 2.0)] == ["silent"]
    assert [one.name for one in reader.feed("test_c:PASS", 3.0)] == ["c"]
    assert reader.current == "quiet"
    assert [one.name for one in reader.finish(4.0)] == ["quiet"]


def test_a_test_that_is_skipped_has_not_passed() -> None:
    skipped = "test_sockmap SKIP (unsupported map type BPF_MAP_TYPE_SOCKMAP)"
    lines = [skipped, *_golden("passes")[:-1]]
    found, reader = _read([*lines, "test_maps: OK, 1 SKIPPED"])
    outcomes = {one.name: (one.outcome, one.reason) for one in found["run_all_tests"].subtests}
    assert outcomes["sockmap"] == ("skip", "unsupported map type BPF_MAP_TYPE_SOCKMAP")
    assert outcomes["hashmap"] == ("pass", "")
    assert reader.wrong == ""


def test_a_count_of_skips_that_is_another_one_is_no_pass() -> None:
    _, reader = _read([*_golden("passes")[:-1], "test_maps: OK, 2 SKIPPED"])
    assert reader.wrong == "'test_maps: OK, 2 SKIPPED', but 0 were printed"


def test_where_a_program_was_is_known() -> None:
    lines = _golden("passes")
    first = next(n for n, line in enumerate(lines) if "PASS" in line)
    assert _read(lines[:first])[1].current == "run_all_tests"
    assert _read(lines[: first + 1])[1].current == "array_map_batch_ops"
    assert _read(lines[: first + 2])[1].current == "htab_map_batch_ops"
    assert _read(lines[: first + 3])[1].current == "htab_map_batch_ops"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (
            [
                "map_batch_verify(55):FAIL:key/value checking error: i 1",
                "test_maps: test_maps.c:1380: __run_parallel: Assertion `status == 0' failed.",
            ],
            "map_batch_verify(55):FAIL:key/value checking error: i 1",
        ),
        (
            ["Fork 3 tasks", "Failed to create hashmap 'Operation not permitted'!", ""],
            "Failed to create hashmap",
        ),
        ([], ""),
    ],
)
def test_the_line_that_says_why(lines: list[str], why: str) -> None:
    said = progs_output.why(lines, maps.FAILED)
    assert said.startswith(why)
    assert bool(said) == bool(why)


# -- guests ------------------------------------------------------------------------------------------


@dataclass
class _Guest(FakeGuest):
    """A guest in which test_maps prints ``lines``, the last of which may be what the guest is lost with."""

    lines: list[str | GuestError]
    status: int | None = 0

    def run(self, command: str, *, deadline: float, no_output: float) -> Any:
        assert "./test_maps" in command
        assert 0 < no_output < deadline
        return self

    def __iter__(self) -> Iterator[bytes]:
        for line, after in zip(self.lines, [*self.lines[1:], ""], strict=True):
            if isinstance(line, GuestError):
                raise line
            self.splat = after if isinstance(after, GuestCrash) else None
            yield line.encode()


class _Guests:
    def __init__(self, *guests: _Guest) -> None:
        self.left = list(guests)
        self.used: list[_Guest] = []

    def __call__(self) -> Machine:
        self.used.append(self.left.pop(0))
        return cast("Machine", self.used[-1])


def _ran(*guests: _Guest) -> dict[str, Tested]:
    made = _Guests(*guests)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "test_maps.log"
        worker = MapsWorker(made, Limits(120, 1.0), _KNOWN, log)
        found = [one.tested for one in worker.run(_NAMES)]
        assert log.read_text().splitlines()[0] == guests[0].lines[0]
    assert len({one.name for one in found}) == len(found)
    assert {one.name for one in found} >= set(_NAMES)
    assert all(guest.closed for guest in made.used)
    assert not made.left
    return {one.name: one for one in found}


def _outcomes(found: dict[str, Tested]) -> list[str]:
    return [found[name].outcome for name in _NAMES]


def _until(name: str) -> list[str | GuestError]:
    lines = _golden("passes")
    return list(lines[: next(n for n, line in enumerate(lines) if name in line)])


def test_a_program_that_comes_to_its_end() -> None:
    assert _outcomes(_ran(_Guest(list(_golden("passes"))))) == ["pass"] * len(_NAMES)


def test_an_end_with_another_status_is_no_pass() -> None:
    found = _ran(_Guest([*_until("sk_storage"), "test_maps: OK, 0 SKIPPED"], status=1))
    assert found["sk_storage_map"].outcome == "fail"
    found = _ran(_Guest(list(_golden("passes")), status=1))
    assert (found["exit after test_maps"].outcome, found["exit after test_maps"].reason[:28]) == (
        "fail",
        "test_maps ended with status ",
    )
    found = _ran(_Guest([*_until("sk_storage"), "test_maps: OK, 0 SKIPPED"]))
    assert found["sk_storage_map"].outcome == "pass"


def test_one_that_fails_is_named_and_the_rest_was_not_run() -> None:
    said = "map_batch_verify(50):FAIL:key/value checking error: i 3"
    found = _ran(_Guest([*_until("htab_percpu"), said], status=255))
    assert _outcomes(found) == ["pass", "pass", "fail", *["skip"] * 7]
    assert found["htab_map_batch_ops"].reason == f"test_maps ended with status 255: {said}"
    assert found["sk_storage_map"].reason == "not run: test_maps ended before it"


@pytest.mark.parametrize("lost", [GuestCrash("panic: boom"), GuestHang("answers nothing")])
def test_one_that_takes_the_guest_down_twice(lost: GuestError) -> None:
    lines = [*_until("lpm_trie_map_batch_ops"), "a word", lost]
    found = _ran(_Guest(lines), _Guest(lines))
    assert _outcomes(found)[:6] == ["pass"] * 4 + [lost.outcome, "skip"]
    one = found["lpm_trie_map_batch_ops"]
    assert (one.reason, one.note) == (lost.message, "again when run once more in a fresh guest")


def test_a_splat_fails_the_test_that_says_pass() -> None:
    lines: list[str | GuestError] = [*_until("lpm_trie_map_get_next_key"), GuestCrash("WARNING in x")]
    found = _ran(_Guest(lines), _Guest(list(lines)))
    assert found["lpm_trie_map_batch_ops"].outcome == "guest_crash"
    assert found["lpm_trie_map_get_next_key"].outcome == "skip"


def test_a_guest_that_is_lost_after_the_last_test() -> None:
    lines: list[str | GuestError] = [*_golden("passes"), "bye", GuestCrash("WARNING in x")]
    found = _ran(_Guest(lines), _Guest(list(lines)))
    assert found["exit after test_maps"].outcome == "guest_crash"


def test_one_that_takes_the_guest_down_once_loses_no_other_result() -> None:
    crashed = _Guest([*_until("lpm_trie_map_batch_ops"), "a word", GuestCrash("panic: boom")])
    found = _ran(crashed, _Guest(list(_golden("passes"))))
    assert _outcomes(found) == ["pass"] * 4 + ["guest_crash"] + ["pass"] * 5
    assert found["lpm_trie_map_batch_ops"].note == "not when run again in a fresh guest"


def test_one_that_is_too_slow_once_counts_by_what_it_does_then() -> None:
    slow = _Guest([*_until("sk_storage"), GuestTimeout("no output for 480 s; the guest still answers")])
    found = _ran(slow, _Guest(list(_golden("passes"))))
    assert _outcomes(found) == ["pass"] * len(_NAMES)
    assert found["sk_storage_map"].note.startswith("in a second guest; in the first: no output for 480 s")


def test_a_host_that_loses_guests_gives_no_verdict() -> None:
    lines = [*_until("htab_map"), GuestLost("QEMU died of SIGBUS")]
    found = _ran(_Guest(lines), _Guest(lines))
    assert _outcomes(found) == ["pass"] * 2 + ["infra_error"] * 8


def test_results_have_the_program_in_front() -> None:
    (found,) = kept.results("test_maps", "v7.3", [Tested("sk_storage_map", "pass")])
    assert found.case == "test_maps/sk_storage_map"
    assert found.reproduce == "bpfroots selftest test_maps --kernel v7.3"
