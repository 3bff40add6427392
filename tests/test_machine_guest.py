"""Real guests: commands, and every way to die, each told apart from the others."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bpfroots.errors import BootError, GuestCrash, GuestError, GuestHang, GuestLost, GuestTimeout
from bpfroots.machine import BootSpec, Deadlines, Machine, choose_accel
from tests.conftest import GuestKit
from tests.processes import gone

pytestmark = pytest.mark.guest

READY = "bpfroots: ready"


def _boot(kit: GuestKit, folder: Path, *append: str, limits: Deadlines | None = None) -> Machine:
    return Machine.boot(
        BootSpec(kit.kernel, choose_accel("auto"), append=append),
        kit.initrd,
        identity=kit.identity,
        console_log=folder / "console.log",
        ready_mark=READY,
        deadlines=limits,
    )


@pytest.fixture(scope="module")
def guest(guest_kit: GuestKit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One guest for all tests that leave it usable, and for the last that does not."""
    with _boot(guest_kit, tmp_path_factory.mktemp("guest")) as machine:
        yield machine
    assert gone(machine.pid)


@pytest.fixture
def own_guest(guest_kit: GuestKit, tmp_path: Path) -> Iterator[Machine]:
    with _boot(guest_kit, tmp_path) as machine:
        yield machine
    assert gone(machine.pid)


def test_output_errors_and_status(guest: Machine) -> None:
    done = guest.output("echo one; echo two; printf rest; echo bad >&2; exit 7")
    assert (done.status, done.stdout, done.stderr) == (7, b"one\ntwo\nrest\n", b"bad\n")
    assert guest.usable


def test_input_reaches_the_command_whole(guest: Machine) -> None:
    data = bytes(range(256)) * 4096
    assert guest.output("md5sum", stdin=data).stdout.split()[0].decode() == _md5(data)


def _md5(data: bytes) -> str:
    return (
        subprocess.run(["md5sum"], input=data, stdout=subprocess.PIPE, check=True).stdout.split()[0].decode()
    )


def test_input_nobody_reads(guest: Machine) -> None:
    assert guest.output("echo done", stdin=b"x" * 3_000_000).stdout == b"done\n"


def test_lines_come_as_they_are_written(guest: Machine) -> None:
    assert list(guest.run("echo first; read line; echo second")) == [b"first", b"second"]


def test_a_command_that_is_given_up_as_it_ends_leaves_the_next_alone(guest: Machine) -> None:
    for _ in range(20):
        command = guest.run("echo first; read line; echo second")
        assert next(iter(command)) == b"first"
        command.close()
        assert list(command) == []
        assert guest.output("echo next").stdout == b"next\n"


def test_much_output_does_not_stall(guest: Machine) -> None:
    lines = list(guest.run("seq 1 60000"))
    assert (lines[0], lines[-1], len(lines)) == (b"1", b"60000", 60000)


def test_a_command_that_dies(guest: Machine) -> None:
    assert guest.output("echo before; kill -SEGV $$").status == -1
    assert guest.output("sh -c 'kill -KILL $$'; exit $?").status == 137
    assert guest.output("/no/such/runner").status == 127
    assert guest.usable


def test_timeout_of_a_guest_that_answers(guest: Machine) -> None:
    with pytest.raises(GuestTimeout, match=r"not finished within 1 s; the guest still answers"):
        guest.output("while :; do :; done", deadline=1)
    with pytest.raises(GuestTimeout, match=r"not a byte of output within 1 s"):
        guest.output("echo something; sleep 1000", no_output=1)
    guest.output("killall sleep; kill $(pgrep -f 'while :')")
    assert guest.usable


def test_the_network_is_sealed(guest: Machine) -> None:
    done = guest.output(
        "for i in 10.0.2.2 10.0.2.3; do nc -w 2 $i 53 </dev/null && echo open; done; echo end"
    )
    assert done.stdout == b"end\n"


def test_the_printed_shell_command_works(guest: Machine) -> None:
    words = guest.shell_command()
    assert oct(Path(words[words.index("-i") + 1]).stat().st_mode & 0o777) == "0o600"
    try:
        done = subprocess.run([*words, "echo", "hello"], stdout=subprocess.PIPE, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("no ssh client here")
    assert done.stdout == b"hello\n"


def test_a_warning_taints_even_a_command_that_succeeds(guest: Machine) -> None:
    line = "WARNING: CPU: 0 PID: 1 at kernel/bpf/core.c:12 bpf_check+0x1/0x2"

    def warn() -> None:
        guest.output(f"echo '<4>{line}' > /dev/kmsg")
        # Since 7.3 a thread prints what is no real warning (nbcon): it may come with a later command.
        until = time.monotonic() + guest.limits.command
        while time.monotonic() < until:
            guest.output("true")

    with pytest.raises(GuestCrash, match=r"WARNING in bpf_check at kernel/bpf/core.c:12"):
        warn()
    assert not guest.usable
    # It was no real one: the guest is as good as before.
    guest._watch.dead = None
    guest._watch.accept_splats()
    assert guest.output("echo '<6>the word WARNING: is allowed' > /dev/kmsg").status == 0


def test_a_broken_connection_is_no_verdict_on_the_guest(guest: Machine) -> None:
    """Last of those that share a guest: the machine is given up."""
    with pytest.raises(GuestLost, match="the SSH connection broke"):
        guest.output("kill -9 $PPID; sleep 100")
    assert not guest.usable
    with pytest.raises(GuestLost, match="the machine is gone"):
        guest.run("true")


def test_panic(own_guest: Machine) -> None:
    lines: list[bytes] = []
    with pytest.raises(GuestCrash, match="panic: sysrq triggered crash") as caught:
        lines.extend(own_guest.run("echo last words; sleep 0.2; echo c > /proc/sysrq-trigger"))
    assert lines == [b"last words"]
    where, shown = caught.value.console, caught.value.detail.splitlines()[0]
    assert where is not None
    assert Path(where.path).read_text().splitlines()[where.line - 1].endswith(shown.strip())


_SPIN = """
static long (*bpf_loop)(unsigned int, void *, void *, unsigned long long) = (void *)181;
static int inner(unsigned int i, void *ctx) { return 0; }
static int outer(unsigned int i, void *ctx) { bpf_loop(1 << 23, inner, 0, 0); return 0; }
__attribute__((section("tc"), used)) int spin(void *skb) { bpf_loop(1 << 23, outer, 0, 0); return 0; }
char gpl[] __attribute__((section("license"), used)) = "GPL";
"""
_RUN_SPIN = (
    "cat > /tmp/spin.o; bpftool prog load /tmp/spin.o /sys/fs/bpf/spin || exit 1; "
    "head -c 64 /dev/zero > /tmp/in; echo spinning; bpftool prog run pinned /sys/fs/bpf/spin data_in /tmp/in"
)


@pytest.fixture(scope="module")
def spin_program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A BPF program that needs days, on a CPU that the kernel does not take from it."""
    target = tmp_path_factory.mktemp("spin") / "spin.o"
    clang = shutil.which("clang-19") or shutil.which("clang")
    if clang is None:
        pytest.skip("no clang here")
    command = [clang, "-target", "bpf", "-O2", "-g", "-x", "c", "-c", "-", "-o", str(target)]
    subprocess.run(command, input=_SPIN.encode(), check=True, timeout=60)
    return target.read_bytes()


def test_hang_in_a_loop(guest_kit: GuestKit, tmp_path: Path, spin_program: bytes) -> None:
    limits = replace(Deadlines().scaled(4), probe=5)
    lines: list[bytes] = []
    with _boot(guest_kit, tmp_path, limits=limits) as machine:
        with pytest.raises(GuestHang, match=r"not finished within 5 s; the guest answers nothing any more"):
            lines.extend(machine.run(_RUN_SPIN, stdin=spin_program, deadline=5))
        assert not machine.usable
    assert lines == [b"spinning"]


def test_hang_that_the_kernel_notices(guest_kit: GuestKit, tmp_path: Path, spin_program: bytes) -> None:
    with _boot(guest_kit, tmp_path, "watchdog_thresh=1") as machine:
        lines = iter(machine.run(_RUN_SPIN, stdin=spin_program, deadline=60))
        assert next(lines) == b"spinning"
        with pytest.raises(GuestHang, match="soft lockup of bpftool"):
            next(lines)


def test_qemu_killed(own_guest: Machine) -> None:
    command = own_guest.run("echo started; sleep 1000")
    lines = iter(command)
    assert next(lines) == b"started"
    os.kill(own_guest.pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(GuestLost, match="QEMU died of SIGKILL"):
        next(lines)
    assert time.monotonic() - start < 5


def test_qemu_stopped(own_guest: Machine) -> None:
    lines = iter(own_guest.run("echo started; sleep 1000", no_output=1))
    assert next(lines) == b"started"
    os.kill(own_guest.pid, signal.SIGSTOP)
    with pytest.raises(GuestLost, match=r"QEMU \(pid \d+\) is stopped by a signal"):
        next(lines)


def test_guest_resets_itself(guest_kit: GuestKit, tmp_path: Path) -> None:
    with _boot(guest_kit, tmp_path) as machine, pytest.raises(GuestError) as caught:
        machine.output("reboot -f")
    assert isinstance(caught.value, GuestCrash)
    assert "reset itself without a word" in caught.value.message


def test_kernel_that_panics_at_boot(guest_kit: GuestKit, tmp_path: Path) -> None:
    with pytest.raises(BootError, match="the kernel died during boot: panic: Requested init") as caught:
        _boot(guest_kit, tmp_path, "rdinit=/nonexistent", "init=/nonexistent")
    assert "Kernel panic - not syncing" in caught.value.detail


def test_kernel_that_never_reaches_user_space(guest_kit: GuestKit, tmp_path: Path) -> None:
    limits = replace(Deadlines(), boot=5.0)
    start = time.monotonic()
    with pytest.raises(BootError, match="never reached user space within 5 s"):
        _boot(guest_kit, tmp_path, "rdinit=/nonexistent", limits=limits)
    assert time.monotonic() - start < 60  # other boots may come first


def test_guest_that_does_not_know_us(guest_kit: GuestKit, tmp_path: Path) -> None:
    from bpfroots.images.keys import make_keys

    stranger = replace(guest_kit.identity, client_key=make_keys().client_private)
    with pytest.raises(BootError, match="user space is up, but SSH does not answer"):
        _boot(replace(guest_kit, identity=stranger), tmp_path, limits=Deadlines(boot=120, ssh=5))


_CHILD = """
import sys
from pathlib import Path
from bpfroots.machine import BootSpec, Machine, SshIdentity, choose_accel

kernel, initrd, key, log, host_key = sys.argv[1:]
try:
    with Machine.boot(
        BootSpec(Path(kernel), choose_accel("auto")), Path(initrd),
        identity=SshIdentity(Path(key).read_text(), host_key), console_log=Path(log),
        ready_mark="bpfroots: ready",
    ) as machine:
        words = machine.shell_command()
        print(machine.pid, Path(words[words.index("-i") + 1]).parent, flush=True)
        machine.output("sleep 1000")
except KeyboardInterrupt:
    sys.exit(130)
"""


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_harness(guest_kit: GuestKit, tmp_path: Path, number: signal.Signals) -> None:
    key = tmp_path / "key"
    key.write_text(guest_kit.identity.client_key)
    files = (guest_kit.kernel, guest_kit.initrd, key, tmp_path / "console.log")
    words = [sys.executable, "-c", _CHILD, *map(str, files), guest_kit.identity.host_key]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as harness, ExitStack() as stack:
        stack.callback(harness.kill)
        assert harness.stdout is not None
        qemu, directory = harness.stdout.readline().split()
        children = _children(harness.pid)
        assert int(qemu) in children
        watched = [os.pidfd_open(pid) for pid in children]
        harness.send_signal(number)
        for fd in watched:
            stack.callback(os.close, fd)
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            assert poll.poll(10_000), "a process is left"
        harness.wait(10)
    assert harness.returncode == (130 if number == signal.SIGINT else -number)
    assert gone(int(qemu))
    assert not Path(directory).exists()
