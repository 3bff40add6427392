"""The data model of a run: `RunInfo` in run.json, one `Cell` per line in cells.jsonl."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from bpfroots.errors import Where
from bpfroots.programs.protocol import MapDump, Mechanism, Verdict, VerdictOrNone
from bpfroots.results.key import Key, Keyed
from bpfroots.results.request import Kind, Request, Selftests

#: Of a run folder. 3: a cell is named by its key; `old` reads 2.
SCHEMA = 3

Outcome = Literal[
    "pass",
    "fail",
    "xfail",
    "skip",
    "unsupported",
    "error",
    "guest_crash",
    "guest_hang",
    "timeout",
    "infra_error",
]
#: Outcomes that are not as expected.
BAD: frozenset[Outcome] = frozenset({"fail", "error", "guest_crash", "guest_hang", "timeout", "infra_error"})


class VerifierStats(msgspec.Struct, omit_defaults=True):
    """The stats lines of a verifier log (kernel/bpf/verifier.c, print_verification_stats)."""

    processed_insns: int = 0
    total_states: int = 0
    peak_states: int = 0
    max_states_per_insn: int = 0
    mark_read: int = 0
    stack_depth: str = ""
    verification_time_us: int = 0
    truncated: bool = False


class JitImage(msgspec.Struct):
    """One JITed function. ``sha256`` is of the normalised code: equal code, equal hash. ``opcodes``: of its
    instructions without what may be a constant or an address of four bytes or more.

    ``addr`` tells whether two roots call the same image; it differs from boot to boot.
    ``calls`` lists direct calls by symbol. ``prologue`` and ``epilogue`` are bytes.
    """

    symbol: str
    addr: str
    sha256: str
    bytes: int
    direct_calls: int
    indirect_branches: int
    retpoline_calls: int
    calls: list[str] = []
    prologue: int = 0
    epilogue: int = 0
    opcodes: str = ""


class Jit(msgspec.Struct):
    images: list[JitImage] = []


#: What is measured of a run; the names in `RunResult`.
Measure = Literal["insns_per_run", "insns_per_run_no_retpolines", "ns_per_run"]


class RunResult(msgspec.Struct, omit_defaults=True):
    """One input: a packet of a test run, or a kind of event (then what a run returns is not seen).

    Instructions per run only where a machine with -icount measured them: with the mitigations this
    CPU asks for (retpolines), and without (spectre_v2=off). Nanoseconds only where KVM ran the guest:
    they are of this host, at that moment. ``not_exact`` names the measures whose figure is not what most
    runs took.
    """

    input: str
    retval: int | None = None
    data_out: str = ""
    insns_per_run: float | None = None
    insns_per_run_no_retpolines: float | None = None
    ns_per_run: float | None = None
    not_exact: list[Measure] = []


class Verification(msgspec.Struct):
    """One BPF_PROG_LOAD: the programs that the kernel verified together, and what that took, once.

    ``failed`` is the program that the log says was being verified when a group was refused, empty where it
    does not say. ``kernel_insns`` is bpf_prog_info.verified_insns: the kernel's own count of
    ``verifier.processed_insns``, 0 where there is no program to ask.
    """

    programs: list[str]
    verdict: Verdict
    errno: int = 0
    message: str = ""
    failed: str = ""
    verifier: VerifierStats = msgspec.field(default_factory=VerifierStats)
    kernel_insns: int = 0


class Root(msgspec.Struct):
    """A root, or (in ``Cell.targets``) a program that roots tail-call or call into.

    ``verifier`` is what the load took that it was part of: the same for all of a group, so sums go over
    ``Cell.verifications``. ``verdict`` is empty where the kernel was not asked; ``message`` then says why.
    """

    name: str
    type: str
    verdict: VerdictOrNone
    errno: int = 0
    message: str = ""
    verifier: VerifierStats = msgspec.field(default_factory=VerifierStats)
    xlated_bytes: int = 0
    jit: Jit = msgspec.field(default_factory=Jit)
    runs: list[RunResult] = []
    run_cnt: int = 0


class Cost(msgspec.Struct):
    """Totals over a cell's programs and verifications; an image shared by programs counts once."""

    roots: int = 0
    jit_images: int = 0
    jit_bytes: int = 0
    direct_calls: int = 0
    indirect_branches: int = 0
    retpoline_calls: int = 0
    xlated_bytes: int = 0
    processed_insns: int = 0
    total_states: int = 0


class Expected(msgspec.Struct):
    verdict: Verdict
    message: str = ""


class TestResult(msgspec.Struct, kw_only=True):
    """What a test came to on a kernel: a cell, a test of the kernel's own tree, a step of a night.

    ``reason`` says in one line why the outcome is what it is, where it is not a plain pass. Of a guest that
    was lost it is what happened, such as the title of the kernel's complaint; ``console`` is where that is,
    and ``note`` what else is known. ``reproduce`` is the command that does it again. ``duration_s`` is what
    it took in the guest, in seconds; of a guest that was lost, until that was seen; 0 where it is not known.
    ``attempt`` counts runs of the same on the same kernel, which only a bisection has.
    """

    __test__: ClassVar[bool] = False  # nothing for pytest to collect

    case: str
    kernel: str
    outcome: Outcome
    reason: str = ""
    console: Where | None = None
    note: str = ""
    reproduce: str = ""
    duration_s: float = 0.0
    attempt: int = 1

    @property
    def key(self) -> Key:
        return Key(self.case, "", self.kernel, self.attempt)

    @property
    def in_full(self) -> str:
        """``reason``, where on the console, and ``note``, in one line."""
        where = f"console {self.console}" if self.console else ""
        return "; ".join(filter(None, (self.reason, where, self.note)))


#: The case of a `Step` that is the build of a kernel.
BUILD = "kernel/build"


class Step(TestResult):
    """A line of steps.jsonl: what is done for a kernel beside cells.

    ``program`` is one of the kernel's tree, whose own tests are in selftests/KERNEL/PROGRAM.jsonl.
    """

    program: str = ""


class Cell(TestResult):
    """One case under one mechanism on one kernel.

    ``not_expressible`` is why a mechanism cannot express the case.
    ``artefacts`` maps names to paths relative to the run folder. ``results`` are the maps after
    the steps, by name, for the oracle; those in ``compared`` have to be equal under every mechanism.
    ``verdict`` is empty where there is none. ``hint`` says what to do about that. ``remarks`` are what was
    done to the object before it was loaded. ``program`` is the SHA-256 of the object, or of the library's
    and the object's. ``reused`` is the run it comes from, where nothing that could make a difference has
    changed since. ``duration_s`` is what load and steps took.
    """

    case: str
    kernel: str
    mechanism: Mechanism
    verdict: VerdictOrNone = ""
    expected: Expected | None = None
    verifications: list[Verification] = []
    roots: list[Root] = []
    targets: list[Root] = []
    cost: Cost = msgspec.field(default_factory=Cost)
    artefacts: dict[str, str] = {}
    not_expressible: str = ""
    hint: str = ""
    remarks: list[str] = []
    results: list[MapDump] = []
    compared: list[str] = []
    program: str = ""
    reused: str = ""

    @property
    def key(self) -> Key:
        return Key(self.case, self.mechanism, self.kernel, self.attempt)

    @property
    def programs(self) -> list[Root]:
        """Roots, and what they call into."""
        return [*self.roots, *self.targets]

    def program_named(self, name: str) -> Root | None:
        """None where the cell has no such program."""
        return next((root for root in self.programs if root.name == name), None)

    def load_of(self, program: str) -> Verification | None:
        """The load that a program was part of; None where it was in none."""
        return next((load for load in self.verifications if program in load.programs), None)


class CostFigure(Keyed, msgspec.Struct):
    """A line of costs.jsonl: what a run of one root takes on one input. ``exact``: most runs took that."""

    case: str
    kernel: str
    mechanism: Mechanism
    root: str
    input: str
    measure: Measure
    value: float
    exact: bool = True
    attempt: int = 1


class KernelInfo(msgspec.Struct, omit_defaults=True):
    """How a kernel of a run was made.

    ``key`` is another one for another kernel, whatever it is called; ``argument`` is what ``--kernel`` takes
    for it. ``commit`` is that of a source in git. ``prebuilt``: it was built elsewhere, and ``source_id`` is
    that of the image.
    """

    name: str
    release: str = ""
    source_id: str = ""
    commit: str = ""
    prebuilt: bool = False
    series_id: str = ""
    config_hash: str = ""
    compiler: str = ""
    key: str = ""
    argument: str = ""


class RunInfo(msgspec.Struct):
    """run.json. ``accel`` is the accelerator actually used, with the reason.

    ``kind`` is what was done. ``inputs`` changes whenever something but the kernel does that could make a
    cell come out otherwise: image, QEMU, cases, judge. ``job`` is the nightly job that it is a night of.
    ``request`` is what a run of cells was asked for, ``selftests`` what one of the kernel's own tests was.
    """

    schema: int
    run: str
    command: list[str]
    started: str
    kernels: list[KernelInfo] = []
    image: dict[str, str] = {}
    qemu: str = ""
    clang: str = ""
    accel: str = ""
    accel_reason: str = ""
    host: dict[str, Any] = {}
    inputs: str = ""
    kind: Kind = "run"
    job: str = ""
    finished: str = ""
    request: Request | None = None
    selftests: Selftests | None = None
