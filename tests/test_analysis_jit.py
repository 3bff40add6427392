"""JIT images of a real kernel, and hand-made ones for the forms it did not emit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.analysis import jit
from bpfroots.programs.protocol import JitedFunction

GOLDEN = json.loads((Path(__file__).parent / "golden" / "jit" / "images.json").read_text())
BASE = 0xFFFFFFFFC0001000


def load(name: str) -> tuple[list[JitedFunction], jit.Symbols]:
    entry = GOLDEN[name]
    images = [
        JitedFunction(image["symbol"], image["addr"], bytes.fromhex(image["code"]))
        for image in entry["images"]
    ]
    return images, jit.Symbols(entry["symbols"], images)


def call(target: int, at: int, base: int = BASE, opcode: int = 0xE8) -> bytes:
    """``call rel32`` (or ``jmp``) at offset ``at`` to an absolute address."""
    return bytes([opcode]) + (target - base - at - 5).to_bytes(4, "little", signed=True)


def analyse(code: bytes, names: dict[int, str] | None = None, base: int = BASE) -> jit.Disassembly:
    symbols = jit.Symbols({f"{address:x}": name for address, name in (names or {}).items()})
    return jit.analyse(JitedFunction("bpf_prog_0123456789abcdef_root", f"{base:x}", code), symbols)


def test_real_calls() -> None:
    (main, sub), symbols = load("calls")
    image = jit.analyse(main, symbols).image
    assert image.symbol == "bpf_prog_calls"
    assert image.calls == ["__htab_map_lookup_elem", "bpf_prog_F", "bpf_ktime_get_ns", "bpf_user_rnd_u32"]
    assert (image.direct_calls, image.indirect_branches, image.retpoline_calls) == (4, 0, 0)
    assert image.bytes == len(main.code)
    assert jit.analyse(sub, symbols).image.direct_calls == 0


def test_real_code_at_two_addresses_hashes_equal() -> None:
    (first, *_), symbols = load("calls")
    (second, *_), other = load("calls_again")
    assert (first.addr, first.code) != (second.addr, second.code)
    one, two = jit.analyse(first, symbols), jit.analyse(second, other)
    assert one.image.sha256 == two.image.sha256
    assert one.asm == two.asm


def test_real_tail_calls() -> None:
    (constant,), symbols = load("tail_constant")
    (variable,), others = load("tail_variable")
    direct, indirect = jit.analyse(constant, symbols), jit.analyse(variable, others)
    assert (direct.image.indirect_branches, direct.image.retpoline_calls) == (0, 0)
    assert (indirect.image.indirect_branches, indirect.image.retpoline_calls) == (1, 1)
    assert "jmp __x86_indirect_thunk_rcx" in indirect.asm
    # The return thunk is a return.
    assert "jmp srso_alias_return_thunk" in direct.asm


def test_pointers_and_constants_are_told_apart() -> None:
    (main, _), symbols = load("calls")
    asm = jit.analyse(main, symbols).asm
    assert asm.count("<ptr0>") == 2
    assert "movabs rdx, 0x1122334455667788" in asm
    assert "mov rax, 0xffffffffffffffff" in asm


@pytest.mark.parametrize("code", ["ffe1", "ffd0", "0faee8ffe1", "3effe1", "ff2425b0000000", "ff5008"])
def test_indirect_branches(code: str) -> None:
    image = analyse(bytes.fromhex(code)).image
    assert (image.indirect_branches, image.retpoline_calls, image.direct_calls) == (1, 0, 0)


@pytest.mark.parametrize(
    "thunk",
    [
        "__x86_indirect_thunk_rcx",
        "__x86_indirect_thunk_array",
        "__x86_indirect_its_thunk_rcx",
        "__x86_indirect_call_thunk_rax",
        "__x86_indirect_jump_thunk_rcx",
        "__pi___x86_indirect_thunk_rdi",
    ],
)
def test_thunks(thunk: str) -> None:
    target = 0xFFFFFFFF82270020
    for opcode in (0xE8, 0xE9):
        image = analyse(call(target, 0, opcode=opcode), {target: thunk}).image
        assert (image.indirect_branches, image.retpoline_calls, image.direct_calls) == (1, 1, 0)


def test_jump_into_another_image_names_it() -> None:
    callee = JitedFunction("bpf_prog_fedcba9876543210_body", f"{BASE + 0x100:x}", bytes(64))
    symbols = jit.Symbols({}, [callee])
    code = call(BASE + 0x110, 0, opcode=0xE9)
    assert "jmp bpf_prog_body+0x10" in jit.analyse(JitedFunction("x", f"{BASE:x}", code), symbols).asm


def test_jumps_inside_stay_as_they_are() -> None:
    result = analyse(bytes.fromhex("e900000000eb00c3"))
    assert "jmp 5" in result.asm
    assert result.image.indirect_branches == 0


def test_callback_address_is_a_symbol_and_a_negative_constant_is_none() -> None:
    code = bytes.fromhex("48c7c6") + (BASE & 0xFFFFFFFF).to_bytes(4, "little")
    named = analyse(code, {BASE: "bpf_prog_0011223344556677_callback"})
    assert "mov rsi, bpf_prog_callback" in named.asm
    assert named.image.sha256 != analyse(code).image.sha256


def test_per_cpu_and_rip_relative_data() -> None:
    data = bytes.fromhex("488b05") + (0x1000).to_bytes(4, "little")
    hashes = set()
    for base in (BASE, BASE + 0x40):
        # add rax, gs:[rip + disp]: the same place of the per-CPU area, wherever the image is.
        percpu = bytes.fromhex("65480305") + ((0x1F000 - base - 8) % (1 << 32)).to_bytes(4, "little")
        result = analyse(percpu, base=base)
        assert "gs:[<percpu0>]" in result.asm
        hashes.add(result.image.sha256)
    assert len(hashes) == 1
    assert "[<ptr0>]" in analyse(data).asm


@pytest.mark.parametrize(
    ("first", "second", "twin", "shown", "shown_of_twin"),
    [
        # bpf_get_smp_processor_id() as 7.3.4 wrote it, on two builds, and with the two addresses exchanged.
        (
            "48c7c030208482654803042528208482",
            "48c7c030508482654803042528508482",
            "48c7c030208482654803042530208482",
            ("mov rax, <percpu0>", "gs:[<percpu1>]"),
            "mov rax, <percpu0>",
        ),
        # A private stack, where it is (emit_private_frame_ptr()). The twin sets another register.
        (
            "49b950fb62057f600000654c030c2528208482",
            "49b9502b63057f600000654c030c2528508482",
            "49b850fb62057f600000654c030c2528208482",
            ("movabs r9, <percpu0>",),
            "movabs r8, 0x607f",
        ),
    ],
)
def test_per_cpu_data_of_two_kernels(
    first: str, second: str, twin: str, shown: tuple[str, ...], shown_of_twin: str
) -> None:
    images = [analyse(bytes.fromhex(code)) for code in (first, second, twin)]
    assert all(text in images[0].asm for text in shown)
    assert images[0].image.sha256 == images[1].image.sha256 != images[2].image.sha256
    assert shown_of_twin in images[2].asm


def test_opcodes_are_the_same_with_other_constants_only() -> None:
    """mov rdi, imm32; mov rbx, rax, in both encodings."""
    one, constant, encoding = (
        analyse(bytes.fromhex(code)).image
        for code in ("48c7c700239881 4889c3", "48c7c780a49881 4889c3", "48c7c700239881 488bd8")
    )
    assert one.opcodes == constant.opcodes != encoding.opcodes
    assert one.sha256 != constant.sha256


def test_a_negative_constant_is_no_per_cpu_data() -> None:
    constant = bytes.fromhex("48c7c030208482")
    hashes = [
        analyse(code + bytes.fromhex("4801c8")).image.sha256
        for code in (constant, constant.replace(b"\x30", b"\x50"))
    ]
    assert len(set(hashes)) == 2


def test_no_code() -> None:
    assert analyse(b"").asm == ""
    assert analyse(b"").image.bytes == 0


_NAMES = {0xFFFFFFFF81000000 + index * 0x1000: f"helper{index}" for index in range(4)}
_PIECES = st.one_of(
    st.sampled_from(sorted(_NAMES)),
    st.sampled_from(
        [bytes.fromhex(code) for code in ("4889e5", "0f1f00", "31c0", "4883c003", "50", "c9", "ffe1")]
    ),
    st.integers(0xFFFF888000000000, 0xFFFFC88000000000),
)


def _link(pieces: list[int | bytes], base: int, slide: int = 0, data: int = 0) -> bytes:
    code = b""
    for piece in pieces:
        if isinstance(piece, bytes):
            code += piece
        elif piece in _NAMES:
            code += call(piece + slide, len(code), base)
        else:
            code += b"\x48\xbf" + (piece + data).to_bytes(8, "little")
    return code


@given(st.lists(_PIECES, max_size=12), st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0xFFFF))
def test_equal_code_hashes_equal_at_any_address(
    pieces: list[int | bytes], move: int, slide: int, data: int
) -> None:
    """``move`` loads the image elsewhere, ``slide`` is the kernel's KASLR, ``data`` the direct map's."""
    slide <<= 12
    names = {address + slide: name for address, name in _NAMES.items()}
    here = analyse(_link(pieces, BASE), _NAMES)
    there = analyse(_link(pieces, BASE + 16 * move, slide, data << 12), names, BASE + 16 * move)
    assert here.image.sha256 == there.image.sha256
    assert here.asm == there.asm


@given(st.lists(_PIECES, min_size=1, max_size=12), st.data())
def test_one_changed_byte_changes_the_hash(pieces: list[int | bytes], draw: st.DataObject) -> None:
    """In all but map pointers: those are placeholders by design."""
    pieces = [piece for piece in pieces if isinstance(piece, bytes) or piece in _NAMES] or [b"\x50"]
    code = _link(pieces, BASE)
    at = draw.draw(st.integers(0, len(code) - 1))
    changed = bytearray(code)
    changed[at] ^= draw.draw(st.integers(1, 255))
    assert analyse(code, _NAMES).image.sha256 != analyse(bytes(changed), _NAMES).image.sha256


@given(st.binary(max_size=300))
def test_any_bytes_are_disassembled_whole(code: bytes) -> None:
    result = analyse(code)
    assert result.image.bytes == len(code)
    assert analyse(code) == result


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("calls", [(20, 7), (12, 6)]),
        ("tail_constant", [(27, 7)]),
        ("tail_variable", [(27, 7)]),
    ],
)
def test_prologue_and_epilogue_of_real_code(name: str, frames: list[tuple[int, int]]) -> None:
    images, symbols = load(name)
    found = [jit.analyse(image, symbols).image for image in images]
    assert [(image.prologue, image.epilogue) for image in found] == frames


def test_code_without_a_frame_has_neither() -> None:
    image = analyse(bytes.fromhex("31c0c3")).image  # xor eax, eax; ret
    assert (image.prologue, image.epilogue) == (0, 0)
