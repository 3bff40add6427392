"""Reads the kernel's verifier log.

Its text is not ABI: parsing is tolerant, an unknown line is nothing to fail over, and the raw log
is kept beside whatever is read out of it. Formats: kernel/bpf/verifier.c, kernel/bpf/log.c,
kernel/bpf/btf.c and, since 7.3, kernel/bpf/diagnostics.c of Linux 6.1 to 7.3.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator

import msgspec

from bpfroots.results.model import VerifierStats

# print_verification_stats() writes its lines last. Few lines can follow (CO-RE notes of libbpf), so
# the end of the log is enough: a log of 16 MB costs no more than a short one.
_STATS_TAIL = 1 << 16

_STATS = {
    "processed_insns": re.compile(r"^processed (\d+) insns", re.M),
    "max_states_per_insn": re.compile(r"^processed .*\bmax_states_per_insn (\d+)", re.M),
    "total_states": re.compile(r"^processed .*\btotal_states (\d+)", re.M),
    "peak_states": re.compile(r"^processed .*\bpeak_states (\d+)", re.M),
    "mark_read": re.compile(r"^processed .*\bmark_read (\d+)", re.M),
    "verification_time_us": re.compile(r"^verification time (\d+) usec", re.M),
}
_STACK_DEPTH = re.compile(r"^stack depth ([\d+]+)", re.M)
# Since 7.3, a line for each function.
_FUNCTION_STACK = re.compile(r"^subprog \d+ \(.*\) \w+ insns_self \d+ insns_total \d+ stack (\d+)$", re.M)

# Since 7.3 a refusal is explained in a report that follows its message: a heading, sections under titles, and
# everything in them indented. What follows it is from the callers of what refused.
_REPORT = re.compile(r"^Verification failed: .*\n(?:(?:[ \t].*|[A-Z][a-z]+(?: [a-z]+)*:)?(?:\n|\Z))*", re.M)
_REPORT_START = "\nVerification failed: "

# Everything the verifier writes that is not a complaint: instructions and states ("7: (85) ...",
# "from 7 to 9: R0=..."), source lines, calls and returns, precision tracking, notes on global
# functions, stats. What is left over is addressed to the author of the program.
_NOISE = re.compile(
    r"""\s*$
    | \s*(\d+\s+)?\d+:
    | ;
    | from\ \d+\ to\ \d+
    | \s+(frame\d+:|R\d+(_\w+)?=|fp-\d+|refs=|cb$|async_cb)
    | frame\d+:
    | R\d+(_\w+)?=
    | func\#\d+\ @
    | (caller|callee|returning\ from\ callee):
    | to\ caller\ at\ \d+:
    | (mark_precise|regs=|parent\ (state|didn't)|last_idx|propagating|frame\ \d+:\ propagating)
    | (cur|old)\ state:
    | Live\ regs\ before\ insn
    | \(\d+\)\ (frame\ \d+|live\ stack)
    | SCC\ (enter|exit|backedge)
    | Validating\ (.*\ func|root)\#\d+
    | Func\#\d+\ .*\ is\ (safe|global\ and\ assumed\ valid)
    | marking\ pointer\ arg\d+\ as\ scalar
    | verification\ time
    | stack\ depth\ (max\ )?[\d+]*$
    | (stack\ use/def\ )?subprog\#\d+
    | topo_order\[
    | subprog\ \d+\ \(.*\)\ \w+\ insns_self\ \d
    | processed\ \d+\ insns
    """,
    re.X,
)


def _lines_from_end(text: str) -> Iterator[str]:
    end = len(text)
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        yield text[start:end]
        end = start - 1


def parse(log: str, *, truncated: bool = False) -> VerifierStats:
    """The statistics at the end of a log; zero and empty where the log has none.

    ``truncated`` is passed through: only the loader knows whether the kernel wrote more than it kept.
    The stack depth is in the verifier's own form, bytes per function ("8+0").
    """
    end = log[-_STATS_TAIL:]
    found: dict[str, int] = {}
    for name, pattern in _STATS.items():
        matches = pattern.findall(end)
        if matches:
            found[name] = int(matches[-1][:18])
    depth = _STACK_DEPTH.findall(end)
    stacks = "+".join(_FUNCTION_STACK.findall(end))
    return VerifierStats(**found, stack_depth=stacks or (depth[-1] if depth else ""), truncated=truncated)


def _without_report(log: str) -> str:
    """The log without the report that explains its message: that says it in other words."""
    start = log.rfind(_REPORT_START) + 1
    if not start and not log.startswith(_REPORT_START[1:]):
        return log
    # An empty line is before it. What its callers say belongs to the message.
    return log[:start].rstrip("\n") + "\n" + _REPORT.sub("", log[start:], count=1)


def complaints(log: str) -> list[str]:
    """The last unbroken block of complaints, in order.

    One refusal may take several lines: "invalid access to packet, ..." is followed by "R1 offset is
    outside of the packet", "arg#0 reference type(...)" by the call that it made invalid.
    """
    block: list[str] = []
    for line in _lines_from_end(_without_report(log)):
        if _NOISE.match(line):
            if block:
                break
        else:
            block.append(line.strip())
    return block[::-1]


def message(log: str) -> str:
    """What a rejected program's log says to its author, in one line: the last `complaints`, or ""."""
    joined = ""
    for line in complaints(log):
        joined += line if not joined else f" {line}" if joined.endswith((",", ":")) else f"; {line}"
    return joined


_VALIDATING_ROOT = re.compile(r"^Validating root#(\d+) ", re.M)
_ROOT_NUMBER = re.compile(r"^root#(\d+): ", re.M)


def failed_root(log: str) -> int | None:
    """The number of the root that a group was refused for: the one being verified when the log ends, or the
    one that the message names before any is. None where the log does not say."""
    found = _VALIDATING_ROOT.findall(log) or _ROOT_NUMBER.findall(log)
    return int(found[-1]) if found else None


def tail(log: str, lines: int = 20) -> str:
    """The last ``lines`` lines."""
    kept: list[str] = []
    for line in _lines_from_end(log.rstrip("\n")):
        if len(kept) >= lines:
            break
        kept.append(line)
    return "\n".join(kept[::-1])


_POINTER = r"ffff(?:[89a-e][0-9a-f]{11}|f[0-9a-d][0-9a-f]{10}|ffff(?!80000000)[89a-c][0-9a-f]{7})"

# Also the report's script replaces them (`variable`), so: nothing that JavaScript's patterns have not.
_VARIABLE = [
    # Some messages do not end their line.
    (re.compile(r"verification time \d+ usec"), "verification time T usec"),
    # id, ref_obj_id, ref_id, map_uid, btf_id: counters of one verification or of one boot.
    (re.compile(r"(?<![\w#])((?:\w+_)?u?id)=\d+"), r"\1=#"),
    (re.compile(r"(?<![\w#])refs=\d+(?:,\d+)*"), "refs=#"),
    (re.compile(r"\b((?:attach_)?btf_id) \d+"), r"\1 #"),
    (re.compile(r"map\[id:\d+\]"), "map[id:#]"),
    (re.compile(r"\bmap:\d+\b"), "map:#"),
    # Kernel pointers: direct map and vmalloc; text and modules, but not S32_MIN and small negative numbers.
    # P stands before a precise value.
    (re.compile(rf"(?:\b|(?<=P))(0x)?{_POINTER}\b"), r"\1ADDR"),
    # Addresses of per-CPU data in translated code, as what a register is set to: of 32 bits, with a sign.
    (re.compile(r"(\(b7\) r\d+ = )-(?!2147483648\b)(?:1[6-9]|2[01])\d{8}\b"), r"\1ADDR"),
    # The tag of a function that uses maps: a hash of their addresses as well (bpf_prog_calc_tag).
    (re.compile(r"\bbpf_prog_[0-9a-f]{16}"), "bpf_prog_TAG"),
    # xlated helper calls are offsets from __bpf_call_base: a figure of the kernel build.
    (re.compile(r"#-?\d{4,}\b"), "#N"),
]


def normalise(log: str) -> str:
    """The log without what differs from load to load: ids, addresses and times. Idempotent.

    Works for the text of translated programs (xlated) as well.
    """
    for pattern, replacement in _VARIABLE:
        log = pattern.sub(replacement, log)
    return log


def variable() -> list[tuple[str, str]]:
    """What `normalise` replaces, as JavaScript's RegExp (flags "gm") and String.replace take it."""
    return [(pattern.pattern, re.sub(r"\\(\d)", r"$\1", replacement)) for pattern, replacement in _VARIABLE]


class Work(msgspec.Struct, frozen=True):
    """Instructions that the verifier has looked at in one function, while it went through one root.

    ``root`` is empty for a program that is loaded alone, and for a global function, which is verified
    for any caller. ``function`` is the number N of "func#N".
    """

    root: str
    function: int
    insns: int


_FUNCTION = re.compile(r"^func#(\d+) @(\d+)$")
_GLOBAL = re.compile(r"^Validating \S+\(\) func#\d+\.\.\.$")
_ROOT = re.compile(r"^Validating root#\d+ (\S+)\(\) as program type \d+")
# An instruction, or one at which a state was found that has been seen: do_check() counts both.
_LOOKED_AT = re.compile(
    r"^(?:(\d+): \([0-9a-f]{2}\) |(?:from \d+ to )?(\d+)(?: \(speculative execution\))?: safe$)"
)


def work(log: str) -> list[Work]:
    """Where verification has spent its instructions, by root and function; the sum is processed_insns.

    Empty unless every instruction is in the log (level 2), from its first line on.
    """
    starts: list[int] = []
    found: dict[tuple[str, int], int] = {}
    root = ""
    for line in log.splitlines():
        if match := _LOOKED_AT.match(line):
            at = int(match[1] or match[2])
            key = (root, max(0, bisect.bisect(starts, at) - 1))
            found[key] = found.get(key, 0) + 1
        elif match := _FUNCTION.match(line):
            starts.append(int(match[2]))
        elif match := _ROOT.match(line):
            root = match[1]
        elif _GLOBAL.match(line):
            root = ""
    if sum(found.values()) != parse(log).processed_insns:
        return []
    return [Work(root, function, insns) for (root, function), insns in found.items()]
