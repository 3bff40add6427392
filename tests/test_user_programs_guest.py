"""Programs as users bring them (tests/programs, each after a public report): the answer each has to get."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bpfroots.jobs.kit import Kit

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]

PROGRAMS = Path(__file__).parent / "programs"
_DEADLINE = 600


class Answer(NamedTuple):
    """``verdicts`` by program; ``says`` has to be in the reason or a message, ``remark`` in a remark."""

    code: int
    outcome: str
    verdicts: dict[str, str]
    says: str = ""
    remark: str = ""


def _ran(*arguments: str | Path) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "load", *map(str, arguments), "--json"],
        capture_output=True,
        timeout=_DEADLINE,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def _verdicts(cell: dict[str, Any]) -> dict[str, str]:
    return {root["name"]: root["verdict"] for root in [*cell["roots"], *cell["targets"]]}


def _check(cell: dict[str, Any], answer: Answer) -> None:
    said = [cell["reason"], *(load.get("message", "") for load in cell["verifications"])]
    said += [root["message"] for root in cell["roots"]]
    assert (cell["outcome"], _verdicts(cell)) == (answer.outcome, answer.verdicts), said
    assert any(answer.says in text for text in said), said
    assert any(answer.remark in text for text in [*cell["remarks"], ""]), cell["remarks"]
    assert cell["verdict"] == ("" if answer.outcome == "error" else cell["verdict"])


_ONE_BY_ONE = {
    "01-unwind-too-large": Answer(
        1,
        "fail",
        {"flat": "reject", "by_callback": "accept"},
        "BPF program is too large. Processed 1000001 insn",
    ),
    "03-preempt-global": Answer(0, "pass", {"calls_global": "accept", "calls_static": "accept"}),
    "04b-kfunc-not-there-strong": Answer(
        2, "error", {"bold": ""}, "'bpf_teleport_task': not found in kernel"
    ),
    "06-helper-not-for-tc": Answer(
        1,
        "fail",
        {"on_kprobe": "accept", "on_tc": "reject"},
        "on_tc (tc): program of this type cannot use helper bpf_probe_read#4",
    ),
    "08-one-table-two-protos": Answer(
        1,
        "fail",
        {"enter": "accept", "leave": "reject"},
        "EINVAL without a message of the verifier; accepted when it is loaded alone",
    ),
    "09-one-table-two-types": Answer(
        1,
        "fail",
        {"ingress": "accept", "early": "reject"},
        "EINVAL without a message of the verifier; accepted when it is loaded alone",
    ),
    "10b-freplace-no-target": Answer(2, "error", {"better_slot": ""}, "attach program FD is not set"),
    "14-option-past-end": Answer(
        1,
        "fail",
        {"short_check": "reject", "full_check": "accept"},
        "R1 max value is outside of the allowed",
    ),
    "17-map-without-size": Answer(
        0, "pass", {"counts": "accept", "no_map_at_all": "accept"}, remark="map 'later_sized' has no size"
    ),
    "22-quantize-97": Answer(
        1,
        "fail",
        {"entry": "reject", "fbt": "reject"},
        "BPF program is too large. Processed 1000001 insn",
    ),
    "24-section-of-another-loader": Answer(
        2,
        "error",
        {"first": "", "second": "accept"},
        "missing BPF prog type, check ELF section name 's_BEGIN_1'",
    ),
    "25-maps-of-old": Answer(2, "error", {}, "legacy map definitions in 'maps' section"),
    "26-map-of-this-file": Answer(2, "error", {}, "map 'own': unsupported map linkage static"),
    "29b-usdt-header": Answer(
        0, "pass", {"done": "accept", "asks": "accept", "gets": "accept", "sleeps": "accept"}
    ),
    "29c-uapi-headers": Answer(0, "pass", {"drops_udp": "accept"}),
    "31b-scheduler": Answer(2, "error", {"gives": ""}, "sched_ext_ops is not found in kernel BTF"),
    "32-part-library": Answer(0, "pass", {"uses_it_here": "accept"}),
    "32-part-root": Answer(2, "error", {}, "adds"),
    "34-loud-source-line": Answer(1, "fail", {"shouts": "reject"}, "invalid mem access 'scalar'"),
    "34b-latin1-comment": Answer(0, "pass", {"lets_pass": "accept"}),
    "36-record-across-calls": Answer(
        1,
        "fail",
        {"hands_back": "accept", "from_tc": "accept", "keeps": "reject"},
        "Unreleased reference id=",
    ),
    "39-arena": Answer(0, "pass", {"keeps_pages": "accept"}, remark="map 'pages' gets the same address"),
    "38-may-sleep": Answer(
        1,
        "fail",
        {"patient": "accept", "hasty": "reject"},
        "sleepable helper bpf_copy_from_user#148 in non-sleepable prog",
    ),
}


@pytest.fixture(scope="module")
def together() -> tuple[int, dict[str, dict[str, Any]], str]:
    """All of them in one command: none may cost another its verdict."""
    code, found, _ = _ran(PROGRAMS, "--timeout", "120")
    return code, {cell["case"]: cell for cell in found["cells"]}, found["path"]


@pytest.mark.parametrize("name", _ONE_BY_ONE)
def test_each_gets_its_answer_among_all_others(
    name: str, together: tuple[int, dict[str, dict[str, Any]], str]
) -> None:
    _check(together[1][f"load/{name}.bpf.c"], _ONE_BY_ONE[name])


def test_every_program_has_an_answer() -> None:
    assert {f"{name}.bpf.c" for name in _ONE_BY_ONE} == {path.name for path in PROGRAMS.glob("*.bpf.c")} - {
        "groups.bpf.c"
    }


def test_the_worst_of_all_is_the_exit_code(together: tuple[int, Any, str]) -> None:
    assert together[0] == 2


def test_no_verdict_is_in_no_table_of_verdicts(together: tuple[int, dict[str, Any], str]) -> None:
    _, cells, path = together
    named = {
        line.split(",")[0].split(":")[0] for line in (Path(path) / "veristat.csv").read_text().splitlines()
    }
    for name, cell in cells.items():
        file = name.replace("/", ".")
        assert (file in named) == any(_verdicts(cell).values()), name


@pytest.mark.parametrize("name", ["01-unwind-too-large", "22-quantize-97"])
def test_a_million_instructions_are_no_crash(name: str, together: tuple[int, dict[str, Any], str]) -> None:
    """Verdict, message and statistics, whatever becomes of a log of 150 MiB."""
    cell = together[1][f"load/{name}.bpf.c"]
    for load in cell["verifications"]:
        if load["verdict"] == "reject":
            assert load["verifier"]["processed_insns"] == 1000001
            assert load["verifier"]["total_states"] > 10
            assert load["message"].startswith("BPF program is too large")


@pytest.mark.parametrize("name", _ONE_BY_ONE)
def test_alone_it_ends_with_its_own_code(name: str) -> None:
    answer = _ONE_BY_ONE[name]
    if answer.code == 0 or name in ("01-unwind-too-large", "22-quantize-97"):
        pytest.skip("is tried with the others")
    code, found, _ = _ran(PROGRAMS / f"{name}.bpf.c")
    assert code == answer.code
    _check(found["cells"][0], answer)


def test_as_is_a_map_without_size_is_no_verdict() -> None:
    code, found, _ = _ran(PROGRAMS / "17-map-without-size.bpf.c", "--as-is")
    says = "map 'later_sized': failed to create"
    _check(found["cells"][0], Answer(2, "error", {"counts": "", "no_map_at_all": ""}, says))
    assert code == 2


_GROUPS = {
    "06-helper-not-for-tc": Answer(
        1, "fail", {"on_kprobe": "reject", "on_tc": "reject"}, "got reject: on_tc (tc): program of this type"
    ),
    "36-record-across-calls": Answer(
        1,
        "fail",
        {"hands_back": "reject", "from_tc": "reject", "keeps": "reject"},
        "got reject: keeps (raw_tp): Unreleased reference id=",
    ),
    "38-may-sleep": Answer(
        1,
        "fail",
        {"patient": "accept", "hasty": "reject"},
        "hasty (lsm): sleepable helper bpf_copy_from_user#",
    ),
    "09-one-table-two-types": Answer(
        1, "fail", {"ingress": "accept", "early": "reject"}, "early (xdp): EINVAL"
    ),
}


@pytest.mark.parametrize("name", _GROUPS)
def test_a_refused_group_names_its_culprit(name: str) -> None:
    file = PROGRAMS / f"{name}.bpf.c"
    code, found, _ = _ran(file, "--kernel", "patched", "--mechanism", "multi_root")
    assert code == 1
    _check(found["cells"][0], _GROUPS[name])


def test_the_figures_of_several_groups_in_one_object_add_up() -> None:
    """Two groups and a program that is loaded alone: 94 + 188 + 4, as the kernel counts its loads."""
    code, found, _ = _ran(PROGRAMS / "groups.bpf.c", "--kernel", "patched", "--mechanism", "multi_root")
    (cell,) = found["cells"]
    loads = cell["verifications"]
    assert code == 0
    assert sorted(load["programs"] for load in loads) == [["a1", "a2"], ["alone"], ["b1", "b2"]]
    assert cell["cost"]["processed_insns"] == sum(load["kernel_insns"] for load in loads) == 286
    rows = [line.split(",") for line in (Path(found["path"]) / "veristat.csv").read_text().splitlines()[1:]]
    assert sum(int(row[4]) for row in rows) == 286
    assert {row[1] for row in rows} == {"a1+a2", "b1+b2", "alone"}


def test_two_mechanisms_and_two_kernels_stand_side_by_side() -> None:
    mechanisms = ("--mechanism", "duplicate", "--mechanism", "multi_root")
    kernels = ("--kernel", "baseline", "--kernel", "patched")
    code, found, _ = _ran(PROGRAMS / "groups.bpf.c", *mechanisms, *kernels)
    assert code == 0
    assert {(cell["kernel"], cell["mechanism"]): cell["outcome"] for cell in found["cells"]} == {
        ("baseline", "duplicate"): "pass",
        ("baseline", "multi_root"): "unsupported",
        ("patched", "duplicate"): "pass",
        ("patched", "multi_root"): "pass",
    }


def test_functions_that_were_inlined_are_a_remark(tmp_path: Path) -> None:
    source = (PROGRAMS / "groups.bpf.c").read_text()
    inlined = tmp_path / "inlined.bpf.c"
    inlined.write_text(source.replace("__attribute__((noinline))", "__attribute__((always_inline)) inline"))
    code, found, _ = _ran(inlined, "--kernel", "patched", "--mechanism", "multi_root")
    (cell,) = found["cells"]
    assert (code, cell["outcome"]) == (0, "pass")
    assert "share no image" in cell["remarks"][0]


def test_a_root_calls_a_library_where_both_declare_it(tmp_path: Path) -> None:
    declared = {
        "32-part-library.bpf.c": ("__attribute__((noinline)) int adds", "__bpf_export __noinline int adds"),
        "32-part-root.bpf.c": ("adds(__u32 a, __u32 b);", "adds(__u32 a, __u32 b) __bpf_import;"),
    }
    for name, change in declared.items():
        (tmp_path / name).write_text((PROGRAMS / name).read_text().replace(*change))
    for folder, answer in ((tmp_path, (0, "pass", "accept")), (PROGRAMS, (2, "error", ""))):
        how = ("--kernel", "patched", "--mechanism", "fd_name", "--lib", folder / "32-part-library.bpf.c")
        code, found, _ = _ran(folder / "32-part-root.bpf.c", *how)
        (cell,) = found["cells"]
        assert (code, cell["outcome"], cell["verdict"]) == answer, cell["reason"]
    assert "__bpf_import" in cell["hint"]


def test_an_extension_is_loaded_for_its_target(tmp_path: Path) -> None:
    """The target goes to the guest as well, and is loaded first."""
    target, extension = tmp_path / "target.bpf.c", tmp_path / "extension.bpf.c"
    target.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n'
        'char LICENSE[] SEC("license") = "GPL";\n'
        "__attribute__((noinline)) int replaced(struct xdp_md *ctx)\n{\n"
        '\tint ret = 0;\n\n\tasm volatile("" : "+r"(ret));\n\treturn ret;\n}\n'
        'SEC("xdp") int on_xdp(struct xdp_md *ctx)\n{\n\treturn replaced(ctx) ? XDP_DROP : XDP_PASS;\n}\n'
    )
    extension.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n'
        'char LICENSE[] SEC("license") = "GPL";\n'
        'SEC("freplace/replaced") int replacement(struct xdp_md *ctx)\n{\n\treturn 1;\n}\n'
    )
    code, document, _ = _ran(extension, "--target", target)
    (cell,) = document["cells"]
    assert (code, cell["outcome"], _verdicts(cell)) == (
        0,
        "pass",
        {"replacement": "accept", "on_xdp": "accept"},
    ), cell["reason"]
    code, document, _ = _ran(extension)
    (cell,) = document["cells"]
    assert (code, cell["verdict"]) == (2, ""), cell


def test_global_variables_can_be_set(tmp_path: Path) -> None:
    source = tmp_path / "sized.bpf.c"
    source.write_text("""
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
const volatile unsigned int turns = 1;
int total;
SEC("socket") int spins(struct __sk_buff *skb)
{
	for (unsigned int i = 0; i < turns && i < 1000; i++)
		total += i;
	return 0;
}
""")
    insns = {}
    for value in ("1", "100"):
        code, found, _ = _ran(source, "-G", f"turns={value}")
        assert code == 0
        insns[value] = found["cells"][0]["cost"]["processed_insns"]
    assert insns["100"] > 10 * insns["1"] / 2
    code, found, _ = _ran(source, "-G", "missing=1")
    assert (code, found["cells"][0]["outcome"]) == (2, "error")
    assert "no global variable of that name" in found["cells"][0]["reason"]


def test_a_folder_of_a_hundred_objects(kit: Kit, tmp_path: Path, together: tuple[int, Any, str]) -> None:
    """Sound, refused and broken ones under all sorts of names: each is named, all that can be are judged."""
    from bpfroots.programs import compile as compiling

    def compiled(name: str) -> bytes:
        source = (Path(__file__).parent / "runner" / name).read_bytes()
        return compiling.compile_source(kit.toolchain, kit.objects, source, name).read_bytes()

    good, bad = compiled("counter.bpf.c"), compiled("reject.bpf.c")
    kinds: dict[str, tuple[bytes, str]] = {
        "good": (good, "pass"),
        "bad": (bad, "fail"),
        "cut": (good[:3000], "error"),
        "empty": (b"", "error"),
        "text": (b"this is no object\n", "error"),
        "host": (Path(shutil.which("true") or "/bin/true").read_bytes(), "error"),
    }
    expected = {}
    for number in range(100):
        kind = list(kinds)[number % len(kinds)]
        folder = tmp_path / f"project{number % 7}"
        folder.mkdir(exist_ok=True)
        # Names that differ by a suffix or a directory only.
        file = folder / (f"bpf_bpfel.{kind}.o" if number < 50 else f"bpf_bpfel.{kind}.bpf.o")
        if file in expected:
            file = folder / f"{number}.{kind}.o"
        file.write_bytes(kinds[kind][0])
        expected[file] = kinds[kind][1]
    link = tmp_path / "project0" / "link.bpf.o"
    link.symlink_to(next(file for file, outcome in expected.items() if outcome == "pass"))
    expected[link] = "pass"
    code, found, _ = _ran(tmp_path)
    assert code == 2
    outcomes = {cell["case"]: cell["outcome"] for cell in found["cells"]}
    assert outcomes == {f"load/{file.relative_to(tmp_path)}": outcome for file, outcome in expected.items()}


def _text(arguments: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "bpfroots", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, timeout=_DEADLINE, text=True, check=False)


def test_the_line_that_does_it_again_does_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "KERNEL and more"
    folder.mkdir()
    source = folder / "x.bpf.c"
    shutil.copy(PROGRAMS / "06-helper-not-for-tc.bpf.c", source)
    done = _text(["load", source])
    (again,) = (line.strip() for line in done.stdout.splitlines() if line.strip().startswith("again"))
    command = again.removeprefix("again").strip().replace("bpfroots", f"{sys.executable} -m bpfroots", 1)
    second = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=_DEADLINE, check=False
    )
    assert (done.returncode, second.returncode) == (1, 1), second.stderr
    assert again in second.stdout


def test_an_accepted_program_shows_its_figures() -> None:
    done = _text(["load", PROGRAMS / "29c-uapi-headers.bpf.c"])
    assert done.returncode == 0
    (row,) = (line for line in done.stdout.splitlines() if "drops_udp" in line)
    assert row.split()[:3] == ["drops_udp", "xdp", "accept"]
    assert int(row.split()[3]) > 5


def test_a_source_line_obeys_no_terminal() -> None:
    done = _text(["load", PROGRAMS / "34-loud-source-line.bpf.c"])
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x01" not in done.stdout + done.stderr


def test_time_is_limited_by_the_option(tmp_path: Path) -> None:
    code, found, _ = _ran(PROGRAMS / "01-unwind-too-large.bpf.c", "--timeout", "0.05")
    assert (code, found["cells"][0]["outcome"], found["cells"][0]["verdict"]) == (1, "timeout", "")


# Each program calls a function of its own. As one is rejected they are loaded one by one, and a later one
# gets the addresses of an earlier one.
_ONE_AFTER_THE_OTHER = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define PROGRAM(n) \\
	__noinline int sub_##n(int x) { return x * 3 + n; } \\
	SEC("xdp") int on_##n(struct xdp_md *ctx) { return sub_##n(ctx->ingress_ifindex) & 1; }

PROGRAM(1) PROGRAM(2) PROGRAM(3) PROGRAM(4) PROGRAM(5) PROGRAM(6)

SEC("xdp") int rejected(struct xdp_md *ctx) { return *(int *)ctx->data; }
"""


def test_calls_have_the_name_of_what_is_called(tmp_path: Path) -> None:
    source = tmp_path / "names.bpf.c"
    source.write_text(_ONE_AFTER_THE_OTHER)
    code, found, _ = _ran(source)
    assert code == 1
    (cell,) = found["cells"]
    for number in range(1, 7):
        files = [cell["artefacts"][f"on_{number}.{suffix}"] for suffix in ("xlated.txt", "jited.asm")]
        for text in ((Path(found["path"]) / file).read_text() for file in files):
            assert set(re.findall(r"sub_\d", text)) == {f"sub_{number}"}
