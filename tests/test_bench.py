"""What `bench` makes of samples, and of what it is asked for; that it measures is in test_bench_guest.py."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from bpfroots import bench
from bpfroots.bench import programs
from bpfroots.bench.common import take_turns
from bpfroots.bench.model import RATE, SECONDS, Context, Measurement, Spread, measurement, newest, save
from bpfroots.bench.table import rows
from bpfroots.cli import cli
from bpfroots.errors import UserError

CONTEXT = Context(
    "2026-01-02T03:04:05+00:00", "patched", "6.12.117", "key", "tcg", "QEMU 7.2", 2, "a CPU", 0.5
)


def _times(**more: object) -> Measurement:
    return measurement(
        [0.4, 0.5, 9.0],
        [4.0, 6.0, 5.0],
        unit=SECONDS,
        what="a thing",
        context=CONTEXT,
        name="another",
        command="another -- true",
        **more,  # type: ignore[arg-type]
    )


def test_a_time_is_better_where_it_is_shorter() -> None:
    found = _times()
    assert (found.ours.median, found.ours.min, found.ours.max) == (0.5, 0.4, 9.0)
    assert found.peer is not None
    assert (found.peer.name, found.peer.median, found.peer.command) == ("another", 5.0, "another -- true")
    assert (found.ratio, found.runs, found.unit) == (10.0, 3, "s")


def test_a_rate_is_better_where_it_is_higher() -> None:
    found = measurement([80.0], [100.0], unit=RATE, what="", context=CONTEXT, name="another")
    assert found.ratio == 0.8


def test_no_peer_has_a_reason_and_no_ratio() -> None:
    found = measurement([1.0, 2.0], [], unit=SECONDS, what="", context=CONTEXT, reason="it is not installed")
    assert (found.peer, found.ratio, found.reason) == (None, None, "it is not installed")
    assert found.ours.median == 1.5


def test_the_shape_of_the_json() -> None:
    """design: {NAME: {ours: {median, min, max}, peer: {name, median}, ratio, unit, runs}}"""
    found = json.loads(msgspec.json.encode({"clone_ssh": _times(more={"beside": [1.0]})}))["clone_ssh"]
    assert {"ours", "peer", "ratio", "unit", "runs"} <= set(found)
    assert {"median", "min", "max"} <= set(found["ours"])
    assert {"name", "median"} <= set(found["peer"])
    assert found["more"]["beside"]["median"] == 1.0
    assert found["context"]["kernel"] == "patched"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["clone_ssh", "clone_serial", "load", "throughput"]),
        (("clone",), ["clone_ssh", "clone_serial"]),
        (("throughput", "clone_ssh"), ["clone_ssh", "throughput"]),
        (("build", "clone", "clone_ssh"), ["clone_ssh", "clone_serial", "build"]),
        (("all",), list(bench.NAMES)),
    ],
)
def test_names(words: tuple[str, ...], names: list[str]) -> None:
    assert bench.choose(words) == names


def test_a_name_that_is_none() -> None:
    with pytest.raises(UserError, match="bench trouhput") as caught:
        bench.choose(["trouhput"])
    assert caught.value.hint == "bpfroots bench throughput"


def test_sides_take_turns() -> None:
    said: list[str] = []

    def side(name: str) -> float:
        said.append(name)
        return float(len(said))

    found = take_turns(3, [lambda: side("a"), lambda: side("b")], lambda _: None)
    assert said == ["a", "b"] * 3
    assert found == [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]


def test_the_newest_of_each_name(tmp_path: Path) -> None:
    assert newest(tmp_path) == {}
    first = save(tmp_path, {"load": _times(), "clone_ssh": _times()})
    first.rename(first.with_name("2026-01-01T00-00-00Z-1.json"))
    second = measurement([7.0], [], unit=SECONDS, what="", context=CONTEXT)
    save(tmp_path, {"load": second})
    (tmp_path / "bench" / "2099-01-01T00-00-00Z-1.json").write_text("{half a fi")
    assert newest(tmp_path) == {"load": second, "clone_ssh": _times()}
    assert not list((tmp_path / "bench").glob("*.tmp"))


def test_rows_for_people() -> None:
    none = measurement([1.0], [], unit=SECONDS, what="", context=CONTEXT, reason="not here")
    rate = measurement(
        [812.4], [1000.0], unit=RATE, what="", context=CONTEXT, name="p", more={"in_full": [9.0]}
    )
    time, alone, fast, more = rows({"clone_ssh": _times(), "load": none, "throughput": rate})
    assert (time.ours, time.spread, time.peer, time.ratio) == (
        "0.500 s",
        "0.400 .. 9.000",
        "5.000 s",
        "10.00",
    )
    assert (alone.peer, alone.peer_name, alone.ratio) == ("none", "not here", "")
    assert (fast.ours, fast.ratio) == ("812 programs/s", "0.81")
    assert (more.name, more.ours, more.peer) == ("throughput, in full", "9 programs/s", "")
    assert time.context == "patched 6.12.117, tcg, 2026-01-02"


def test_show_prints_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfroots.settings.project", lambda: tmp_path)
    save(tmp_path / "results", {"load": _times(), "build": _times()})
    done = CliRunner().invoke(cli, ["bench", "--show", "--json"])
    assert (done.exit_code, list(json.loads(done.stdout))) == (0, ["load", "build"])
    done = CliRunner().invoke(cli, ["bench", "load", "--show"])
    assert "0.500 s" in done.stdout
    assert "build" not in done.stdout


def test_the_programs_are_all_different() -> None:
    sources = programs.sources()
    assert len(set(sources.values())) == len(sources) > 4


def test_a_spread_keeps_the_order_of_its_samples() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, [3.0, 1.0, 2.0])
