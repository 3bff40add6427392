"""Corpora: what a file names is found and built, and what makes no sense is told."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bpfroots.ab import corpus
from bpfroots.ab.pair import corpora
from bpfroots.errors import UserError
from bpfroots.jobs import run as job
from bpfroots.progress import Progress
from bpfroots.results.request import Cases, Objects, Request, Together

_C = 'char x[] __attribute__((section("license"))) = "GPL";'


def _read(path: Path, text: str, linux: Path | None = None) -> Objects | Cases:
    file = path / "mine.toml"
    file.write_text(text)
    return corpus.read(str(file), lambda number: (path, linux or path)[number], Progress(io.StringIO()))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "src"
    (directory / "out").mkdir(parents=True)
    for name in ("a.bpf.c", "b.bpf.c", "out/c.bpf.c"):
        (directory / name).write_text(_C)
    return directory


def test_objects_are_chosen_by_patterns(tmp_path: Path, source: Path) -> None:
    found = _read(
        tmp_path,
        'source = "src"\nobjects = ["**/*.bpf.c"]\nexclude = ["b*"]\ninclude = ["out"]\nas_is = true\n'
        "timeout_s = 5.0\n[globals]\nrate = 7\non = true\n",
    )
    assert isinstance(found, Objects)
    assert [Path(path).name for path in found.paths] == ["a.bpf.c", "c.bpf.c"]
    assert (found.name, found.fixups, found.timeout_s) == ("mine", False, 5.0)
    assert found.globals == {"rate": "7", "on": "true"}
    assert found.include == (str(source / "out"),)
    assert found.any_verdict


def test_names_begin_with_the_corpus(tmp_path: Path, source: Path) -> None:
    mine = _read(tmp_path, 'source = "src"\nobjects = ["*.bpf.c"]')
    given = Objects((str(source / "out/c.bpf.c"),), any_verdict=True)
    what = Together((given, mine, Cases("example/kprobe+cgroup_skb", ("duplicate",))))
    named = [spec.name for spec in job.specs_of(Request((), what))]
    assert named[:4] == ["load/c.bpf.c", "mine/a.bpf.c", "mine/b.bpf.c", "example/kprobe+cgroup_skb"]
    assert [corpora(what)(name) for name in named[:4]] == ["", "mine", "mine", "cases"]
    only = Together(what.parts, ("mine/b.bpf.c",))
    assert [spec.name for spec in job.specs_of(Request((), only))] == ["mine/b.bpf.c"]


def test_it_is_built_first(tmp_path: Path, source: Path) -> None:
    found = _read(
        tmp_path, 'source = "src"\nbuild = ["cp", "a.bpf.c", "made.bpf.c"]\nobjects = ["made.bpf.c"]'
    )
    assert isinstance(found, Objects)
    assert found.paths == (str(source / "made.bpf.c"),)


def test_the_tree_under_test(tmp_path: Path, source: Path) -> None:
    found = _read(tmp_path, 'source = "{linux}/out"\nobjects = ["*.c"]', linux=source)
    assert isinstance(found, Objects)
    assert found.paths == (str(source / "out/c.bpf.c"),)


def test_the_tree_of_the_first_kernel(tmp_path: Path, source: Path) -> None:
    found = _read(tmp_path, f'source = "{{base}}/{source.name}"\nobjects = ["a*.c"]', linux=source)
    assert isinstance(found, Objects)
    assert found.paths == (str(source / "a.bpf.c"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "exactly one of source and cases"),
        ('source = "src"\ncases = "x"', "exactly one of source and cases"),
        ('source = "nowhere"', "no directory"),
        ('source = "$NO_SUCH_VARIABLE_HERE/x"', "NO_SUCH_VARIABLE_HERE is not set"),
        ('source = "src"\nobjects = ["*.o"]', "no object in"),
        ('source = "src"\nbuild = ["false"]', "false fails in"),
        ('source = "src"\nbuild = ["no-such-command-here"]', "no such command"),
        ('source = "src"\nobject = "x"', "known keys"),
        ("source = ", "not TOML"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path: Path, source: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        _read(tmp_path, text)
    assert told in error.value.render()


def test_those_that_come_with_it_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bpf/objs").mkdir(parents=True)
    for variable in ("LIBBPF_TOOLS", "CILIUM", "TETRAGON"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert {"cases", "selftests", "libbpf-tools", "cilium", "scx", "tetragon"} <= set(corpus.names())
    for name in corpus.names():
        assert corpus._read(Path("corpora") / f"{name}.toml")
    assert corpus.read("cases", lambda _: Path(), Progress(io.StringIO())) == Cases("")


def test_a_word_that_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert corpus.is_corpus("selftests")
    assert "selftests" in corpus.unknown("selftest").render()
    (tmp_path / "selftests").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not corpus.is_corpus("selftests")
