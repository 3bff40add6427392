"""From runner output to roots, totals and differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis import cell
from harness.programs.protocol import JitedFunction, Loaded, MapDump, MapEntry, Program, Run, parse
from harness.results.model import Jit, JitImage, Root, RunResult, VerifierStats

CALL_BODY = bytes.fromhex("e8fb0f0000c3")  # call +0x1000, ret
BODY = JitedFunction("bpf_prog_00000000000000bb_body", "ffffffffc0002000", b"\xc3" + bytes(7))


def program(name: str, addr: int, **fields: object) -> Program:
    entry = JitedFunction(f"bpf_prog_00000000000000aa_{name}", f"{addr:x}", CALL_BODY)
    values: dict[str, object] = {
        "section": "kprobe/f",
        "root": True,
        "verdict": "accept",
        "jited": [entry, BODY],
    }
    return Program(name, **(values | fields))  # type: ignore[arg-type]


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


def test_root_of_an_accepted_program() -> None:
    one = program("one", 0xFFFFFFFFC0001000, xlated_bytes=64, verified_insns=12, run_cnt=3)
    loaded = Loaded("x", "accept", [one], runs=[Run("one", 4, 7, 100), Run("other", 5, 1, 1)])
    root = cell.make_root(one, cell.Code(loaded), {4: "tcp"})
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


def test_a_refusal_without_a_log_names_the_error() -> None:
    refused = program("one", 0, verdict="reject", errno=7, jited=[])
    assert cell.make_root(refused, cell.Code(Loaded("x", "reject", [refused]))).message.startswith("E2BIG")
    told = program("one", 0, verdict="reject", errno=13, jited=[], log="R1 !read_ok\nprocessed 0 insns\n")
    assert cell.make_root(told, cell.Code(Loaded("x", "reject", [told]))).message == "R1 !read_ok"


def test_a_shared_image_counts_once() -> None:
    programs = [program("one", 0xFFFFFFFFC0001000), program("two", 0xFFFFFFFFC0001800)]
    code = cell.Code(Loaded("x", "accept", programs))
    cost = cell.total_cost([cell.make_root(p, code) for p in programs], [])
    assert (cost.roots, cost.jit_images, cost.jit_bytes, cost.direct_calls) == (2, 3, 2 * 6 + 8, 2)


def test_an_image_is_disassembled_once() -> None:
    programs = [program("one", 0xFFFFFFFFC0001000), program("two", 0xFFFFFFFFC0001800)]
    code = cell.Code(Loaded("x", "accept", programs))
    (_, shared), (_, same) = (code.of(one) for one in programs)
    assert shared is same
    assert code.of(programs[0])[1] is shared


def test_images_without_an_address_are_not_taken_for_one() -> None:
    image = JitImage("s", "0", "hash", 10, 1, 0, 0)
    roots = [
        Root("r", "xdp", "accept", verifier=VerifierStats(5, 2), jit=Jit([image, image])) for _ in range(2)
    ]
    cost = cell.total_cost(roots, roots[:1])
    assert (cost.roots, cost.jit_images, cost.jit_bytes, cost.processed_insns) == (2, 6, 60, 15)


def test_another_image_at_a_reused_address_is_another() -> None:
    first, second = (JitImage("s", "ffffffffc0001000", digest, 10, 0, 0, 0) for digest in ("one", "two"))
    roots = [Root(name, "xdp", "accept", jit=Jit([image])) for name, image in (("a", first), ("b", second))]
    assert cell.total_cost(roots, []).jit_images == 2


def test_artefacts_hold_everything() -> None:
    one = program("one", 0xFFFFFFFFC0001000, log="log\n", xlated="0: exit\n")
    files = cell.artefacts(one, cell.Code(Loaded("x", "accept", [one])))
    assert set(files) == {f"one.{name}" for name in ("verifier.log", "xlated.txt", "jited.bin", "jited.asm")}
    assert files["one.jited.bin"] == CALL_BODY + BODY.code
    assert b"; bpf_prog_body addr=ffffffffc0002000 bytes=8 file+0x6\n" in files["one.jited.asm"]
    refused = program("one", 0, verdict="reject", jited=[])
    assert cell.artefacts(refused, cell.Code(Loaded("x", "reject", [refused]))) == {}


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
    lines = (Path(__file__).parent / "golden" / "jit" / f"guest-{name}.jsonl").read_bytes().splitlines()
    return [line for line in map(parse, lines) if isinstance(line, Loaded)]


def test_tail_calls_of_a_guest() -> None:
    (loaded,) = guest("tail-call")
    code = cell.Code(loaded)
    roots = {program.name: cell.make_root(program, code) for program in loaded.programs}
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
        code = cell.Code(loaded)
        roots = [cell.make_root(program, code) for program in loaded.programs]
        copies = [root.jit.images[1] for root in roots]
        assert len({image.addr for image in copies}) == len(roots) > 1
        assert len({image.sha256 for image in copies}) == 1
        assert all(root.jit.images[0].calls == [copies[0].symbol] for root in roots)
        cost = cell.total_cost(roots, [])
        assert cost.jit_images == 2 * len(roots)
        assert cost.processed_insns == sum(program.verified_insns for program in loaded.programs)
