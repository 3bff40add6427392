"""From what the runner reported to what a cell records: roots, totals, map differences, artefacts."""

from __future__ import annotations

import errno
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bpfroots.analysis import jit, verifier_log
from bpfroots.programs.protocol import JitedFunction, Loaded, LoadedProgram, MapDump, ProgLoad
from bpfroots.results.model import Cell, Cost, Jit, JitImage, Root, RunResult, Verification, VerifierStats

# libbpf's section_defs in which the part after the slash is of the type; in all others it is the target.
_TYPED = frozenset(
    {"cgroup", "cgroup_skb", "sk_skb", "sk_reuseport", "xdp", "xdp.frags", "tc", "tcx", "netkit"}
)


def section_type(section: str) -> str:
    """libbpf's name of a section's type: "kprobe" of "kprobe/f", "cgroup_skb/ingress" of itself."""
    section = section.lstrip("?")
    first, _, _ = section.partition("/")
    return section if first in _TYPED else first


class Code:
    """The images of a load, each disassembled once, however many programs call it and whoever asks."""

    def __init__(self, loaded: Loaded) -> None:
        self._images = [function for program in loaded.programs for function in program.jited]
        self.loaded = loaded
        self._symbols = jit.Symbols(loaded.symbols, self._images)
        self._known: dict[JitedFunction, jit.Disassembly] = {}
        # The programs of an object are loaded one after the other where not all are accepted together. Then a
        # place is one's after the other's, and none of them can tell what else was at another one.
        places = {function.addr for function in self._images}
        refused = any(program.verdict != "accept" for program in loaded.programs)
        self._moved = refused or len(places) < len(set(self._images))

    def of(self, program: LoadedProgram) -> list[jit.Disassembly]:
        """Those that a program of the load consists of, its own entry first."""
        symbols = self._symbols
        if self._moved:
            symbols = jit.Symbols(self.loaded.symbols, program.jited)
        return [self._one(function, symbols) for function in program.jited]

    def _one(self, function: JitedFunction, symbols: jit.Symbols) -> jit.Disassembly:
        found = self._known.get(function)
        if found is None:
            found = self._known[function] = jit.analyse(function, symbols)
        return found


def verifications(loaded: Loaded) -> list[Verification]:
    """The loads of ``loaded`` that have a verdict, in the order in which the kernel was asked."""
    return [_verification(load, programs, loaded) for load, programs in _members(loaded) if programs]


def _members(loaded: Loaded) -> Iterator[tuple[ProgLoad, list[LoadedProgram]]]:
    for load in loaded.loads:
        yield (
            load,
            [program for program in loaded.programs if program.load == load.number and program.verdict],
        )


def _verification(load: ProgLoad, programs: Sequence[LoadedProgram], loaded: Loaded) -> Verification:
    names = [program.name for program in programs]
    # The end of a log may have anything but its message; the notes have it, though not which root it is of.
    log = load.notes if load.truncated else loaded.log(load)
    stats = verifier_log.parse(load.notes, truncated=load.truncated)
    # bpf_prog_info knows the one figure that matters most, also where the log has none.
    stats.processed_insns = stats.processed_insns or load.verified_insns
    # All programs of a load have its verdict, but for one that is refused for what another one left.
    refused = any(program.verdict == "reject" for program in programs)
    return Verification(
        programs=names,
        verdict="reject" if refused else "accept",
        errno=load.errno,
        message=_message(load, log, programs) if refused else "",
        failed=_failed(names, log) if load.errno and len(names) > 1 else "",
        verifier=stats,
        kernel_insns=load.verified_insns,
    )


def _failed(names: Sequence[str], log: str) -> str:
    number = verifier_log.failed_root(log)
    return names[number] if number is not None and number < len(names) else ""


def _message(load: ProgLoad, log: str, programs: Sequence[LoadedProgram]) -> str:
    if found := verifier_log.message(log):
        return found
    name = errno.errorcode.get(load.errno, f"errno {load.errno}")
    if any(program.accepted_alone for program in programs):
        return f"{name} without a message of the verifier; accepted when it is loaded alone"
    if verifier_log.parse(load.notes).processed_insns:
        return f"{name} without a message of the verifier, which came to its end"
    return f"{name} without a message of the verifier"


def make_root(
    program: LoadedProgram, code: Code, verified: Verification | None, inputs: Mapping[int, str] | None = None
) -> Root:
    """One program of a load as a cell records it; ``verified`` is the load it was part of.

    ``inputs`` names what each step of the load fed to the program; "step N" where it does not.
    """
    return Root(
        name=program.name,
        type=section_type(program.section),
        verdict=program.verdict,
        errno=verified.errno if verified else program.errno,
        message=verified.message if verified else program.error,
        verifier=verified.verifier if verified else VerifierStats(),
        xlated_bytes=program.xlated_bytes,
        jit=Jit([found.image for found in code.of(program)]),
        runs=[
            RunResult((inputs or {}).get(run.step, f"step {run.step}"), run.retval, run.data_out)
            for run in code.loaded.runs
            if run.root == program.name
        ],
        run_cnt=program.run_cnt,
    )


def image_key(image: JitImage) -> str:
    """What two programs that call one image have in common; "" where nothing tells.

    Not the address alone: a program that was unloaded leaves its place to the next one. An
    address that is hidden (kptr_restrict) is 0.
    """
    return f"{image.addr}:{image.sha256}" if image.addr.strip("0") else ""


def total_cost(roots: Sequence[Root], targets: Sequence[Root], verified: Sequence[Verification]) -> Cost:
    """Totals over a cell. An image that several programs call is one image and counts once, and so does
    a load of several programs. Translated bytes are a sum of what each program shows of itself."""
    programs = [*roots, *targets]
    images = {}
    for index, program in enumerate(programs):
        for position, image in enumerate(program.jit.images):
            images[image_key(image) or f"{index}:{position}"] = image
    return Cost(
        roots=len(roots),
        jit_images=len(images),
        jit_bytes=sum(image.bytes for image in images.values()),
        direct_calls=sum(image.direct_calls for image in images.values()),
        indirect_branches=sum(image.indirect_branches for image in images.values()),
        retpoline_calls=sum(image.retpoline_calls for image in images.values()),
        xlated_bytes=sum(program.xlated_bytes for program in programs),
        processed_insns=sum(load.verifier.processed_insns for load in verified),
        total_states=sum(load.verifier.total_states for load in verified),
    )


def miscounted(cell: Cell) -> str:
    """How the verified instructions of an accepted cell differ from the kernel's own count; empty where they
    do not."""
    if cell.verdict != "accept":
        return ""
    counted = sum(load.kernel_insns for load in cell.verifications)
    if counted == cell.cost.processed_insns:
        return ""
    return f"{cell.cost.processed_insns} verified insns, but the kernel counts {counted} in its loads"


def artefacts(program: LoadedProgram, code: Code) -> dict[str, bytes]:
    """The files that hold everything known of one program, by name; logs as the kernel wrote them.

    NAME.jited.bin is all images one after the other, as bpf_prog_info gives them; NAME.jited.asm their
    normalised text, each under a line with symbol, load address and offset in the file.
    """
    files: dict[str, bytes] = {}
    if load := code.loaded.prog_load(program):
        whole = code.loaded.logs.get(load.number)
        log = zlib.decompress(whole) if whole else load.notes.encode(errors="replace")
        if log:
            files[f"{program.name}.verifier.log"] = log
    if program.xlated:
        files[f"{program.name}.xlated.txt"] = program.xlated.encode(errors="replace")
    if program.jited:
        files[f"{program.name}.jited.bin"] = b"".join(function.code for function in program.jited)
        files[f"{program.name}.jited.asm"] = _assembly(code.of(program)).encode()
    return files


def _assembly(images: Iterable[jit.Disassembly]) -> str:
    """The text of several images, each under a line ``; symbol addr=HEX bytes=N file+OFFSET``."""
    parts: list[str] = []
    offset = 0
    for found in images:
        image = found.image
        parts.append(f"; {image.symbol} addr={image.addr} bytes={image.bytes} file+{offset:#x}\n{found.asm}")
        offset += image.bytes
    return "\n".join(parts)


# -- the oracle: equal inputs, equal maps ------------------------------------------------------------

_INTERNAL = (".rodata", ".kconfig", ".ksyms")
_SECTIONS = (".bss", ".data", *_INTERNAL)


def _map_name(name: str) -> str:
    """A map's name without the object's: libbpf calls a global data map OBJECT.bss."""
    for section in _SECTIONS:
        if section in name:
            return name[name.index(section) :]
    return name


def _by_name(maps: Iterable[MapDump]) -> dict[str, list[MapDump]]:
    found: dict[str, list[MapDump]] = {}
    for dump in sorted(maps, key=lambda dump: dump.step):
        name = _map_name(dump.name)
        if dump.type != "prog_array" and not name.startswith(_INTERNAL):
            found.setdefault(name, []).append(dump)
    return found


def equal_results(a: Iterable[MapDump], b: Iterable[MapDump], names: Iterable[str] = ()) -> list[str]:
    """Differences between the maps of two loads, in words; empty where they are equal.

    Compared are the maps in ``names``, else all that both have (a form may need maps of its own). Prog
    arrays and read-only sections never count. Per-CPU values are added up over the CPUs: where a
    program ran is not its result.
    """
    left, right = _by_name(a), _by_name(b)
    wanted = [_map_name(name) for name in names] or sorted(left.keys() & right.keys())
    differences: list[str] = []
    for name in wanted:
        if name not in left or name not in right:
            if name in left or name in right:
                differences.append(f"{name}: only in the {'first' if name in left else 'second'}")
            elif not name.startswith(_INTERNAL):
                differences.append(f"{name}: in neither")
            continue
        if len(left[name]) != len(right[name]):
            differences.append(f"{name}: read {len(left[name])} and {len(right[name])} times")
        for index, (one, other) in enumerate(zip(left[name], right[name], strict=False)):
            label = name if len(left[name]) == 1 else f"{name} (reading {index + 1})"
            differences += _different_entries(label, one, other)
    return differences


def readable_maps(maps: Iterable[MapDump]) -> dict[str, str]:
    """``map[key]`` → value in words: the last reading of each map."""
    return {
        f"{name}[{_number(entry.key)}]": _value(dumps[-1], entry.value)
        for name, dumps in _by_name(maps).items()
        for entry in dumps[-1].entries
    }


def results_digest(cell: Cell) -> str:
    """What a cell's runs returned and left in the maps that are compared, in 16 digits; "" without any."""
    said = [
        f"{r.name} {run.input} {run.retval} {run.data_out}"
        for r in cell.roots
        for run in r.runs
        if run.retval is not None
    ]
    wanted = {_map_name(name) for name in cell.compared}
    values = readable_maps(dump for dump in cell.results if _map_name(dump.name) in wanted)
    said += [f"{name} {value}" for name, value in sorted(values.items())]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16] if said else ""


def _different_entries(label: str, a: MapDump, b: MapDump) -> list[str]:
    if (a.key_size, a.value_size) != (b.key_size, b.value_size):
        sizes = [f"{dump.key_size}/{dump.value_size}" for dump in (a, b)]
        return [f"{label}: key/value sizes {sizes[0]} and {sizes[1]}"]
    left, right = ({entry.key: _value(dump, entry.value) for entry in dump.entries} for dump in (a, b))
    return [
        f"{label}[{_number(key)}]: {left.get(key, 'missing')} and {right.get(key, 'missing')}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def _number(data: str) -> str:
    """Hex bytes of a map as a person writes them: up to 8 bytes as a little-endian number."""
    if not 0 < len(data) <= 16:
        return data or "empty"
    try:
        return str(int.from_bytes(bytes.fromhex(data), "little"))
    except ValueError:
        return data


def _value(dump: MapDump, value: str) -> str:
    if "percpu" not in dump.type:
        return _number(value)
    try:
        data = bytes.fromhex(value)
    except ValueError:
        return value
    # Each CPU's value is padded to 8 bytes (bpf_percpu_array_copy).
    slot = (dump.value_size + 7) // 8 * 8
    word = 8 if dump.value_size % 8 == 0 else 4
    if not slot or len(data) % slot or dump.value_size % word:
        return value
    totals = [0] * (dump.value_size // word)
    for start in range(0, len(data), slot):
        for index in range(len(totals)):
            at = start + index * word
            totals[index] += int.from_bytes(data[at : at + word], "little")
    return " ".join(str(total % (1 << 8 * word)) for total in totals)
