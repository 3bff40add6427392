"""Disassembles x86-64 JIT images and makes them comparable over loads, boots and kernels.

What the words mean (arch/x86/net/bpf_jit_comp.c of Linux 6.12):

direct call      ``call rel32`` to anything but a retpoline thunk: a helper, a kfunc, another BPF function.
retpoline call   ``call`` or ``jmp rel32`` to ``__x86_indirect_thunk_*`` or its ITS and call-depth kin
                 (emit_indirect_jump).
indirect branch  ``jmp`` or ``call`` through a register or memory, or a retpoline call. The return thunk
                 (emit_return, ``jmp __x86_return_thunk``) is a return, not an indirect branch.

prologue         what emit_prologue and emit_prologue_tail_call write and the registers saved after it, up
                 to the program's first instruction.
epilogue         the one place at which an image returns: registers restored, ``leave``, return.

The hash is of the image with every reference to the world outside blanked, followed by the list of what
was blanked: symbols where they are known, else placeholders numbered by first use. BPF symbols
count without their tag: in a function that uses maps the tag hashes map addresses
(bpf_prog_calc_tag runs on subprograms after ld_imm64 was resolved), so it differs from load to load.
An address inside a map is one opaque value: which offset it has is not part of the hash.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from bpfroots import arch
from bpfroots.programs.protocol import JitedFunction
from bpfroots.results.model import JitImage

if TYPE_CHECKING:
    import capstone

_THUNK = re.compile(r"__x86_indirect_(call_|jump_|its_)?thunk")
_TAGGED = re.compile(r"^bpf_prog_[0-9a-f]{16}(?:_(.+))?$")

# emit_prologue(): an entry for CFI, one for fentry, the tail-call count (or its place), the frame, a target
# for tail calls, the stack; emit_prologue_tail_call(); push_callee_regs(), also those of an exception
# boundary and the arena's r12.
_PROLOGUE = re.compile(
    r"""(?:endbr64\n)? (?:nop\ [^\n]*\n)? (?:(?:xor\ [re]ax,\ [re]ax|nop[^\n]*)\n)?
    push\ rbp\n mov\ rbp,\ rsp\n (?:endbr64\n)? (?:sub\ rsp,\ \w+\n)?
    (?:cmp\ rax,\ 0x21\n ja\ [^\n]*\n push\ rax\n mov\ rax,\ rsp\n jmp\ [^\n]*\n)?
    (?:push\ rax\n){0,2} (?:push\ (?:r1[2-5]|rbx)\n)*""",
    re.X,
)
_EPILOGUE = re.compile(
    r"(?:(?:pop (?:r1[2-5]|rbx|rax)|add rsp, \w+)\n)*leave\n(?:ret|jmp (?:\S*return_thunk|<text\d+>))\n"
)

# arch/x86/include/asm/page_64_types.h, Documentation/arch/x86/x86_64/mm.rst: direct map, vmalloc and
# vmemmap with any KASLR offset. Higher values are small negative constants of the program.
_DATA = range(0xFFFF800000000000, 0xFFFFFE0000000000)
_TEXT = range(0xFFFFFFFF80000000, 0xFFFFFFFFFF600000)

# The shortest instruction with a constant of four bytes: an opcode and that.
_LONG = 5
_REL32 = {b"\xe8": "call", b"\xe9": "jmp"}
_U64 = (1 << 64) - 1


def _plain_name(symbol: str) -> str:
    """``bpf_prog_<tag>_name`` without what changes from load to load; ``__pi_`` aliases under their name."""
    symbol = symbol.removeprefix("__pi_")
    match = _TAGGED.match(symbol)
    return f"bpf_prog_{match.group(1) or ''}".rstrip("_") if match else symbol


class Symbols:
    """Names of kernel addresses: exact for kernel text, with offsets inside BPF images.

    ``names`` is the runner's table, hex address (without 0x) to kallsyms name; entries that are no
    address are ignored.
    """

    def __init__(self, names: Mapping[str, str] | None = None, images: Iterable[JitedFunction] = ()) -> None:
        self._names: dict[int, str] = {}
        for address, name in (names or {}).items():
            value = _address(address)
            if value:
                self._names[value] = _plain_name(name)
        ranges = {_address(image.addr): image for image in images}
        ranges.pop(0, None)
        self._starts = sorted(ranges)
        self._images = [ranges[start] for start in self._starts]

    def name(self, address: int) -> str:
        """The symbol at an address, ``symbol+0x10`` inside an image, "" where unknown."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0:
            start, image = self._starts[index], self._images[index]
            offset = address - start
            if offset < len(image.code):
                return _plain_name(image.symbol) + (f"+{offset:#x}" if offset else "")
        return self._names.get(address, "")


def _is_per_cpu(operands: str, mnemonic: str, following: str) -> bool:
    """Does the instruction that follows add where this CPU's data are to the same register?

    do_jit() of arch/x86/net/bpf_jit_comp.c, insn_is_mov_percpu_addr().
    """
    return mnemonic == "add" and "gs:" in following and operands.split(",")[0] == following.split(",")[0]


def _address(text: str) -> int:
    try:
        return int(text, 16) & _U64
    except ValueError:
        return 0


@dataclass(frozen=True, slots=True)
class Disassembly:
    """One image: what it counts, and its code as text, one instruction a line, addresses from its start."""

    image: JitImage
    asm: str


@functools.cache
def _decoder(detail: bool = False) -> capstone.Cs:
    import capstone

    # Creating one costs more than disassembling a typical image.
    decoder = capstone.Cs(*(getattr(capstone, name) for name in arch.X86_64.capstone))
    decoder.skipdata = True
    decoder.detail = detail
    return decoder


@dataclass(slots=True)
class _Walk:
    """State of one pass over an image."""

    code: bytes
    addr: int
    symbols: Symbols
    blanked: bytearray = field(init=False)
    outside: list[str] = field(default_factory=list)
    unknown: dict[int, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    indirect: int = 0
    retpolines: int = 0
    insns: list[tuple[int, str]] = field(default_factory=list)
    opcodes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.blanked = bytearray(self.code)

    def run(self) -> None:
        decoded = list(_decoder().disasm_lite(self.code, 0))
        for (offset, size, mnemonic, operands), after in zip_longest(decoded, decoded[1:]):
            if after and _is_per_cpu(operands, *after[2:]):
                text = self._per_cpu(offset, size, operands)
            else:
                text = self._operands(offset, size, mnemonic, operands)
            self.insns.append((offset, f"{mnemonic} {text}".rstrip()))
            constant = 0 if size < _LONG else 8 if mnemonic == "movabs" else 4
            self.opcodes.append(self.code[offset : offset + size - constant])

    def _per_cpu(self, offset: int, size: int, operands: str) -> str:
        """The operands of what sets a register to an address of per-CPU data, of whatever CPU: 32 bits with a
        sign, or a private stack's (emit_private_frame_ptr(): ``movabs``)."""
        if size == 10 and self.code[offset + 1] & 0xF8 == 0xB8:
            value = int.from_bytes(self.code[offset + 2 : offset + size], "little")
            return f"{operands.split(',', 1)[0]}, {self._refer(value, offset + 2, 8, 'percpu')}"
        value = int.from_bytes(self.code[offset + 3 : offset + size], "little", signed=True) & _U64
        if size != 7 or self.code[offset + 1] != 0xC7 or value not in _TEXT:
            return operands
        return f"{operands.split(',', 1)[0]}, {self._refer(value, offset + 3, 4, 'percpu')}"

    def _operands(self, offset: int, size: int, mnemonic: str, operands: str) -> str:
        raw = self.code[offset : offset + size]
        if size == 5 and raw[:1] in _REL32:
            return self._branch(offset, mnemonic, operands)
        if mnemonic in ("jmp", "call", "notrack jmp", "notrack call") and not operands[:1].isdigit():
            self.indirect += 1
        if mnemonic == "movabs" and size == 10:
            value = int.from_bytes(raw[2:], "little")
            return self._immediate(value, offset + 2, 8, operands)
        if mnemonic == "mov" and size == 7 and raw[1] == 0xC7 and raw[2] >= 0xC0:
            value = int.from_bytes(raw[3:], "little", signed=True) & _U64
            # Sign-extended text addresses (callbacks) and negative constants look alike: only a known
            # symbol is taken for an address.
            if value in _TEXT and self.symbols.name(value):
                return self._immediate(value, offset + 3, 4, operands)
        if "[rip" in operands:
            return self._rip_relative(offset, size, raw, operands)
        if "gs:[0x" in operands:
            address = int.from_bytes(raw[-4:], "little", signed=True) & _U64
            name = self._refer(address, offset + size - 4, 4, "percpu")
            return operands.replace(f"{address:#x}", name)
        return operands

    def _branch(self, offset: int, mnemonic: str, operands: str) -> str:
        relative = int.from_bytes(self.code[offset + 1 : offset + 5], "little", signed=True)
        inside = offset + 5 + relative
        if 0 <= inside < len(self.code):
            if mnemonic == "call":
                self.calls.append(f"+{inside:#x}")
            return operands
        target = self._refer((self.addr + inside) & _U64, offset + 1, 4, "text")
        if _THUNK.match(target):
            self.retpolines += 1
            self.indirect += 1
        elif mnemonic == "call":
            self.calls.append(target)
        return target

    def _immediate(self, value: int, at: int, size: int, operands: str) -> str:
        if value not in _DATA and value not in _TEXT and not self.symbols.name(value):
            return operands
        kind = "text" if value in _TEXT else "ptr"
        return f"{operands.split(',', 1)[0]}, {self._refer(value, at, size, kind)}"

    def _rip_relative(self, offset: int, size: int, raw: bytes, operands: str) -> str:
        """``[rip + disp]``: per-CPU data (gs:, before 6.15 an offset and no address) or kernel data."""
        detailed = next(_decoder(True).disasm(raw, 0), None)
        if detailed is None or not getattr(detailed, "disp_offset", 0):
            return operands
        at = detailed.disp_offset
        disp = int.from_bytes(raw[at : at + 4], "little", signed=True)
        inside = offset + size + disp
        if 0 <= inside < len(self.code):
            return operands
        kind = "percpu" if "gs:" in operands else "ptr"
        name = self._refer((self.addr + inside) & _U64, offset + at, 4, kind)
        return re.sub(r"\[rip[^\]]*\]", f"[{name}]", operands)

    def _refer(self, address: int, at: int, size: int, kind: str) -> str:
        name = self.symbols.name(address)
        if not name:
            # A number of its own for each kind: an unknown call must not renumber the pointers.
            count = sum(1 for known in self.unknown.values() if known.startswith(f"<{kind}"))
            name = self.unknown.setdefault(address, f"<{kind}{count}>")
        self._blank(at, size, name)
        return name

    def _blank(self, at: int, size: int, name: str) -> None:
        self.blanked[at : at + size] = bytes(size)
        self.outside.append(f"{at:x}={name}")

    def frame(self) -> tuple[int, int]:
        """Bytes of prologue and epilogue; 0 for what is not as the JIT of 6.12 writes it."""
        text = "".join(f"{insn}\n" for _, insn in self.insns)
        offsets = [*(offset for offset, _ in self.insns), len(self.code)]
        prologue = _PROLOGUE.match(text)
        # The last: what unwinds before a tail call has no `leave`.
        epilogue = next(reversed(list(_EPILOGUE.finditer(text))), None)

        def size(match: re.Match[str] | None) -> int:
            if match is None:
                return 0
            first, end = (text.count("\n", 0, place) for place in match.span())
            return offsets[end] - offsets[first]

        return size(prologue), size(epilogue)

    def digest(self) -> str:
        return hashlib.sha256(bytes(self.blanked) + b"\0" + "\n".join(self.outside).encode()).hexdigest()


def analyse(function: JitedFunction, symbols: Symbols | None = None) -> Disassembly:
    """Disassemble and count one JIT image. Bytes that are no instruction appear as ``.byte``."""
    walk = _Walk(function.code, _address(function.addr), symbols or Symbols(images=[function]))
    walk.run()
    prologue, epilogue = walk.frame()
    image = JitImage(
        symbol=_plain_name(function.symbol),
        addr=function.addr,
        sha256=walk.digest(),
        bytes=len(function.code),
        direct_calls=len(walk.calls),
        indirect_branches=walk.indirect,
        retpoline_calls=walk.retpolines,
        calls=walk.calls,
        prologue=prologue,
        epilogue=epilogue,
        opcodes=hashlib.sha256(b"\0".join(walk.opcodes)).hexdigest(),
    )
    return Disassembly(image, "".join(f"{offset:>5x}:  {text}\n" for offset, text in walk.insns))
