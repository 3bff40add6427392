"""What differs between two images, or two logs: found, and only that."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.diff import added, code_added, log_difference
from harness.analysis.jit import analyse
from harness.programs.protocol import JitedFunction

_GOLDEN = Path(__file__).parent / "golden"
_LINES = st.lists(st.sampled_from(["mov rax, rbx", "jmp 0x4c", "jae 0x10", "call x", "ret"]), max_size=30)


@given(_LINES)
def test_equal_code_has_no_difference(code: list[str]) -> None:
    assert code_added(code, code) == set()


@given(_LINES, st.integers(0, 30))
def test_one_instruction_more_is_one(code: list[str], at: int) -> None:
    longer = [*code[:at], "ud2", *code[at:]]
    assert [longer[index] for index in added(code, longer)] == ["ud2"]


def test_a_jump_that_only_shifted_is_no_difference() -> None:
    before = ["cmp rax, 1", "jne 0x20", "ret"]
    after = ["cmp rax, 1", "nop", "jne 0x24", "ret"]
    assert code_added(before, after) == {1}


def _code(function: JitedFunction) -> list[str]:
    """Instructions without their offsets, as the artefact has them."""
    lines = analyse(function).asm.splitlines()
    return [line.split(":  ", 1)[1] for line in lines if ":  " in line]


def test_one_changed_byte_is_seen() -> None:
    image = json.loads((_GOLDEN / "jit" / "images.json").read_text())["calls"]["images"][0]
    code = bytes.fromhex(image["code"])
    before = _code(JitedFunction(image["symbol"], image["addr"], code))
    # mov ebp, esp of the prologue, 48 89 e5, becomes mov rdi, rsp.
    at = code.index(bytes.fromhex("4889e5"))
    changed = code[: at + 2] + b"\xe7" + code[at + 3 :]
    after = _code(JitedFunction(image["symbol"], image["addr"], changed))
    assert [after[index] for index in code_added(before, after)] == ["mov rdi, rsp"]
    assert [before[index] for index in code_added(after, before)] == ["mov rbp, rsp"]


def test_logs_differ_by_what_is_in_them_and_not_by_time() -> None:
    log = "func#0 @0\n0: R1=ctx() R10=fp0\n0: (b7) r0 = 0\nverification time 12 usec\nprocessed 2 insns\n"
    assert log_difference(log, log.replace("12 usec", "99 usec")) == []
    changed = log_difference(log, log.replace("r0 = 0", "r0 = 1"))
    assert [line for line in changed if line[0] in "+-"] == ["-0: (b7) r0 = 0", "+0: (b7) r0 = 1"]
