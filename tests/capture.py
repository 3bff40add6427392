"""python -m tests.capture: writes golden/runner again, from a guest of baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bpfroots import process
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import prepare
from bpfroots.machine import choose_accel
from bpfroots.programs import bundle
from bpfroots.programs import compile as compiling
from bpfroots.programs.protocol import Attach, Detach, Load, ReadMaps, Step, TestRun, Trigger
from bpfroots.progress import Progress

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden" / "runner"
# Ethernet, IPv4, UDP from port 47002 to 47001, 16 bytes.
PACKET = (
    "ffffffffffff0000000000000800"
    "45000024000000004011" + "0000" + "7f0000017f000001"
    "b79ab79900180000" + "00" * 16
)

_COUNTER: list[Step] = [
    Attach("on_comm"),
    Attach("on_getpgid"),
    Trigger("comm", 3),
    Trigger("getpgid", 5),
    Detach("on_comm"),
    ReadMaps(),
]
_PACKET: list[Step] = [
    Attach("ingress"),
    Attach("classify", "lo"),
    Attach("pass"),
    Trigger("udp", count=4),
    ReadMaps([".bss"]),
    Detach("pass"),
    Trigger("udp", count=1),
    ReadMaps(["packet.bss"]),
    *(TestRun(root, PACKET) for root in ("ingress", "classify", "pass")),
]
_FOREVER: list[Step] = [TestRun("pass", PACKET, repeat=2_000_000_000)]

JOBS: dict[str, list[Load]] = {
    "accept": [
        Load("counter", "duplicate", "counter.bpf.o", ["on_comm", "on_getpgid"], _COUNTER),
        Load("packet", "duplicate", "packet.bpf.o", ["ingress", "classify", "pass"], _PACKET),
    ],
    "reject": [Load("reject", "duplicate", "reject.bpf.o", ["good", "bad", "also_good"])],
    "tail_call": [
        Load(
            "tailcall",
            "tail_call",
            "tailcall.bpf.o",
            ["constant_index", "variable_index"],
            [*(TestRun(root, PACKET) for root in ("constant_index", "variable_index")), ReadMaps([".bss"])],
        )
    ],
    "unsupported": [
        Load("roots", "multi_root", "counter.bpf.o", ["on_comm", "on_getpgid"]),
        Load("name", "fd_name", "counter.bpf.o", ["on_comm"]),
    ],
    "errors": [
        Load("noroot", "duplicate", "counter.bpf.o", ["nothere"]),
        Load("nothingattached", "duplicate", "counter.bpf.o", ["on_comm"], [Detach("on_comm")], collect=()),
        Load("garbage", "duplicate", "garbage.bpf.o", []),
        Load("slow", "duplicate", "packet.bpf.o", ["pass"], _FOREVER, timeout_s=1.5),
        Load("after", "duplicate", "reject.bpf.o", ["good"], collect=()),
    ],
}


def _objects(directory: Path) -> dict[str, Path]:
    kit = prepare(["baseline"], Progress())
    found = {
        f"{source.name.removesuffix('.c')}.o": compiling.compile_source(
            kit.toolchain, kit.objects, source.read_bytes(), source.name
        )
        for source in (TESTS / "runner").glob("*.bpf.c")
    }
    garbage = directory / "garbage"
    garbage.write_bytes(b"\x7fELF" + bytes(60))
    return {**found, "garbage.bpf.o": garbage}


def _run(jobs: Mapping[str, Sequence[Load]]) -> None:
    directory = process.temporary_directory()
    objects = _objects(directory)
    kit = prepare(["baseline"], Progress())
    with Guests(kit, choose_accel()).boot(kit.kernels[0], directory / "console.log") as machine:
        for name, loads in jobs.items():
            there = {load.object: objects[load.object] for load in loads}
            payload = bundle.bundle(loads, there)
            done = machine.output(bundle.COMMAND, stdin=payload)
            (GOLDEN / f"{name}.jsonl").write_bytes(done.stdout)


if __name__ == "__main__":
    _run(JOBS)
