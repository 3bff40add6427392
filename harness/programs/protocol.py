"""What the harness sends to the in-guest runner and what comes back.

The runner (images/runner/) gets one job (JSON) and object files, and streams one JSON
object per line. The first line is a `Hello`, the last a `Done`; without a `Done` the runner did
not finish, whatever its exit status says. Byte strings travel as base64 (`code`) or
lower-case hex (`data`, map keys and values).
"""

from __future__ import annotations

from typing import Literal

import msgspec

VERSION = 1

Mechanism = Literal["tail_call", "duplicate", "multi_root", "fd_name"]
MECHANISMS: tuple[Mechanism, ...] = ("tail_call", "duplicate", "multi_root", "fd_name")
Verdict = Literal["accept", "reject"]


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

    ``roots`` are program names; every other program of the object is loaded as well (a tail
    call's target) and reported with ``root`` false. ``steps`` run in order, only when every
    program was accepted. ``collect`` leaves out what costs transfer. ``prefer_groups``: libbpf may load
    roots that share functions together, and falls back to copies where the kernel refuses that. ``library``
    (fd_name) is an object that is loaded before, whose functions the programs call; its own programs are
    reported with ``root`` false.

    A load without steps of which no code is collected is brief: neighbours of that kind share a process,
    their lines come some together, and the kernel log names not every one. A report of the kernel's in
    between has "Comm: load N" instead, the load's index in the job.
    """

    id: str
    mechanism: Mechanism
    object: str
    roots: list[str]
    steps: list[Step] = []
    collect: tuple[Literal["log", "xlated", "jited"], ...] = ("log", "xlated", "jited")
    log_level: int = 6
    timeout_s: float = 30.0
    prefer_groups: bool = False
    library: str = ""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    loads: list[Load]


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
    """Written before a load is touched: names the load a dead guest died in."""

    id: str


class JitedFunction(msgspec.Struct, frozen=True):
    """One JIT image as bpf_prog_info reports it. ``addr`` is hex without 0x."""

    symbol: str
    addr: str
    code: bytes


class Program(msgspec.Struct, frozen=True):
    """One program after the load: info where accepted, errno and log in either case."""

    name: str
    section: str
    root: bool
    verdict: Verdict
    errno: int = 0
    log: str = ""
    log_truncated: bool = False
    id: int = 0
    tag: str = ""
    insn_cnt: int = 0
    xlated_bytes: int = 0
    jited_bytes: int = 0
    verified_insns: int = 0
    run_cnt: int = 0
    xlated: str = ""
    jited: list[JitedFunction] = []


class Run(msgspec.Struct, frozen=True):
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

    ``error`` is set where the load or a step failed for a reason that is not a verdict
    (no such program, attach failed): one line with the step's index and errno name.
    ``unsupported`` is set where the kernel does not know the mechanism. ``symbols`` maps
    hex addresses of possible call targets in the images to kallsyms names.
    """

    id: str
    verdict: Verdict
    programs: list[Program] = []
    runs: list[Run] = []
    maps: list[MapDump] = []
    costs: list[Samples] = []
    symbols: dict[str, str] = {}
    error: str = ""
    unsupported: bool = False
    duration_us: int = 0


class Done(msgspec.Struct, tag="done", tag_field="type", frozen=True):
    loads: int


Line = Hello | Start | Loaded | Done

_decoder = msgspec.json.Decoder(Line)


def parse(line: str | bytes) -> Line:
    """One line of the runner's output. Raises msgspec.DecodeError for anything else."""
    decoded: Line = _decoder.decode(line)
    return decoded
