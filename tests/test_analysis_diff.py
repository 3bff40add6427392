"""What differs between two images: found, and only that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.analysis.diff import code_added
from bpfroots.analysis.jit import Symbols, analyse
from bpfroots.programs.protocol import JitedFunction

_GOLDEN = Path(__file__).parent / "golden"
_LINES = st.lists(st.sampled_from(["mov rax, rbx", "jmp 0x4c", "jae 0x10", "call x", "ret"]), max_size=30)


@given(_LINES)
def test_equal_code_has_no_difference(code: list[str]) -> None:
    insns = [(4 * index, text) for index, text in enumerate(code)]
    assert code_added(insns, insns) == set()


@given(_LINES, st.integers(0, 30))
def test_one_instruction_more_is_one(code: list[str], at: int) -> None:
    code = [text for text in code if " 0x" not in text]
    shorter, longer = (list(enumerate(lines)) for lines in (code, [*code[:at], "ud2", *code[at:]]))
    assert [longer[index][1] for index in code_added(shorter, longer)] == ["ud2"]


def test_a_jump_that_only_shifted_is_no_difference() -> None:
    before = [(0, "cmp rax, 1"), (4, "jne 7"), (6, "nop"), (7, "ret")]
    after = [(0, "cmp rax, 1"), (4, "nop"), (5, "jne 8"), (7, "nop"), (8, "ret")]
    assert code_added(before, after) == {1}
    assert code_added(before, [*after[:2], (5, "jne 7"), *after[3:]]) == {1, 2}


def _code(function: JitedFunction, symbols: Symbols | None = None) -> list[tuple[int, str]]:
    """Offsets and instructions, as the artefact has them."""
    lines = [line.split(":  ", 1) for line in analyse(function, symbols).asm.splitlines()]
    return [(int(offset, 16), insn) for offset, insn in lines]


@pytest.mark.parametrize("name", ["calls", "tail_constant", "tail_variable"])
def test_one_changed_byte_is_seen(name: str) -> None:
    """Every byte in turn, but for addresses of maps, which are not compared, and for instructions that
    may be encoded in several ways: those have another hash."""
    load = json.loads((_GOLDEN / "jit" / "images.json").read_text())[name]
    image = load["images"][0]
    code, symbols = bytes.fromhex(image["code"]), Symbols(load["symbols"])
    before = _code(JitedFunction(image["symbol"], image["addr"], code), symbols)
    ends = [*(offset for offset, _ in before[1:]), len(code)]
    for (start, insn), end in zip(before, ends, strict=True):
        for at in range(start, end):
            changed = bytearray(code)
            changed[at] ^= 1
            after = _code(JitedFunction(image["symbol"], image["addr"], bytes(changed)), symbols)
            seen = code_added(before, after) | code_added(after, before)
            assert seen or "<ptr" in insn or after == before, (at, insn)
            assert seen == set() or after != before
