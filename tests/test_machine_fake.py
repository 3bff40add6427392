"""What is made of a QEMU or a kernel that misbehaves while it boots; fake_qemu.py plays both."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bpfroots.errors import BootError, InfraError, Where
from bpfroots.machine import Accel, BootSpec, Deadlines, Machine, SshIdentity, machine

FAKE = Path(__file__).with_name("fake_qemu.py")
READY = "bpfroots: ready"
LIMITS = Deadlines(qmp=2, boot=5, ssh=2, late_oops=0.2, splat_end=0.2)


def _identity() -> SshIdentity:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return SshIdentity(
        private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    )


@pytest.fixture
def pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pid"
    monkeypatch.setenv("FAKE_QEMU_PID", str(path))
    return path


def _boot(tmp_path: Path, mode: str, limits: Deadlines = LIMITS, qemu: str = str(FAKE)) -> Machine:
    return Machine.boot(
        BootSpec(tmp_path / "bzImage", Accel("kvm", "", 1.0), append=(f"fake={mode}",), qemu=qemu),
        tmp_path / "initrd",
        identity=_identity(),
        console_log=tmp_path / "console.log",
        ready_mark=READY,
        deadlines=limits,
    )


def _gone(pid_file: Path) -> bool:
    return not Path(f"/proc/{pid_file.read_text()}").exists()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("panic", "the kernel died during boot: panic: VFS: Unable to mount root fs on unknown-block"),
        ("reset", "the kernel died during boot: the guest reset itself without a word"),
        ("init-failed", "the image's init failed: no network device eth0"),
        ("ssh-stalls", "user space is up, but SSH does not answer within 2 s"),
        ("ssh-refused", "user space is up, but SSH does not answer within 2 s"),
    ],
)
def test_the_kernels_or_images_fault(tmp_path: Path, pid_file: Path, mode: str, words: str) -> None:
    start = time.monotonic()
    with pytest.raises(BootError, match=words) as caught:
        _boot(tmp_path, mode)
    assert time.monotonic() - start < 6
    assert caught.value.exit_code == 3
    assert caught.value.console == Where(str(tmp_path / "console.log"))
    assert _gone(pid_file)


def test_the_log_tells_what_became_of_a_guest(
    tmp_path: Path, pid_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "bpfroots"), pytest.raises(BootError):
        _boot(tmp_path, "panic")
    pid, text = pid_file.read_text(), caplog.text
    for told in (
        rf"{pid}: {FAKE} .*-kernel {tmp_path}/bzImage",
        rf"\[{pid}\]: QEMU started, console: {tmp_path}/console.log",
        rf"\[{pid}\]: greeting took [\d.]+ s",
        rf"\[{pid}\]: guest_crash: panic: VFS: Unable to mount root fs",
        rf"\[{pid}\]: QEMU ended with status",
    ):
        assert re.search(told, text), told
    assert "PRIVATE KEY" not in text


def test_the_log_tells_of_connections_that_fail(
    tmp_path: Path, pid_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "bpfroots"), pytest.raises(BootError):
        _boot(tmp_path, "ssh-stalls")
    assert re.search(r"port \d+: no connection after [\d.]+ s: ", caplog.text)


@pytest.mark.parametrize("mode", ["silent", "closes-qmp"])
def test_a_kernel_that_says_nothing(tmp_path: Path, pid_file: Path, mode: str) -> None:
    limits = Deadlines(qmp=2, boot=1.5)
    with pytest.raises(BootError, match=r"never reached user space within 1.5 s; not a line on its console"):
        _boot(tmp_path, mode, limits)
    assert _gone(pid_file)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("die", r"QEMU did not start \(status 1\): .*'pvpanic-pci' is not a valid device model name"),
        ("mute", "QEMU did not start: no answer to greeting within 2 s"),
        ("no-port", "QEMU did not start: no forwarded port"),
        ("stops", "QEMU stopped the machine by itself during boot"),
    ],
)
def test_qemus_fault(tmp_path: Path, pid_file: Path, mode: str, words: str) -> None:
    start = time.monotonic()
    with pytest.raises(InfraError, match=words) as caught:
        _boot(tmp_path, mode)
    assert time.monotonic() - start < 6
    assert caught.value.exit_code == 4
    assert _gone(pid_file)


def test_a_stopped_machine_keeps_qemus_words(tmp_path: Path, pid_file: Path) -> None:
    with pytest.raises(InfraError) as caught:
        _boot(tmp_path, "stops")
    assert "KVM internal error. Suberror: 1" in caught.value.detail


def test_a_missing_qemu(tmp_path: Path, pid_file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(InfraError, match="not found"):
        _boot(tmp_path, "die", qemu="qemu-system-nonesuch")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_flood_is_kept_whole_and_read_to_the_end(tmp_path: Path, pid_file: Path) -> None:
    limits = Deadlines(qmp=2, boot=60)
    with pytest.raises(BootError, match="panic: VFS") as caught:
        _boot(tmp_path, "flood", limits)
    log = tmp_path / "console.log"
    assert log.stat().st_size > 95_000_000
    assert len(caught.value.detail) < 5000
    log.unlink()


def test_emulated_boots_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "jobs", lambda: 2)
    entered = threading.Event()

    def second() -> None:
        with machine._boot_slot(Accel("tcg", "", 4.0)):
            entered.set()

    with machine._boot_slot(Accel("tcg", "", 4.0)):
        with machine._boot_slot(Accel("kvm", "", 1.0)):
            pass
        threading.Thread(target=second).start()
        assert not entered.wait(0.3)
    assert entered.wait(5)
