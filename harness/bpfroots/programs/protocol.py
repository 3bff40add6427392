"""What the harness sends to the in-guest runner and what comes back.

The runner (images/runner/) gets one job, a line of JSON, and the object files after it. It streams one JSON
object per line. The first line is a `Hello`, the last a `Done`; without a `Done` the runner did
not finish, whatever its exit status says. Byte strings travel as base64 (`code`, `log`) or
lower-case hex (`data`, map keys and values).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self

import msgspec

VERSION = 3

Mechanism = Literal["tail_call", "duplicate", "multi_root", "fd_name"]
MECHANISMS: tuple[Mechanism, ...] = ("tail_call", "duplicate", "multi_root", "fd_name")
Verdict = Literal["accept", "reject"]
#: Empty where the kernel was not asked, or was in no position to tell.
VerdictOrNone = Literal["accept", "reject", ""]


class Attach(msgspec.Struct, tag="attach", tag_field="op", frozen=True, forbid_unknown_fields=True):
    """Attach a root for real, as its section says.

    ``target`` is the network device of tc and XDP programs ("lo" when empty).
    """

    root: str
    target: str = ""


class Detach(msgspec.Struct, tag="detach", tag_field="op", frozen=True, forbid_unknown_fields=True):
    root: str


class Trigger(msgspec.Struct, tag="trigger", tag_field="op", frozen=True, forbid_unknown_fields=True):
    """Make the event happen ``count`` times.

    comm: prctl(PR_SET_NAME) -> __set_task_comm. getpgid, getppid: that system call.
    yield: usleep -> sched_switch. udp: a datagram of ``size`` bytes of payload over
    lo from inside the runner's test cgroup, received by the runner (cgroup_skb, tc, XDP). unix: a
    datagram through a pair of UNIX sockets of every attached socket filter.
    """

    kind: Literal["comm", "getpgid", "getppid", "yield", "udp", "unix"]
    count: int = 1
    size: int = 16


class TestRun(msgspec.Struct, tag="test_run", tag_field="op", frozen=True, forbid_unknown_fields=True):
    """BPF_PROG_TEST_RUN of a root. ``data`` and ``ctx`` are hex."""

    __test__ = False

    root: str
    data: str = ""
    ctx: str = ""
    repeat: int = 1


class ReadMaps(msgspec.Struct, tag="read_maps", tag_field="op", frozen=True, forbid_unknown_fields=True):
    """Dump the named maps (all of the object's when empty), .bss and .data included."""

    maps: list[str] = []


class MeasureRuns(
    msgspec.Struct, tag="measure_runs", tag_field="op", frozen=True, forbid_unknown_fields=True
):
    """What a run of a root costs on ``data`` (hex): ``samples`` test runs of ``repeat`` runs each.

    Each sample finds the same numbers in arrays and variables, and ring buffers that have been read; the
    first finds the trace buffer empty.
    """

    root: str
    data: str = ""
    repeat: int = 1
    samples: int = 1


class MeasureEvents(
    msgspec.Struct, tag="measure_events", tag_field="op", frozen=True, forbid_unknown_fields=True
):
    """What a run of an attached root costs: ``samples`` times ``count`` events of a Trigger; else as
    `MeasureRuns`."""

    root: str
    kind: str
    count: int = 1
    size: int = 16
    samples: int = 1


Step = Attach | Detach | Trigger | TestRun | ReadMaps | MeasureRuns | MeasureEvents


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One object under one mechanism.

    ``roots`` are program names, empty for all that the object has; every other program of the object is
    loaded as well (a tail call's target) and reported with ``root`` false. ``steps`` run in order, only when
    every program was accepted. ``collect`` leaves out what costs transfer; statistics and error messages
    always come. ``prefer_groups``: libbpf may load roots that share functions together, and falls back to
    copies where the kernel refuses that. ``library`` (fd_name) is an object that is loaded before, whose
    functions the programs call; ``target`` one whose functions they replace (freplace). Their own programs
    are reported with ``root`` false. ``globals`` are values of global variables, as text. ``fixups``: do
    what the object's own loader would (images/runner/fixup.c), load optional programs too, and say so in
    `Loaded.remarks`.

    A load without steps of which nothing is collected is brief: neighbours of that kind share a process,
    their lines come some together, and neither a `Start` nor the kernel log names every one. A report of the
    kernel's in between has "Comm: load N" instead, the load's index in the job.
    """

    id: str
    mechanism: Mechanism
    object: str
    roots: list[str]
    steps: list[Step] = []
    collect: tuple[Literal["log", "xlated", "jited"], ...] = ("log", "xlated", "jited")
    timeout_s: float = 30.0
    prefer_groups: bool = False
    library: str = ""
    target: str = ""
    globals: dict[str, str] = {}
    fixups: bool = False


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``common`` has what all loads have, by the fields of `Load`, and ``loads`` has the rest of each.

    ``objects``: the size in bytes of each object file by its name, in the order in which they follow.
    """

    version: int
    common: dict[str, Any]
    loads: list[dict[str, Any]]
    objects: dict[str, int]

    @classmethod
    def of(cls, loads: Sequence[Load], objects: dict[str, int]) -> Self:
        """The job of ``loads``: what they have in common is said once, because an emulated guest takes 150
        instructions to read a byte of JSON."""
        fields: list[dict[str, Any]] = [msgspec.to_builtins(load) for load in loads]
        first = fields[0] if fields else {}
        same = {name for name in first if all(one.get(name, one) == first[name] for one in fields)}
        common = {name: first[name] for name in first if name in same}
        rest = [{name: one[name] for name in one if name not in same} for one in fields]
        return cls(VERSION, common, rest, objects)


class Probe(msgspec.Struct, frozen=True):
    """Does the kernel know a mechanism? ``clean``: refused as an old kernel should."""

    supported: bool
    errno: int
    clean: bool


class Hello(msgspec.Struct, tag="hello", tag_field="type", frozen=True):
    version: int
    libbpf: str
    kernel: str
    probes: dict[str, Probe]


class Start(msgspec.Struct, tag="start", tag_field="type", frozen=True):
    """Written before a load is touched: names the load a dead guest died in. Not every brief load has one."""

    id: str


class JitedFunction(msgspec.Struct, frozen=True):
    """One JIT image as bpf_prog_info reports it. ``addr`` is hex without 0x."""

    symbol: str
    addr: str
    code: bytes


class ProgLoad(msgspec.Struct, frozen=True):
    """One BPF_PROG_LOAD, of one program or of several that are verified together.

    ``number`` is what programs and log lines name it by. ``notes`` is the kernel's log at BPF_LOG_STATS:
    statistics, and the messages of a refusal. ``truncated``: the whole log was asked for, and there is no
    more of it than was sent. ``verified_insns`` is bpf_prog_info's, 0 where the program was refused.
    """

    number: int = 0
    notes: str = ""
    errno: int = 0
    verified_insns: int = 0
    truncated: bool = False


class Log(msgspec.Struct, tag="log", tag_field="type", frozen=True):
    """A piece of the whole log (level 2) of a `ProgLoad`; ahead of the load's `Loaded`."""

    id: str
    load: int
    data: bytes


class LoadedProgram(msgspec.Struct, frozen=True):
    """One program after the load: info where accepted; ``load`` is its `ProgLoad`, -1 for none.

    ``verdict`` is empty where the kernel was not asked; then ``error`` says why, in libbpf's words.
    ``accepted_alone``: refused among the object's other programs only.
    """

    name: str
    section: str
    root: bool
    verdict: VerdictOrNone
    load: int = 0
    errno: int = 0
    error: str = ""
    accepted_alone: bool = False
    id: int = 0
    tag: str = ""
    xlated_bytes: int = 0
    jited_bytes: int = 0
    run_cnt: int = 0
    xlated: str = ""
    jited: list[JitedFunction] = []


class RunReport(msgspec.Struct, frozen=True):
    """What a TestRun gave. ``duration_ns`` is the kernel's average per run."""

    root: str
    step: int
    retval: int
    duration_ns: int
    data_out: str = ""
    errno: int = 0


class MapEntry(msgspec.Struct, frozen=True):
    """Key and value, hex. Per-CPU values are concatenated in CPU order."""

    key: str
    value: str


class MapDump(msgspec.Struct, frozen=True):
    name: str
    type: str
    key_size: int
    value_size: int
    entries: list[MapEntry]
    step: int = 0


class Samples(msgspec.Struct, frozen=True):
    """What a Measure step gave: (nanoseconds, runs they are for), as the kernel counts them, by sample."""

    root: str
    step: int
    samples: list[tuple[int, int]]


class Loaded(msgspec.Struct, tag="load", tag_field="type", frozen=True):
    """The result of one Load.

    ``loads`` are those that ``programs`` name; ``logs`` has their whole logs, compressed by zlib, put
    together from `Log` lines. ``error`` is set where the load or a step failed for a reason that is not a
    verdict (no such program, attach failed): one line with the step's index and errno name.
    ``unsupported`` is set where the kernel does not know the mechanism. ``symbols`` maps
    hex addresses of possible call targets in the images to kallsyms names.
    """

    id: str
    loads: list[ProgLoad] = []
    programs: list[LoadedProgram] = []
    runs: list[RunReport] = []
    maps: list[MapDump] = []
    costs: list[Samples] = []
    symbols: dict[str, str] = {}
    remarks: list[str] = []
    error: str = ""
    timed_out: bool = False
    unsupported: bool = False
    duration_us: int = 0
    logs: dict[int, bytes] = {}

    @property
    def verdict(self) -> VerdictOrNone:
        """Of all programs: reject where one is, accept where all are; empty where neither is known, or
        where it is known of a library alone."""
        verdicts = {program.verdict for program in self.programs}
        if "reject" in verdicts:
            return "reject"
        return "accept" if verdicts == {"accept"} and any(p.root for p in self.programs) else ""

    def prog_load(self, program: LoadedProgram) -> ProgLoad | None:
        """The load that ``program`` was part of."""
        return next((load for load in self.loads if load.number == program.load), None)

    def log(self, load: ProgLoad) -> str:
        """All that is known of the kernel's log: the whole one, else its statistics and messages.

        Bytes that are no UTF-8 (a source line may have any) are replaced.
        """
        whole = self.logs.get(load.number)
        return load.notes if whole is None else zlib.decompress(whole).decode(errors="replace")


class Done(msgspec.Struct, tag="done", tag_field="type", frozen=True):
    loads: int


Line = Hello | Start | Log | Loaded | Done

_decoder = msgspec.json.Decoder(Line)


def parse(line: str | bytes) -> Line:
    """One line of the runner's output. Raises msgspec.DecodeError for anything else."""
    decoded: Line = _decoder.decode(line)
    return decoded


def assemble(lines: Iterable[Line]) -> Iterator[Hello | Start | Loaded | Done]:
    """``lines`` with each load's logs in its `Loaded`; in memory they are never but compressed."""
    logs: dict[int, list[bytes]] = {}
    packers: dict[int, zlib._Compress] = {}
    for line in lines:
        if isinstance(line, Log):
            packer = packers.setdefault(line.load, zlib.compressobj(1))
            logs.setdefault(line.load, []).append(packer.compress(line.data))
            continue
        if isinstance(line, Loaded) and logs:
            whole = {number: b"".join([*parts, packers[number].flush()]) for number, parts in logs.items()}
            named = {program.load for program in line.programs}
            line = msgspec.structs.replace(line, logs={n: log for n, log in whole.items() if n in named})
        if isinstance(line, Start | Loaded):
            logs, packers = {}, {}
        yield line
