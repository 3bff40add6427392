"""Cases, rendering, compiling, ELF facts: all but the guest."""

from __future__ import annotations

import dataclasses
import io
import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.cache import Cache
from bpfroots.errors import InfraError, UserError
from bpfroots.images import Image
from bpfroots.jobs import compiled
from bpfroots.jobs.compiled import compile_cells
from bpfroots.jobs.judge import reproduce
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.objects import object_cells
from bpfroots.jobs.spec import case_cells
from bpfroots.kernels import kconfig
from bpfroots.programs import cases, clang, elf, packets, protocol
from bpfroots.programs import compile as compiling
from bpfroots.programs.cases import Case
from bpfroots.programs.render import render
from bpfroots.programs.roots import KINDS
from bpfroots.progress import Progress
from bpfroots.results.request import Objects
from tests import ROOT

_TINY = b'char LICENSE[] __attribute__((section("license"))) = "GPL";\n'
_PROGRAM = _TINY + b'__attribute__((section("xdp"))) int pass_all(void *ctx) { return 2; }\n'


@pytest.fixture
def tools(tmp_path: Path) -> compiling.Toolchain:
    headers = tmp_path / "headers"
    headers.mkdir()
    return compiling.toolchain(headers, headers, "no headers")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", "objects")


def test_every_case_renders_in_both_forms() -> None:
    for case in cases.all_cases():
        text = render(case, "subprog")
        assert all(f"int {name}(" in text for name in case.root_names)
        assert "bpf_tail_call" not in text
        assert text == render(case, "subprog")
        if not case.not_expressible("tail_call"):
            assert "bpf_tail_call" in render(case, "tail")


def test_the_example_is_there_in_all_its_forms() -> None:
    names = {case.name for case in cases.all_cases()}
    assert {
        "example/kprobe+tracepoint",
        "example/kprobe+cgroup_skb",
        "example/kprobe+tracepoint+cgroup_skb",
        "example/map_values-kprobe+tracepoint",
    } <= names


def test_roots_of_one_kind_are_numbered() -> None:
    case = next(case for case in cases.all_cases() if case.name == "body/packet_parser-tc+tc")
    assert case.root_names == ["on_tc0", "on_tc1"]


def test_select_by_words() -> None:
    names = {case.name for case in cases.select("example and not map_values")}
    assert "example/kprobe+tracepoint" in names
    assert not any("map_values" in name for name in names)
    assert {case.name for case in cases.select("body/loop-tc+xdp")} == {"body/loop-tc+xdp"}


@pytest.mark.parametrize("expression", ["nothing-like-it", "(", "example and"])
def test_select_says_what_is_wrong(expression: str) -> None:
    with pytest.raises(UserError):
        cases.select(expression)


def test_unknown_mechanism() -> None:
    with pytest.raises(UserError, match="unknown mechanism 'telepathy'"):
        cases.mechanisms(["telepathy"])


def _family(tmp_path: Path, text: str) -> list[Case]:
    path = tmp_path / "family.toml"
    path.write_text(text)
    return cases._load_family(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[case]]\nname = "a"\nroots = ["kprobe"]\ntemplate = "nope"', "no template 'nope'"),
        ('[[case]]\nname = "a"\nroots = ["kprobes"]\ntemplate = "time"', "unknown root kind kprobes"),
        ('[[case]]\nname = "a"\nroots = []\ntemplate = "time"', "unknown root kind"),
        ('[[case]]\nname = "a"\nroots = ["kprobe"]\ntempl = "time"', "unknown field `templ`"),
        ("[[case", "family.toml"),
    ],
)
def test_bad_definitions_name_file_and_fault(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        _family(tmp_path, text)
    assert "family.toml" in caught.value.message


def test_a_known_fault_is_noted_per_mechanism(tmp_path: Path) -> None:
    text = '[[case]]\nname = "a"\nroots = ["kprobe"]\ntemplate = "time"\n[case.expect.fd_name]\nxfail = "why"'
    (case,) = _family(tmp_path, text)
    expected = {spec.mechanism: spec.expected for spec in case_cells([case], protocol.MECHANISMS)}
    assert (expected["fd_name"].verdict, expected["fd_name"].xfail) == ("accept", "why")
    assert expected["duplicate"].xfail == ""
    assert case.describe()["mechanisms"]["fd_name"]["xfail"] == "why"


_VERSIONS = """
[[case]]
name = "a"
roots = ["kprobe", "tc"]
template = "time"
since = "6.4"
options = ["CRYPTO"]
[[case.expect.duplicate]]
before = "6.12.5"
verdict = "reject"
message = "old"
[[case.expect.duplicate]]
since = "7.3"
verdict = "reject"
message = "new"
"""


def test_what_is_expected_depends_on_the_version(tmp_path: Path) -> None:
    (case,) = _family(tmp_path, _VERSIONS)
    said = {
        release: (one.verdict, one.message)
        for release in ("6.12.4", "6.12.5", "7.2.12", "7.3.0-rc1", "7.3.4+deb13-cloud-amd64", "10.0", "")
        for one in [case.expectation("duplicate", release)]
    }
    old, new, between = ("reject", "old"), ("reject", "new"), ("accept", "")
    assert list(said.values()) == [old, between, between, new, new, new, new]
    assert case.expectation("tail_call", "6.12.4").verdict == "accept"
    spec, *_ = case_cells([case], ["duplicate"])
    assert spec.on("6.12.4", None).expected.message == "old"
    described = case.describe()["mechanisms"]
    assert [one["message"] for one in described["duplicate"]["versions"]] == ["old", "new"]
    assert "versions" not in described["tail_call"]


def test_a_case_names_what_a_kernel_does_not_have(tmp_path: Path) -> None:
    (case,) = _family(tmp_path, _VERSIONS)
    options = {option: "y" for kind in case.kinds for option in kind.options} | {"CRYPTO": "m"}
    assert case.missing_in("6.12", options) == ""
    assert case.missing_in("6.12", None) == ""
    assert case.missing_in("6.1.192", options) == "Linux 6.4"
    for option in options:
        without = {name: value for name, value in options.items() if name != option}
        assert case.missing_in("6.12", without) == f"CONFIG_{option}"


def test_what_roots_need_is_among_the_options_of_cases() -> None:
    asked = kconfig.read_fragments([ROOT / "kernels/config/cases.config"])
    needed = {option for kind in KINDS.values() for option in kind.options}
    assert needed <= asked.keys()


def test_hits_say_which_root_did_not_run() -> None:
    case = next(case for case in cases.all_cases() if case.name == "example/kprobe+cgroup_skb")
    assert case.hits_wrong([3, 3]) == ""
    assert case.hits_wrong([3, 0]) == "root on_cgroup_skb ran 0 times, expected 3"
    assert case.hits_wrong([4, 3]) == "root on_kprobe ran 4 times, expected 3"


def test_compile_caches_by_content(tools: compiling.Toolchain, cache: Cache) -> None:
    first = compiling.compile_source(tools, cache, _PROGRAM, "tiny.bpf.c")
    stamp = first.stat().st_mtime_ns
    assert compiling.compile_source(tools, cache, _PROGRAM, "tiny.bpf.c") == first
    assert first.stat().st_mtime_ns == stamp
    assert compiling.compile_source(tools, cache, _PROGRAM + b"\n", "tiny.bpf.c") != first
    assert elf.programs(first) == [elf.ElfProgram("pass_all", "xdp")]


def test_compile_is_the_same_anywhere(tools: compiling.Toolchain, tmp_path: Path) -> None:
    built = [
        compiling.compile_source(
            tools, Cache(tmp_path / name, "objects"), _PROGRAM, "tiny.bpf.c"
        ).read_bytes()
        for name in ("a", "b")
    ]
    assert built[0] == built[1]


def test_compile_sees_a_changed_header(tools: compiling.Toolchain, cache: Cache, tmp_path: Path) -> None:
    near = tmp_path / "near"
    near.mkdir()
    (near / "mine.h").write_text("#define RET 1\n")
    source = b'#include "mine.h"\n' + _PROGRAM.replace(b"return 2", b"return RET")
    first = compiling.compile_source(tools, cache, source, "tiny.bpf.c", [near])
    (near / "mine.h").write_text("#define RET 2\n")
    assert (
        compiling.compile_source(tools, cache, source, "tiny.bpf.c", [near]).read_bytes()
        != first.read_bytes()
    )


def test_compile_sees_a_changed_header_wherever_it_is(
    tools: compiling.Toolchain, cache: Cache, tmp_path: Path
) -> None:
    """Below the source or beside it, included by another one, with a name that make would write otherwise."""
    near = tmp_path / "near"
    header = near / "sub" / "a b#$c.inc"
    header.parent.mkdir(parents=True)
    (tmp_path / "outer.h").write_text(f'#include "near/sub/{header.name}"\n')
    header.write_text("#define RET 1\n")
    source = b'#include "../outer.h"\n' + _PROGRAM.replace(b"return 2", b"return RET")
    first = compiling.compile_source(tools, cache, source, "tiny.bpf.c", [near])
    assert compiling.compile_source(tools, cache, source, "tiny.bpf.c", [near]) == first
    (near / "unused.h").write_text("")
    assert compiling.compile_source(tools, cache, source, "tiny.bpf.c", [near]) == first
    header.write_text("#define RET 2\n")
    assert compiling.compile_source(tools, cache, source, "tiny.bpf.c", [near]) != first


def test_compile_finds_the_headers_of_this_architecture(
    tools: compiling.Toolchain, cache: Cache, tmp_path: Path
) -> None:
    source = b"#include <linux/types.h>\n" + _PROGRAM.replace(b"void *ctx", b"__u64 *ctx")
    built = compiling.compile_source(tools, cache, source, "uapi.bpf.c", [tmp_path])
    assert elf.programs(built) == [elf.ElfProgram("pass_all", "xdp")]
    without = dataclasses.replace(tools, system=())
    with pytest.raises(UserError, match=r"'asm/types.h' file not found"):
        compiling.compile_source(without, cache, source, "uapi.bpf.c", [tmp_path])


def test_the_headers_of_this_machine_come_last(
    tools: compiling.Toolchain, cache: Cache, tmp_path: Path
) -> None:
    (tmp_path / "errno.h").write_text("#define MINE 2\n")
    source = b"#include <errno.h>\n" + _PROGRAM.replace(b"return 2", b"return MINE")
    assert compiling.compile_source(tools, cache, source, "tiny.bpf.c", [tmp_path]).is_file()


def test_an_object_is_kept_apart_by_where_headers_come_from(tools: compiling.Toolchain, cache: Cache) -> None:
    other = dataclasses.replace(tools, system=(*tools.system, Path("/opt/include")))
    built = [compiling.compile_source(each, cache, _PROGRAM, "tiny.bpf.c") for each in (tools, other)]
    assert built[0] != built[1]


def test_compile_error_is_one_line_with_the_place(tools: compiling.Toolchain, cache: Cache) -> None:
    with pytest.raises(UserError) as caught:
        compiling.compile_source(tools, cache, _TINY + b"int f( {\n", "broken.bpf.c")
    assert caught.value.message.startswith("broken.bpf.c:2:")
    assert caught.value.exit_code == 2


def test_compile_error_in_a_header_names_the_header(
    tools: compiling.Toolchain, cache: Cache, tmp_path: Path
) -> None:
    (tmp_path / "bad.h").write_text("int f( {\n")
    with pytest.raises(UserError) as caught:
        compiling.compile_source(tools, cache, b'\n#include "bad.h"\n' + _TINY, "fine.bpf.c", [tmp_path])
    assert caught.value.message.startswith(f"{tmp_path}/bad.h:1:")


def test_a_source_is_the_bytes_that_it_is(tools: compiling.Toolchain, cache: Cache, tmp_path: Path) -> None:
    """Not text: a name in ISO 8859-1, the line ends of another system, what no encoding has."""
    source = b"/* M\xfcller, \xff\xfe */\r\n" + _PROGRAM
    file = tmp_path / "mine.bpf.c"
    file.write_bytes(source)
    (spec,) = object_cells(Objects(tuple(map(str, [file]))))
    assert spec.program.source == source
    built = compiling.compile_source(tools, cache, source, "mine.bpf.c")
    assert built.with_name("mine.bpf.c").read_bytes() == source
    assert elf.programs(built) == [elf.ElfProgram("pass_all", "xdp")]
    assert compiling.compile_source(tools, cache, source.replace(b"\xfc", b"\xf6"), "mine.bpf.c") != built


def test_equal_sources_in_two_places_have_headers_of_their_own(
    tools: compiling.Toolchain, cache: Cache, tmp_path: Path
) -> None:
    files = [tmp_path / place / "mine.bpf.c" for place in ("a", "b")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        (file.parent / "mine.h").write_text(f"#define RET {number}\n")
        file.write_bytes(b'#include "mine.h"\n' + _PROGRAM.replace(b"return 2", b"return RET"))
    kit = Kit([], Image(tmp_path, ""), "", lambda: tools, cache)
    built = compile_cells(kit, object_cells(Objects(tuple(map(str, files))))).objects
    assert len({objects.program.read_bytes() for objects in built.values()}) == 2


def test_headers_in_other_directories_are_part_of_the_command(
    tools: compiling.Toolchain, cache: Cache, tmp_path: Path
) -> None:
    file, include = tmp_path / "mine.bpf.c", tmp_path / "include"
    file.write_bytes(b'#include "mine.h"\n' + _PROGRAM.replace(b"return 2", b"return RET"))
    include.mkdir()
    (include / "mine.h").write_text("#define RET 1\n")
    (spec,) = object_cells(Objects((str(file),), include=(str(include),)))
    assert f" -I {include} " in reproduce(spec, "baseline")
    kit = Kit([], Image(tmp_path, ""), "", lambda: tools, cache)
    assert compile_cells(kit, [spec]).objects
    with pytest.raises(UserError, match=r"'mine\.h' file not found"):
        compile_cells(kit, object_cells(Objects((str(file),))))


def test_many_sources_tell_how_far_they_are(
    tools: compiling.Toolchain, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_MANY", 2)
    files = [tmp_path / f"{name}.bpf.c" for name in "ab"]
    for file in files:
        file.write_bytes(_PROGRAM)
    kit = Kit([], Image(tmp_path, ""), "", lambda: tools, cache)
    for count, said in ((1, 0), (2, 2)):
        told = io.StringIO()
        compile_cells(kit, object_cells(Objects(tuple(map(str, files[:count])))), Progress(told))
        assert told.getvalue().count("programs  2 sources") == said


def test_an_empty_source_is_compiled_as_any(tools: compiling.Toolchain, cache: Cache, tmp_path: Path) -> None:
    file = tmp_path / "empty.bpf.c"
    file.touch()
    kit = Kit([], Image(tmp_path, ""), "", lambda: tools, cache)
    (built,) = compile_cells(kit, object_cells(Objects(tuple(map(str, [file]))))).objects.values()
    assert built.program.is_file()


def test_no_clang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLANG", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InfraError, match="no clang") as caught:
        clang.find()
    assert caught.value.exit_code == 4
    assert caught.value.hint == "bpfroots setup"


@pytest.fixture(scope="module")
def object_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("elf")
    tools = compiling.toolchain(directory, directory, "no headers")
    built = compiling.compile_source(tools, Cache(directory / "cache", "objects"), _PROGRAM, "tiny.bpf.c")
    return built.read_bytes()


@given(data=st.data())
def test_a_truncated_elf_is_a_user_error(
    object_bytes: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    size = data.draw(st.integers(0, len(object_bytes) - 1))
    path = tmp_path_factory.getbasetemp() / "truncated.bpf.o"
    path.write_bytes(object_bytes[:size])
    with pytest.raises(UserError):
        elf.programs(path)


@given(junk=st.binary(max_size=400))
def test_junk_is_a_user_error(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.bpf.o"
    path.write_bytes(junk)
    with pytest.raises(UserError):
        elf.programs(path)


def test_packets_are_long_enough_for_test_run() -> None:
    assert all(len(packet) >= 14 for packet in packets.PACKETS.values())
    assert len(set(packets.PACKETS.values())) == len(packets.PACKETS)


def test_protocol_lines_round_trip() -> None:
    loaded = protocol.Loaded(id="a#b", programs=[protocol.LoadedProgram("p", "xdp", True, "accept")])
    for line in (protocol.Hello(1, "1.5", "6.12", {}), protocol.Start("a#b"), loaded, protocol.Done(1)):
        assert protocol.parse(msgspec.json.encode(line)) == line
    with pytest.raises(msgspec.DecodeError):
        protocol.parse(b"Segmentation fault")


def test_cells_of_a_case_are_distinct() -> None:
    cells = case_cells(cases.all_cases(), protocol.MECHANISMS)
    for a, b in itertools.pairwise(sorted(cell.key for cell in cells)):
        assert a != b
