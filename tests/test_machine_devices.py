"""Machines as lists of parts: what QEMU and the kernel are told."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bpfroots.machine.accel import Accel
from bpfroots.machine.deadlines import Deadlines
from bpfroots.machine.devices import BootSpec, command_line, machine_parts
from bpfroots.shape import Shape

TCG = Accel("tcg", "", 4.0)
KVM = Accel("kvm", "", 1.0)


def _command(shape: Shape, accel: Accel) -> list[str]:
    spec = BootSpec(Path("/k/bzImage"), accel, shape, ("extra=1",))
    return command_line(spec, machine_parts(spec, Path("/i/initrd"), qmp_fd=7))


def _value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_nothing_of_the_host_gets_in() -> None:
    command = _command(Shape(), TCG)
    assert command[1:3] == ["-nodefaults", "-no-user-config"]
    net = _value(command, "-netdev")
    assert "restrict=on" in net
    assert "hostfwd=tcp:127.0.0.1:0-:22" in net
    assert "-no-reboot" in command


def test_shape_and_accelerator() -> None:
    command = _command(Shape(cpus=4, memory_mib=2048), KVM)
    assert (_value(command, "-smp"), _value(command, "-m")) == ("4", "2048M")
    assert (_value(command, "-accel"), _value(command, "-cpu")) == ("kvm", "host")
    assert _value(_command(Shape(), TCG), "-cpu") == "max"
    assert _value(_command(Shape(cpu="qemu64"), TCG), "-cpu") == "qemu64"


def test_icount_is_emulation() -> None:
    command = _command(Shape(icount=True), TCG)
    assert _value(command, "-icount") == "shift=0,sleep=off"
    assert "-icount" not in _command(Shape(), TCG)


def test_several_cpus_take_turns_where_the_emulator_needs_that() -> None:
    single = Accel("tcg", "", 4.0, one_thread=True)
    assert _value(_command(Shape(cpus=4), single), "-accel") == "tcg,thread=single"
    assert _value(_command(Shape(cpus=4), TCG), "-accel") == "tcg"
    assert _value(_command(Shape(), single), "-accel") == "tcg"


def test_kernel_command_line() -> None:
    words = _value(_command(Shape(), TCG), "-append").split()
    assert {"console=ttyS0", "panic=-1", "oops=panic", "spectre_v2=retpoline", "no_timer_check"} <= set(words)
    assert words[-1] == "extra=1"
    assert "watchdog_thresh=40" in words
    kvm = _value(_command(Shape(), KVM), "-append").split()
    assert "no_timer_check" not in kvm
    assert "watchdog_thresh=10" in kvm


@given(st.floats(1.0, 100.0))
def test_watchdog_stays_within_the_kernels_limit(slowdown: float) -> None:
    words = _value(_command(Shape(), Accel("tcg", "", slowdown)), "-append").split()
    threshold = next(int(w.partition("=")[2]) for w in words if w.startswith("watchdog_thresh="))
    assert 10 <= threshold <= 60


def test_deadlines_scale_but_for_qemu_itself() -> None:
    base = Deadlines()
    slow = base.scaled(4.0)
    assert slow.boot == 4 * base.boot
    assert slow.probe == 4 * base.probe
    assert slow.qmp == base.qmp
