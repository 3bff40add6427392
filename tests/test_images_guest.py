"""The image and its runner in a real guest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpfroots import images
from bpfroots.errors import BootError
from bpfroots.jobs.kit import Kit
from bpfroots.machine import BootSpec, Machine, choose_accel
from bpfroots.programs import bundle, protocol
from bpfroots.programs import compile as compiling
from bpfroots.programs.protocol import (
    Attach,
    Detach,
    Load,
    Loaded,
    MapDump,
    ReadMaps,
    Step,
    TestRun,
    Trigger,
)
from bpfroots.shape import Shape
from tests.conftest import GuestKit

pytestmark = pytest.mark.guest

SOURCES = Path(__file__).parent / "runner"
# Ethernet, IPv4, UDP from port 47002 to 47001, 16 bytes.
PACKET = (
    "ffffffffffff0000000000000800"
    "45000024000000004011" + "0000" + "7f0000017f000001"
    "b79ab79900180000" + "00" * 16
)


@dataclass(frozen=True)
class Guest:
    machine: Machine
    objects: dict[str, Path]

    def run(self, *loads: Load) -> list[protocol.Line]:
        done = self.machine.output(bundle.COMMAND, stdin=bundle.bundle(loads, self.objects))
        assert done.status == 0, done.stderr
        return list(protocol.assemble(map(protocol.parse, done.stdout.splitlines())))

    def load(self, load: Load) -> Loaded:
        (loaded,) = [line for line in self.run(load) if isinstance(line, Loaded)]
        return loaded


@pytest.fixture(scope="module")
def objects(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {
        f"{source.stem}.o": compiling.compile_source(
            kit.toolchain, kit.objects, source.read_bytes(), source.name
        )
        for source in sorted(SOURCES.glob("*.bpf.c"))
    }
    out = tmp_path_factory.mktemp("damaged")
    for name, size in (("truncated.bpf.o", 3000), ("empty.bpf.o", 0)):
        made[name] = out / name
        made[name].write_bytes(made["counter.bpf.o"].read_bytes()[:size])
    return made


@pytest.fixture(scope="module")
def guest(
    guest_kit: GuestKit, objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    with Machine.boot(
        BootSpec(guest_kit.kernel, choose_accel("auto")),
        guest_kit.initrd,
        console_log=tmp_path_factory.mktemp("image") / "console.log",
        ready_mark=images.READY_MARK,
        identity=guest_kit.identity,
    ) as machine:
        yield Guest(machine, objects)


def _maps(loaded: Loaded) -> dict[tuple[int, str], MapDump]:
    return {(dump.step, dump.name): dump for dump in loaded.maps}


def _number(value: str) -> int:
    return int.from_bytes(bytes.fromhex(value), "little")


def test_guest_is_set_up_as_the_readme_says(guest: Guest) -> None:
    said = guest.machine.output(
        "cat /proc/sys/net/core/bpf_jit_enable /proc/sys/net/core/bpf_jit_kallsyms"
        " /proc/sys/net/core/bpf_jit_harden; cut -d' ' -f2,3 /proc/mounts"
    ).stdout.decode()
    assert said.split()[:3] == ["1", "1", "0"]
    for mount in ("/proc proc", "/sys sysfs", "/tmp tmpfs", "/sys/fs/bpf bpf", "/sys/fs/cgroup cgroup2"):
        assert mount in said
    assert "tracefs" in said


def test_hello_says_that_new_mechanisms_are_cleanly_refused(guest: Guest) -> None:
    hello = guest.run()[0]
    assert isinstance(hello, protocol.Hello)
    assert hello.version == protocol.VERSION
    assert hello.probes["multi_root"] == protocol.Probe(supported=False, errno=7, clean=True)
    assert hello.probes["fd_name"] == protocol.Probe(supported=False, errno=22, clean=True)


def test_kprobe_and_tracepoint_count_exactly_what_the_runner_did(guest: Guest) -> None:
    steps: list[Step] = [
        Attach("on_comm"),
        Attach("on_getpgid"),
        Trigger("comm", 3),
        Trigger("getpgid", 5),
        Detach("on_comm"),
        Trigger("comm", 2),
        ReadMaps(),
    ]
    roots = ["on_comm", "on_getpgid"]
    loaded = guest.load(Load("counter", "duplicate", "counter.bpf.o", roots, steps))
    assert (loaded.error, loaded.verdict) == ("", "accept")
    counts = _maps(loaded)[6, "counts"]
    assert [(e.key, _number(e.value)) for e in counts.entries] == [("00000000", 3), ("01000000", 5)]
    per_cpu = _maps(loaded)[6, "per_cpu"]
    assert [_number(e.value) for e in per_cpu.entries] == [3, 5]
    assert _number(_maps(loaded)[6, "counter.bss"].entries[0].value) == 8
    assert not any(dump.name.endswith(".rodata") for dump in loaded.maps)
    for program in loaded.programs:
        assert program.run_cnt >= {"on_comm": 3, "on_getpgid": 5}[program.name]
        load = loaded.prog_load(program)
        assert load is not None
        assert "processed" in load.notes
        assert "R10=fp0" in loaded.log(load)
        assert not load.truncated
        first, second = program.jited
        assert first.symbol.endswith("_" + program.name)
        assert second.symbol.endswith("_count")
        assert loaded.symbols[second.addr] == second.symbol
        assert len(first.code) + len(second.code) == program.jited_bytes
        assert program.xlated.startswith(f"{program.name}:\n   0: ")
        assert _numbers(program.xlated) == _instructions(program.xlated_bytes, program.xlated)
        assert f"call pc+2#{second.symbol}" in program.xlated
    assert "bpf_get_current_pid_tgid" in loaded.symbols.values()


def _numbers(xlated: str) -> list[int]:
    """Those of the instructions, a line each."""
    lines = [line for line in xlated.splitlines() if not line.endswith(":")]
    return [int(line.partition(":")[0]) for line in lines if line.count(": (") == 1]


def _instructions(size: int, xlated: str) -> list[int]:
    """All that ``size`` bytes have, but for the second half of those that load 64 bits."""
    halves = {int(number) + 1 for number in re.findall(r"(\d+): \(18\)", xlated)}
    return [number for number in range(size // 8) if number not in halves]


def test_packets_reach_cgroup_tc_and_xdp(guest: Guest) -> None:
    steps: list[Step] = [
        Attach("ingress"),
        Attach("classify", "lo"),
        Attach("pass"),
        Trigger("udp", count=4),
        ReadMaps([".bss"]),
        Detach("pass"),
        Trigger("udp", count=1),
        ReadMaps(["packet.bss"]),
        TestRun("pass", PACKET, repeat=10),
        TestRun("classify", PACKET),
    ]
    loaded = guest.load(Load("packet", "duplicate", "packet.bpf.o", ["ingress", "classify", "pass"], steps))
    assert loaded.error == ""
    maps = _maps(loaded)
    for step, counts in ((4, (4, 4, 4)), (7, (5, 5, 4))):
        value = maps[step, "packet.bss"].entries[0].value
        assert tuple(_number(value[i : i + 16]) for i in (0, 16, 32)) == counts
    xdp, tc = loaded.runs
    assert (xdp.retval, xdp.data_out, xdp.errno, xdp.step) == (2, PACKET, 0, 8)
    assert (tc.retval, tc.data_out, tc.errno, tc.step) == (0, PACKET, 0, 9)


def test_each_program_has_a_verdict_of_its_own(guest: Guest) -> None:
    roots = ["good", "bad", "also_good"]
    loaded = guest.load(Load("r", "duplicate", "reject.bpf.o", roots, [ReadMaps()]))
    assert (loaded.verdict, loaded.error, loaded.maps) == ("reject", "", [])
    good, bad, also_good = loaded.programs
    assert (good.verdict, also_good.verdict) == ("accept", "accept")
    assert good.jited
    refused = loaded.prog_load(bad)
    assert refused is not None
    assert (bad.verdict, refused.errno, bad.id) == ("reject", 13, 0)
    assert "invalid access to packet" in refused.notes
    assert "invalid access to packet" in loaded.log(refused)


def test_tail_calls_through_a_declared_prog_array(guest: Guest) -> None:
    roots = ["constant_index", "variable_index"]
    steps: list[Step] = [*(TestRun(root, PACKET) for root in roots), ReadMaps([".bss"])]
    loaded = guest.load(Load("t", "tail_call", "tailcall.bpf.o", roots, steps))
    assert (loaded.verdict, loaded.error) == ("accept", "")
    assert [program.root for program in loaded.programs] == [False, True, True]
    assert [done.retval for done in loaded.runs] == [7, 7]
    assert _number(loaded.maps[0].entries[0].value) == 2


def test_symbols_are_those_of_kallsyms(guest: Guest) -> None:
    loaded = guest.load(Load("s", "duplicate", "counter.bpf.o", ["on_comm"], collect=("jited",)))
    named = guest.machine.output("cat /proc/kallsyms").stdout.decode().splitlines()
    kallsyms = {(line.split()[0], line.split()[2]) for line in named}
    kernel = {(a, n) for a, n in loaded.symbols.items() if not n.startswith("bpf_prog_")}
    assert kernel
    assert kernel <= kallsyms


def test_no_bad_load_ends_the_run(guest: Guest) -> None:
    forever: list[Step] = [TestRun("pass", PACKET, repeat=2_000_000_000)]
    lines = guest.run(
        Load("empty", "duplicate", "empty.bpf.o", []),
        Load("noroot", "duplicate", "counter.bpf.o", ["nothere"]),
        Load("truncated", "duplicate", "truncated.bpf.o", []),
        Load("detach", "duplicate", "counter.bpf.o", ["on_comm"], [Detach("on_comm")]),
        Load("slow", "duplicate", "packet.bpf.o", ["pass"], forever, timeout_s=1),
        Load("roots", "multi_root", "counter.bpf.o", ["on_comm", "on_getpgid"]),
        Load("name", "fd_name", "counter.bpf.o", ["on_comm"]),
        Load("good", "duplicate", "packet.bpf.o", ["pass"], collect=()),
    )
    loaded = {line.id: line for line in lines if isinstance(line, Loaded)}
    assert "not a proper ELF object" in loaded["empty"].error
    assert "no program 'nothere'" in loaded["noroot"].error
    assert "failed to get section names" in loaded["truncated"].error
    assert loaded["detach"].error == "step 0: detach on_comm: it is not attached"
    assert (loaded["slow"].error, loaded["slow"].timed_out) == ("timed out after 1 s", True)
    assert all(loaded[id_].verdict == "" for id_ in ("empty", "noroot", "truncated", "slow"))
    for id_ in ("roots", "name"):
        assert (loaded[id_].unsupported, loaded[id_].verdict, loaded[id_].error) == (True, "", "")
    assert (loaded["good"].verdict, loaded["good"].error) == ("accept", "")
    assert lines[-1] == protocol.Done(8)


# Two ways on from each of a million turns, none in a state that another has been in: seconds of verification.
_LONG = b"""
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("socket") int prog(struct __sk_buff *skb)
{
	unsigned long sum = 0;
	for (int i = 0; i < 1000000; i++)
		sum += bpf_get_prandom_u32() & 1 ? i : sum;
	return sum;
}
"""


def test_loads_that_ask_for_a_verdict_alone_share_a_process(kit: Kit, guest: Guest) -> None:
    """What one of them does to it is no other's business; nothing is lost, and all in order."""
    guest.objects["long.o"] = compiling.compile_source(kit.toolchain, kit.objects, _LONG, "long.bpf.c")
    objects = ["reject.bpf.o", "counter.bpf.o", "empty.bpf.o", "long.o", "truncated.bpf.o", "counter.bpf.o"]
    loads = [
        Load(
            f"{n}",
            "duplicate",
            name,
            [],
            collect=(),
            timeout_s=0.1 if name == "long.o" else 30,
        )
        for n, name in enumerate(objects)
    ]
    lines = guest.run(*loads)
    # One for each process at least, and one a second: the second begins after the load that was too slow.
    started = [line.id for line in lines if isinstance(line, protocol.Start)]
    assert started == sorted(set(started))
    assert {"0", "4"} <= set(started) <= set("012345")
    loaded = [line for line in lines if isinstance(line, Loaded)]
    assert [line.id for line in loaded] == list("012345")
    assert lines[-1] == protocol.Done(6)
    refused, accepted, empty, long, truncated, last = loaded
    (bad,) = (program for program in refused.programs if program.verdict == "reject")
    load = refused.prog_load(bad)
    assert load is not None
    assert "invalid access to packet" in load.notes
    assert long.error == "timed out after 0.1 s"
    assert "cannot load" in empty.error
    assert "failed to get section names" in truncated.error
    for done in (accepted, last):
        assert (done.verdict, done.error) == ("accept", "")
        assert all(p.jited_bytes for p in done.programs)
        assert all(load.verified_insns and "processed" in load.notes for load in done.loads)
        assert not any(p.jited or p.xlated for p in done.programs)


def test_a_process_that_dies_is_not_the_next_loads_business(kit: Kit, guest: Guest) -> None:
    guest.objects["long.o"] = compiling.compile_source(kit.toolchain, kit.objects, _LONG, "long.bpf.c")
    loads = [
        Load(f"{n}", "duplicate", name, [], collect=())
        for n, name in enumerate(["counter.bpf.o", "long.o", "counter.bpf.o"])
    ]
    # The process of the second load has its name, by which it is killed once it is at it.
    find = "comm=$(grep -slx 'load 1' /proc/[0-9]*/comm)"
    killer = f"(until {find}; do usleep 10000; done; kill -9 $(echo $comm | tr -dc 0-9)) & "
    done = guest.machine.output(killer + bundle.COMMAND, stdin=bundle.bundle(loads, guest.objects))
    lines = [protocol.parse(line) for line in done.stdout.splitlines()]
    one, two, three = (line for line in lines if isinstance(line, Loaded))
    assert (one.verdict, one.error) == ("accept", "")
    assert two.error == "the runner's process for this load died: SIGKILL"
    assert (three.verdict, three.error) == ("accept", "")
    assert lines[-1] == protocol.Done(3)


def test_bpftool_disassembles_jit_code(guest: Guest) -> None:
    program = guest.objects["packet.bpf.o"].read_bytes()
    command = (
        "cat > /tmp/p.o && bpftool prog loadall /tmp/p.o /sys/fs/bpf/p && "
        "for pin in /sys/fs/bpf/p/*; do bpftool prog dump jited pinned $pin; done; rm -r /sys/fs/bpf/p"
    )
    done = guest.machine.output(command, stdin=program)
    assert done.status == 0, done.stderr
    assert re.search(rb"^ +[0-9a-f]+:\s+push +%rbp$", done.stdout, re.M), done.stdout


def test_nothing_is_left_in_the_guest(guest: Guest) -> None:
    guest.load(Load("c", "duplicate", "packet.bpf.o", ["ingress"], [Attach("ingress"), Trigger("udp")]))
    left = guest.machine.output("ls -d /sys/fs/cgroup/bpfroots-* 2>/dev/null; bpftool -j link show").stdout
    assert left.strip() == b"[]"


def test_a_job_that_is_none_is_refused_with_a_reason(guest: Guest) -> None:
    done = guest.machine.output(bundle.COMMAND, stdin=b'{"version": 99}')
    assert done.status == 2
    assert b"job:" in done.stderr
    assert done.stdout == b""


def test_the_ssh_server_takes_no_password_and_forwards_nothing(guest: Guest) -> None:
    said = guest.machine.output("cat /proc/$(cat /run/dropbear.pid)/cmdline | tr '\\0' ' '").stdout.decode()
    assert {"-s", "-j", "-k"} <= set(said.split())


def test_ssh_listens_within_a_second_of_user_space(guest: Guest) -> None:
    """By the kernel's clock: from "Run /init" to the mark, which is said when dropbear listens."""
    said = guest.machine.output("dmesg").stdout.decode()
    stamps = {text: float(stamp) for stamp, text in re.findall(r"\[ *([\d.]+)\] (.*)", said)}
    assert stamps[images.READY_MARK] - stamps["Run /init as init process"] < 1


def test_programs_run_on_one_of_several_cpus(
    guest_kit: GuestKit, objects: dict[str, Path], tmp_path: Path
) -> None:
    """What a program with per-CPU maps returns would be another thing each time."""
    with Machine.boot(
        BootSpec(guest_kit.kernel, choose_accel("auto"), Shape(cpus=2)),
        guest_kit.initrd,
        console_log=tmp_path / "console.log",
        ready_mark=images.READY_MARK,
        identity=guest_kit.identity,
    ) as machine:
        assert machine.output("nproc").stdout == b"2\n"
        loaded = Guest(machine, objects).load(
            Load("c", "duplicate", "cpus.bpf.o", ["cpus"], [TestRun("cpus", PACKET)])
        )
    assert [run.retval for run in loaded.runs] == [1]


def test_an_init_that_cannot_start_ssh_says_why_and_stays(
    kit: Kit, guest_kit: GuestKit, tmp_path: Path
) -> None:
    """An image without its keys."""
    with pytest.raises(BootError, match=r"init failed: dropbear ended: .*") as caught:
        Machine.boot(
            BootSpec(guest_kit.kernel, choose_accel("auto")),
            kit.image.path,
            console_log=tmp_path / "console.log",
            ready_mark=images.READY_MARK,
            identity=guest_kit.identity,
        )
    assert "key" in caught.value.message
    assert "Kernel panic" not in (tmp_path / "console.log").read_text(errors="replace")
