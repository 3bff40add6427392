"""The accelerator probe. Its positive twin is TCG, which runs everywhere."""

import os
import time
from pathlib import Path

import pytest

from bpfroots.errors import InfraError, UserError
from bpfroots.machine import accel
from bpfroots.machine.accel import Accel, _explain, choose_accel, probe_kvm, run_guest_code


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "KVM_DEVICE", tmp_path / "absent")


@pytest.mark.guest
@pytest.mark.parametrize("cpu", ["max", "qemu64"])
def test_guest_code_runs_under_emulation(cpu: str) -> None:
    assert run_guest_code("tcg", cpu) == ""


@pytest.mark.guest
def test_a_guest_that_does_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_CODE", b"\xfa\xf4\xeb\xfd")
    start = time.monotonic()
    assert run_guest_code("tcg", "max", 1.0) == "QEMU started but ran no guest code within 1 s"
    assert time.monotonic() - start < 5


@pytest.mark.guest
def test_a_mark_alone_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    only_mark = b"".join(bytes((0xB0, c, 0xE6, 0xE9)) for c in accel._MARK) + b"\xfa\xf4\xeb\xfd"
    monkeypatch.setattr(accel, "_CODE", only_mark)
    assert "within 1 s" in run_guest_code("tcg", "max", 1.0)


@pytest.mark.guest
def test_an_unknown_cpu_is_told_in_qemus_words() -> None:
    assert "unable to find CPU model 'nonesuch'" in run_guest_code("tcg", "nonesuch")


@pytest.mark.guest
def test_demanded_kvm_answers_in_time() -> None:
    start = time.monotonic()
    probe = probe_kvm()
    if probe.usable:
        assert choose_accel("kvm").name == "kvm"
    else:
        with pytest.raises(InfraError) as caught:
            choose_accel("kvm")
        assert caught.value.exit_code == 4
        assert probe.reason in caught.value.message
    assert time.monotonic() - start < 20


@pytest.mark.guest
def test_the_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "KVM_DEVICE", Path("/dev/null"))
    asked: list[str] = []

    def fake(name: str, cpu: str) -> str:
        asked.append(name)
        return "QEMU died of SIGABRT: failed to set MSR 0x10a"

    monkeypatch.setattr(accel, "run_guest_code", fake)
    first = probe_kvm()
    assert first == probe_kvm()
    assert len(asked) == 1
    store = next(Path(os.environ["XDG_CACHE_HOME"]).rglob("kvm-probe.json"))
    store.write_text("{damaged")
    assert probe_kvm() == first
    monkeypatch.setattr(accel, "_boot_id", lambda: "another boot")
    probe_kvm()
    assert len(asked) == 3


@pytest.mark.usefixtures("no_kvm")
def test_without_a_device() -> None:
    chosen = choose_accel("auto")
    assert chosen.name == "tcg"
    assert "does not exist" in chosen.reason
    with pytest.raises(InfraError, match="KVM was demanded but is unusable"):
        choose_accel("kvm")


def test_a_device_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(accel, "KVM_DEVICE", Path("/dev/null"))
    monkeypatch.setattr(os, "open", refuse)
    assert "no permission" in probe_kvm().reason


def test_unknown_word() -> None:
    with pytest.raises(UserError, match="unknown accelerator 'xen'"):
        choose_accel("xen")


@pytest.mark.parametrize(
    ("status", "stderr", "words"),
    [
        (
            -6,
            "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\n"
            "qemu-system-x86_64: ../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion failed.\n",
            "QEMU died of SIGABRT: failed to set MSR 0x10a to 0x69",
        ),
        (
            None,
            "KVM internal error. Suberror: 1\nextra data[0]: 0x0\nEAX=00000000\n",
            "QEMU started but ran no guest code within 8 s: KVM internal error. Suberror: 1",
        ),
        (
            None,
            "qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni\n",
            "QEMU started but ran no guest code within 8 s",
        ),
        (1, "", "QEMU ended with status 1 before the guest's mark"),
    ],
)
def test_words(status: int | None, stderr: str, words: str) -> None:
    assert _explain(status, stderr, 8.0) == words


@pytest.mark.parametrize(
    ("version", "stale"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", True),
        ("QEMU emulator version 8.0.5", True),
        ("QEMU emulator version 8.1.0", False),
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", False),
        ("", False),
    ],
)
def test_an_emulator_that_runs_stale_code_has_one_thread(version: str, stale: bool) -> None:
    assert accel._runs_stale_code(version) is stale


def test_cpus_that_take_turns_are_slower() -> None:
    assert Accel("tcg", "", 4.0, one_thread=True).slowdown_of(4) == 16.0
    assert Accel("tcg", "", 4.0).slowdown_of(4) == 4.0
