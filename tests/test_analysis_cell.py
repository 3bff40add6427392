"""From runner output to roots, totals and differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfroots.analysis import cell
from bpfroots.programs.protocol import (
    JitedFunction,
    Loaded,
    LoadedProgram,
    MapDump,
    MapEntry,
    ProgLoad,
    RunReport,
    assemble,
    parse,
)
from bpfroots.results.model import Cell, Jit, JitImage, Root, RunResult, Verification, VerifierStats
from tests.loads import loaded as loads

CALL_BODY = bytes.fromhex("e8fb0f0000c3")  # call +0x1000, ret
BODY = JitedFunction("bpf_prog_00000000000000bb_body", "ffffffffc0002000", b"\xc3" + bytes(7))


def program(name: str, addr: int, **fields: object) -> LoadedProgram:
    entry = JitedFunction(f"bpf_prog_00000000000000aa_{name}", f"{addr:x}", CALL_BODY)
    values: dict[str, object] = {
        "section": "kprobe/f",
        "root": True,
        "verdict": "accept",
        "jited": [entry, BODY],
    }
    return LoadedProgram(name, **(values | fields))  # type: ignore[arg-type]


def dump(name: str, values: dict[int, int], type_: str = "array", step: int = 0) -> MapDump:
    entries = [
        MapEntry(key.to_bytes(4, "little").hex(), value.to_bytes(8, "little").hex())
        for key, value in values.items()
    ]
    return MapDump(name, type_, 4, 8, entries, step)


@pytest.mark.parametrize(
    ("section", "type_"),
    [
        ("kprobe/__set_task_comm", "kprobe"),
        ("tracepoint/sched/sched_switch", "tracepoint"),
        ("cgroup_skb/ingress", "cgroup_skb/ingress"),
        ("xdp", "xdp"),
        ("?tc", "tc"),
        ("fentry.s/f", "fentry.s"),
        ("", ""),
    ],
)
def test_section_type(section: str, type_: str) -> None:
    assert cell.section_type(section) == type_


def roots_of(loaded: Loaded, inputs: dict[int, str] | None = None) -> list[Root]:
    code = cell.Code(loaded)
    verified = {name: load for load in cell.verifications(loaded) for name in load.programs}
    return [cell.make_root(one, code, verified.get(one.name), inputs) for one in loaded.programs]


def test_root_of_an_accepted_program() -> None:
    one = program("one", 0xFFFFFFFFC0001000, xlated_bytes=64, run_cnt=3)
    loaded = loads([one], insns=12, runs=[RunReport("one", 4, 7, 100), RunReport("other", 5, 1, 1)])
    (root,) = roots_of(loaded, {4: "tcp"})
    assert (root.name, root.type, root.verdict, root.message, root.run_cnt) == (
        "one",
        "kprobe",
        "accept",
        "",
        3,
    )
    assert root.verifier.processed_insns == 12
    assert root.jit.images[0].calls == ["bpf_prog_body"]
    assert root.runs == [RunResult("tcp", 7)]


def test_a_refusal_without_a_message_names_the_error() -> None:
    refused = program("one", 0, verdict="reject", jited=[])
    (root,) = roots_of(loads([refused]))
    assert root.message.startswith("EACCES without a message of the verifier, which came to its end")
    told = loads([refused], logs={"one": "R1 !read_ok\nprocessed 0 insns\n"})
    assert roots_of(told)[0].message == "R1 !read_ok"
    owned = program("one", 0, verdict="reject", jited=[], accepted_alone=True)
    assert "accepted when it is loaded alone" in roots_of(loads([owned]))[0].message


def test_a_program_the_kernel_was_not_asked_about_has_no_verdict() -> None:
    unknown = program("one", 0, verdict="", errno=3, error="extern 'f': not found", jited=[])
    loaded = loads([unknown, program("two", 0x1000)])
    assert loaded.verdict == ""
    assert [root.verdict for root in roots_of(loaded)] == ["", "accept"]
    assert roots_of(loaded)[0].message == "extern 'f': not found"
    assert [load.programs for load in cell.verifications(loaded)] == [["two"]]


_GROUPS = [["a1", "a2"], ["b1", "b2"]]
_INSNS = {"a1": 94, "b1": 188, "alone": 4}


def _grouped() -> Loaded:
    names = ["a1", "a2", "b1", "b2", "alone"]
    programs = [program(name, 0xFFFFFFFFC0001000 + 256 * n) for n, name in enumerate(names)]
    return loads(programs, groups=_GROUPS, insns=_INSNS)


def test_every_load_counts_once() -> None:
    """Two groups and a program that loads alone: 94, 188 and 4, whatever the number of roots in each."""
    loaded = _grouped()
    verified = cell.verifications(loaded)
    assert [load.programs for load in verified] == [*_GROUPS, ["alone"]]
    cost = cell.total_cost(roots_of(loaded), [], verified)
    assert (cost.processed_insns, cost.total_states) == (286, 6)


@pytest.mark.parametrize("gone", range(3))
def test_a_load_that_is_left_out_is_missed(gone: int) -> None:
    """The kernel's own count of each load is beside ours."""
    loaded = _grouped()
    verified = cell.verifications(loaded)
    whole = Cell("c", "k", "multi_root", outcome="pass", verdict="accept", verifications=verified)
    whole.cost = cell.total_cost(roots_of(loaded), [], verified)
    assert cell.miscounted(whole) == ""
    whole.cost = cell.total_cost(roots_of(loaded), [], [load for n, load in enumerate(verified) if n != gone])
    assert "the kernel counts 286" in cell.miscounted(whole)


def test_a_refused_group_names_the_root_it_was_refused_for() -> None:
    programs = [program(name, 0, verdict="reject", jited=[]) for name in ("a", "b", "c")]
    log = (
        "Validating root#0 a() as program type 2...\nR1=ctx()\n"
        "Validating root#1 b() as program type 3...\nprogram of this type cannot use helper f#4\n"
    )
    loaded = loads(programs, groups=[["a", "b", "c"]], logs={"a": log})
    (load,) = cell.verifications(loaded)
    assert (load.failed, load.message) == ("b", "program of this type cannot use helper f#4")
    early = loads(
        programs, groups=[["a", "b", "c"]], logs={"a": "root#2: program type 30 is not supported\n"}
    )
    assert cell.verifications(early)[0].failed == "c"
    assert cell.verifications(loads(programs, groups=[["a", "b", "c"]]))[0].failed == ""


def test_logs_come_in_pieces_and_go_where_they_belong() -> None:
    lines = [
        b'{"type":"start","id":"x"}',
        b'{"type":"log","id":"x","load":1,"data":"b25l"}',
        b'{"type":"log","id":"x","load":0,"data":"YQ=="}',
        b'{"type":"log","id":"x","load":1,"data":"IHR3bw=="}',
        b'{"type":"load","id":"x","loads":[{"number":1,"notes":"n"},{"number":2,"notes":"stats"}],'
        b'"programs":[{"name":"p","section":"tc","root":true,"verdict":"accept","load":1}]}',
        b'{"type":"start","id":"y"}',
        b'{"type":"load","id":"y","loads":[{"number":1,"notes":"n"}],"programs":[]}',
    ]
    _, loaded, _, other = assemble(map(parse, lines))
    assert isinstance(loaded, Loaded)
    assert [loaded.log(load) for load in loaded.loads] == ["one two", "stats"]
    assert list(loaded.logs) == [1]  # of an attempt that came to nothing no log is kept
    assert isinstance(other, Loaded)
    assert other.logs == {}


def test_a_shared_image_counts_once() -> None:
    programs = [program("one", 0xFFFFFFFFC0001000), program("two", 0xFFFFFFFFC0001800)]
    cost = cell.total_cost(roots_of(loads(programs)), [], [])
    assert (cost.roots, cost.jit_images, cost.jit_bytes, cost.direct_calls) == (2, 3, 2 * 6 + 8, 2)


def test_an_image_is_disassembled_once() -> None:
    programs = [program("one", 0xFFFFFFFFC0001000), program("two", 0xFFFFFFFFC0001800)]
    code = cell.Code(loads(programs))
    (_, shared), (_, same) = (code.of(one) for one in programs)
    assert shared is same
    assert code.of(programs[0])[1] is shared


def test_images_without_an_address_are_not_taken_for_one() -> None:
    image = JitImage("s", "0", "hash", 10, 1, 0, 0)
    roots = [Root(name, "xdp", "accept", jit=Jit([image, image])) for name in ("a", "b")]
    verified = [Verification([name], "accept", verifier=VerifierStats(5, 2)) for name in ("a", "b", "c")]
    cost = cell.total_cost(roots, roots[:1], verified)
    assert (cost.roots, cost.jit_images, cost.jit_bytes, cost.processed_insns) == (2, 6, 60, 15)


def test_programs_that_were_loaded_one_after_the_other_are_no_targets() -> None:
    """A tail call leads to what was at that place then, and who that was is not known."""
    jump = b"\xe9" + (0x1000 - 5 + 4).to_bytes(4, "little")
    at = "ffffffffc0000000"
    caller = JitedFunction("bpf_prog_1111111111111111_caller", at, jump)
    target = JitedFunction("bpf_prog_2222222222222222_target", "ffffffffc0001000", bytes(64))
    other = JitedFunction("bpf_prog_3333333333333333_other", at, b"\xc3")
    together = [program(one.symbol[26:], 0, jited=[one]) for one in (caller, target)]
    same_place = program("other", 0, jited=[other])
    refused = program("refused", 0, jited=[], verdict="reject")
    names = []
    for programs in (together, [*together, same_place], [*together, refused]):
        names.append(cell.Code(loads(programs)).of(programs[0])[0].asm.split()[-1])
    assert names == ["bpf_prog_target+0x4", "<text0>", "<text0>"]


def test_another_image_at_a_reused_address_is_another() -> None:
    first, second = (JitImage("s", "ffffffffc0001000", digest, 10, 0, 0, 0) for digest in ("one", "two"))
    roots = [Root(name, "xdp", "accept", jit=Jit([image])) for name, image in (("a", first), ("b", second))]
    assert cell.total_cost(roots, [], []).jit_images == 2


def test_artefacts_hold_everything() -> None:
    one = program("one", 0xFFFFFFFFC0001000, xlated="0: exit\n")
    loaded = loads([one], logs={"one": "log\n"})
    files = cell.artefacts(loaded.programs[0], cell.Code(loaded))
    assert set(files) == {f"one.{name}" for name in ("verifier.log", "xlated.txt", "jited.bin", "jited.asm")}
    assert files["one.verifier.log"] == b"log\n"
    assert files["one.jited.bin"] == CALL_BODY + BODY.code
    assert b"; bpf_prog_body addr=ffffffffc0002000 bytes=8 file+0x6\n" in files["one.jited.asm"]
    unknown = program("one", 0, verdict="", jited=[])
    assert cell.artefacts(unknown, cell.Code(loads([unknown]))) == {}


def test_a_log_that_did_not_come_whole_is_its_statistics() -> None:
    one = program("one", 0, load=3, jited=[])
    loaded = Loaded("x", [ProgLoad(3, "processed 9 insns\n", truncated=True)], [one])
    assert cell.artefacts(one, cell.Code(loaded)) == {"one.verifier.log": b"processed 9 insns\n"}
    assert cell.verifications(loaded)[0].verifier.truncated


def test_equal_results_in_words() -> None:
    a = [dump("results", {0: 3, 1: 4}), dump("tail.rodata", {0: 1}), dump("progs", {0: 9}, "prog_array")]
    b = [dump("results", {0: 3, 1: 5}), dump("other.rodata", {0: 2}), dump("progs", {0: 8}, "prog_array")]
    assert cell.equal_results(a, a, ["results"]) == []
    assert cell.equal_results(a, b, ["results"]) == ["results[1]: 4 and 5"]
    assert cell.equal_results(a, b) == ["results[1]: 4 and 5"]
    assert cell.equal_results(a, [], ["results"]) == ["results: only in the first"]
    assert cell.equal_results([], [], ["results"]) == ["results: in neither"]
    assert cell.equal_results(a, [dump("results", {0: 3})], ["results"]) == ["results[1]: 4 and missing"]


def test_global_data_is_one_map_under_any_object_name() -> None:
    a, b = [dump("example.bss", {0: 1})], [dump("tail.bss", {0: 2})]
    assert cell.equal_results(a, b) == [".bss[0]: 1 and 2"]


def test_every_reading_counts() -> None:
    a = [dump("m", {0: 1}, step=3), dump("m", {0: 2}, step=5)]
    assert cell.equal_results(a, [a[0], dump("m", {0: 9}, step=5)]) == ["m (reading 2)[0]: 2 and 9"]
    assert cell.equal_results(a, a[:1]) == ["m: read 2 and 1 times"]


def test_per_cpu_values_add_up() -> None:
    def per_cpu(*values: int) -> list[MapDump]:
        value = b"".join(value.to_bytes(8, "little") for value in values).hex()
        return [MapDump("m", "percpu_array", 4, 8, [MapEntry("00000000", value)])]

    assert cell.equal_results(per_cpu(1, 2), per_cpu(3, 0)) == []
    assert cell.equal_results(per_cpu(1, 2), per_cpu(3, 1)) == ["m[0]: 3 and 4"]


def guest(name: str) -> list[Loaded]:
    """What the runner wrote in a guest with Linux 6.12 and retpolines."""
    lines = (Path(__file__).parent / "golden" / "runner" / f"{name}.jsonl").read_bytes().splitlines()
    return [line for line in assemble(map(parse, lines)) if isinstance(line, Loaded)]


def test_tail_calls_of_a_guest() -> None:
    (loaded,) = guest("tail_call")
    code = cell.Code(loaded)
    roots = {root.name: root for root in roots_of(loaded)}
    figures = {
        name: (image.direct_calls, image.indirect_branches, image.retpoline_calls)
        for name, root in roots.items()
        for image in root.jit.images
    }
    assert figures == {"target": (0, 0, 0), "constant_index": (0, 0, 0), "variable_index": (0, 1, 1)}
    (program,) = (program for program in loaded.programs if program.name == "constant_index")
    # The poked jump enters the target behind its prologue (X86_TAIL_CALL_OFFSET).
    assert b"jmp bpf_prog_target+0x" in cell.artefacts(program, code)["constant_index.jited.asm"]


def test_duplicates_of_a_guest() -> None:
    """Each root has its own copy of the subprogram, equal but for where it is."""
    for loaded in guest("accept"):
        roots = roots_of(loaded)
        copies = [root.jit.images[1] for root in roots]
        assert len({image.addr for image in copies}) == len(roots) > 1
        assert len({image.sha256 for image in copies}) == 1
        assert all(root.jit.images[0].calls == [copies[0].symbol] for root in roots)
        cost = cell.total_cost(roots, [], cell.verifications(loaded))
        assert cost.jit_images == 2 * len(roots)
        assert cost.processed_insns == sum(load.verified_insns for load in loaded.loads)
