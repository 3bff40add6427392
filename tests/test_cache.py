"""bpfroots.cache: made once, never half, never silently wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfroots.cache import Cache
from bpfroots.errors import InfraError


def _write(content: dict[str, bytes]) -> Callable[[Path], None]:
    def populate(directory: Path) -> None:
        for name, data in content.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    return populate


def _never(directory: Path) -> None:
    raise AssertionError(directory)


def _left(cache: Cache) -> list[str]:
    return [p.name for p in (cache.directory / ".tmp").iterdir()]


def test_made_once_and_private(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "root", "kind")
    entry = cache.get("key", _write({"a": b"1", "d/b": b"2"}))
    assert (entry / "d/b").read_bytes() == b"2"
    assert cache.get("key", _never) == entry
    assert cache.peek("key") == entry
    assert cache.peek("other") is None
    for path in (tmp_path / "root", cache.directory, entry):
        assert path.stat().st_mode & 0o777 == 0o700
    cache.discard("key")
    cache.discard("key")
    assert cache.peek("key") is None


def _truncate(path: Path) -> None:
    os.truncate(path, 3)


def _overwrite(path: Path) -> None:
    path.write_bytes(b"X" * path.stat().st_size)


def _to_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_truncate, "has 3 bytes instead of 5"),
        (_overwrite, "has changed"),
        (Path.unlink, "missing"),
        (_to_link, "no regular file"),
    ],
)
def test_corrupt_entry_is_said_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    lines: list[str] = []
    cache = Cache(tmp_path, "kind", lines.append)
    entry = cache.get("key", _write({"file": b"12345", "other": b"x"}))
    damage(entry / "file")
    assert cache.peek("key") is None
    assert (cache.get("key", _write({"file": b"12345"})) / "file").read_bytes() == b"12345"
    assert len(lines) == 1
    assert "file" in lines[0]
    assert said in lines[0]
    assert not (entry / "other").exists()


def test_damaged_manifest_and_link(tmp_path: Path) -> None:
    lines: list[str] = []
    cache = Cache(tmp_path, "kind", lines.append)

    def populate(directory: Path) -> None:
        (directory / "link").symlink_to("target")

    entry = cache.get("key", populate)
    (entry / "link").unlink()
    (entry / "link").symlink_to("elsewhere")
    cache.get("key", populate)
    os.truncate(entry / ".manifest.json", 5)
    cache.get("key", populate)
    (entry / ".manifest.json").unlink()
    cache.get("key", populate)
    assert [line.split("(")[1].split(":")[0] for line in lines] == [
        "link points elsewhere); making it again",
        "manifest unreadable",
        "no manifest); making it again",
    ]


def test_a_new_time_alone_is_no_damage(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "kind")
    entry = cache.get("key", _write({"file": b"12345"}))
    os.utime(entry / "file", ns=(1, 1))
    assert cache.get("key", _never) == entry


def test_verify_finds_what_a_start_does_not(tmp_path: Path) -> None:
    lines: list[str] = []
    cache = Cache(tmp_path, "kind", lines.append)
    populate = _write({"file": b"12345"})
    path = cache.get("key", populate) / "file"
    before = path.stat().st_mtime_ns
    path.write_bytes(b"12X45")
    os.utime(path, ns=(before, before))
    assert cache.get("key", _never)
    cache.get("key", populate, verify=True)
    assert path.read_bytes() == b"12345"
    assert len(lines) == 1


@settings(max_examples=40)
@given(
    content=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
            lambda name: name not in (".", "..", ".manifest.json") and len(name.encode()) < 200
        ),
        st.binary(min_size=1, max_size=200),
        min_size=1,
        max_size=5,
    ),
    data=st.data(),
)
def test_any_truncation_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes], data: st.DataObject
) -> None:
    lines: list[str] = []
    cache = Cache(tmp_path_factory.mktemp("c"), "kind", lines.append)
    entry = cache.get("key", _write(content))
    assert cache.get("key", _never) == entry
    name = data.draw(st.sampled_from(sorted(content)))
    os.truncate(entry / name, data.draw(st.integers(0, len(content[name]) - 1)))
    cache.get("key", _write(content))
    assert {p.name: p.read_bytes() for p in entry.iterdir() if p.name != ".manifest.json"} == content
    assert len(lines) == 1


def test_what_populate_raises_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "kind")

    def populate(directory: Path) -> None:
        (directory / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get("key", populate)
    assert _left(cache) == []
    assert cache.peek("key") is None


_MAKER = """
import signal, sys
from pathlib import Path
from bpfroots.cache import Cache
def populate(directory):
    (directory / "half").write_text("half")
    print("half", flush=True)
    signal.pause()
Cache(Path(sys.argv[1]), "kind").get(sys.argv[2], populate)
"""


def test_killed_maker_leaves_nothing_visible(tmp_path: Path) -> None:
    makers = []
    for key in ("one", "two"):
        maker = subprocess.Popen([sys.executable, "-c", _MAKER, tmp_path, key], stdout=subprocess.PIPE)
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"half\n"
        makers.append(maker)
    for maker in makers:
        maker.send_signal(signal.SIGKILL)
        maker.communicate()
    cache = Cache(tmp_path, "kind")
    assert cache.peek("one") is None
    assert sorted(_left(cache)) == ["one", "two"]
    entry = cache.get("one", _write({"whole": b"1"}))
    assert sorted(p.name for p in entry.iterdir()) == [".manifest.json", "whole"]
    assert _left(cache) == []  # also what the other one left


def test_a_running_maker_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _MAKER, tmp_path, "busy"], stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        maker.stdout.readline()
        cache = Cache(tmp_path, "kind")
        cache.get("key", _write({"a": b""}))
        assert _left(cache) == ["busy"]
        maker.kill()


def _count(root: Path, barrier: threading.Barrier) -> None:
    def populate(directory: Path) -> None:
        with (root / "log").open("a") as log:
            log.write("made\n")
        (directory / "a").touch()

    cache = Cache(root, "kind", lambda _: None)
    barrier.wait()
    cache.get("key", populate)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_concurrent_makers_make_once(tmp_path: Path, kind: str) -> None:
    if kind == "process":
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager:
            barrier = manager.Barrier(3)
            makers = [context.Process(target=_count, args=(tmp_path, barrier)) for _ in range(3)]
            for maker in makers:
                maker.start()
            for maker in makers:
                maker.join(60)
            assert [maker.exitcode for maker in makers] == [0, 0, 0]
    else:
        threads_barrier = threading.Barrier(3)
        threads = [threading.Thread(target=_count, args=(tmp_path, threads_barrier)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert (tmp_path / "log").read_text() == "made\n"


def test_waiting_is_said(tmp_path: Path) -> None:
    lines: list[str] = []
    waiting = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        waiting.set()

    cache = Cache(tmp_path, "build", say)
    order: list[str] = []

    def second() -> None:
        with cache.lock("baseline") as path:
            order.append(f"second sees {path.joinpath('mark').read_text()}")

    with cache.lock("baseline") as path:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        (path / "mark").write_text("first")
    thread.join(10)
    assert order == ["second sees first"]
    assert lines == ["waiting: another bpfroots is working on build baseline"]


def test_what_is_used_stays(tmp_path: Path) -> None:
    waiting = threading.Event()
    cache = Cache(tmp_path, "kind", lambda _: waiting.set())
    discarding = threading.Thread(target=cache.discard, args=("key",))
    with cache.using("key", _write({"file": b"x"})) as entry, cache.using("key", _write({})) as same:
        discarding.start()
        assert waiting.wait(10)
        assert same == entry
        assert (entry / "file").read_bytes() == b"x"
    discarding.join(10)
    assert not entry.exists()
    with cache.using("key", _write({"file": b"y"})) as again:
        assert (again / "file").read_bytes() == b"y"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "bpfroots", tmp_path], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_full_disk(small_disk: Path) -> None:
    cache = Cache(small_disk / "root", "kind")
    with pytest.raises(InfraError, match=r"root/kind: disk full, \d MiB free") as caught:
        cache.get("key", _write({"big": b"x" * 2**21}))
    assert "XDG_CACHE_HOME" in caught.value.hint
    assert _left(cache) == []
    assert cache.get("key", _write({"small": b"x"})).is_dir()


def test_no_room_for_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfraError, match="cannot be created"):
        Cache(tmp_path / "file", "kind")


def test_entries_by_their_last_use(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "kind", print)
    for age, key in enumerate(("a", "b", "c")):
        entry = cache.get(key, _write({}))
        os.utime(entry, (1000 + age, 1000 + age))
    assert cache.by_use() == [("c", 1002), ("b", 1001), ("a", 1000)]
    cache.used("a")
    cache.used("never")
    assert [key for key, _ in cache.by_use()] == ["a", "c", "b"]
    assert cache.peek("a") is not None


def test_a_look_does_not_wait_for_whoever_makes_it(tmp_path: Path) -> None:
    lines: list[str] = []

    def populate(out: Path) -> None:
        (out / "file").write_text("x")
        assert Cache(tmp_path, "kind", lines.append).peek("key") is None

    cache = Cache(tmp_path, "kind", lines.append)
    cache.get("key", populate)
    assert lines == []
    assert cache.peek("key") is not None
