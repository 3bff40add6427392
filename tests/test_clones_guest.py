"""Clones of a template: guests of their own, and gone when they are closed."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots import cache
from bpfroots.errors import GuestCrash
from bpfroots.jobs import templates
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit
from bpfroots.machine import BootSpec, Machine, Snapshot, choose_accel
from bpfroots.shape import Shape
from tests.processes import gone

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module", autouse=True)
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of our own: what is damaged here is used by no other test."""
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "cache_root", lambda: root)
        yield root


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def guests(kit: Kit, said: list[str]) -> Guests:
    return Guests(kit, choose_accel("auto"), said.append)


@pytest.fixture(scope="module")
def pair(kit: Kit, guests: Guests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    """Two clones of one template at once."""
    folder = tmp_path_factory.mktemp("clones")
    with (
        guests.boot(kit.kernels[0], folder / "1.log") as one,
        guests.boot(kit.kernels[0], folder / "2.log") as two,
    ):
        assert not guests.no_clones
        yield [one, two]
    assert gone(one.pid)
    assert gone(two.pid)


def _template(kit: Kit, root: Path) -> Snapshot:
    kernel, accel = kit.kernels[0], choose_accel("auto")
    spec = BootSpec(kernel.image.path, accel, kernel.shape, kernel.append)
    name = templates.key(kernel.key, kit.image.digest, spec)
    return Snapshot(root / "templates" / name)


def test_the_clock_is_right(pair: list[Machine]) -> None:
    for clone in pair:
        before = time.time()
        seconds = int(clone.output("date +%s").stdout)
        assert before - 1.5 <= seconds <= time.time() + 0.5


def test_the_guests_own_time_did_not_jump(pair: list[Machine], kit: Kit, cache_root: Path) -> None:
    """It continues where the template stopped, whenever that was: nothing times out at once."""
    last = _template(kit, cache_root).console.read_text().splitlines()[-1]
    stopped = float(last.partition("[")[2].partition("]")[0])
    up = float(pair[1].output("cat /proc/uptime").stdout.split()[0])
    assert stopped <= up < stopped + 60


def test_random_is_not_shared(pair: list[Machine]) -> None:
    seen = [clone.output("cat /proc/sys/kernel/random/uuid").stdout for clone in pair]
    assert seen[0] != seen[1]


def _cookie(port: int) -> bytes:
    """The 16 random bytes of a server's KEXINIT (RFC 4253, 7.1)."""
    with socket.create_connection(("127.0.0.1", port), 30) as server:
        server.sendall(b"SSH-2.0-test\r\n")
        stream = server.makefile("rb")
        assert stream.readline().startswith(b"SSH-2.0-dropbear")
        packet = stream.read(22)
        assert packet[5] == 20
        return packet[6:]


def test_ssh_servers_do_not_share_their_random_pool(pair: list[Machine]) -> None:
    one, two = (_cookie(clone.port) for clone in pair)
    assert one != two


def test_memory_is_not_shared(pair: list[Machine], kit: Kit, cache_root: Path) -> None:
    memory = cache.sha256(_template(kit, cache_root).memory)
    one, two = pair
    one.output("dd if=/dev/urandom of=/tmp/mine bs=1M count=20")
    assert two.output("ls /tmp").stdout == b""
    assert cache.sha256(_template(kit, cache_root).memory) == memory


def test_the_console_begins_with_the_templates(pair: list[Machine], kit: Kit, cache_root: Path) -> None:
    boot = _template(kit, cache_root).console.read_text()
    for clone in pair:
        text = clone._console.path.read_text()
        assert text.startswith(boot)
        assert "bpfroots: awake" in text.removeprefix(boot)


def test_the_seed_stays_off_the_console(pair: list[Machine]) -> None:
    assert not any(len(word) == 64 for word in pair[0]._console.path.read_text().split())


def test_a_crash_stays_in_its_clone(kit: Kit, guests: Guests, tmp_path: Path) -> None:
    with guests.boot(kit.kernels[0], tmp_path / "1.log") as first, pytest.raises(GuestCrash):
        first.output("echo c > /proc/sysrq-trigger")
    assert not first.usable
    with guests.boot(kit.kernels[0], tmp_path / "2.log") as second:
        assert second.splats() == []
        assert second.output("echo fine").stdout == b"fine\n"


def test_keys_are_private_and_of_this_template(kit: Kit, pair: list[Machine], cache_root: Path) -> None:
    template = _template(kit, cache_root)
    assert (template.directory / "keys.json").stat().st_mode & 0o077 == 0
    assert template.directory.stat().st_mode & 0o077 == 0
    assert pair[0]._identity == template.identity


def test_a_state_that_is_none_is_told_and_booted_around(
    kit: Kit, guests: Guests, tmp_path: Path, pair: list[Machine], said: list[str], cache_root: Path
) -> None:
    """Content that only QEMU can judge; what the cache can see (size, time) it makes again by itself."""
    state = _template(kit, cache_root).state
    status = state.stat()
    state.write_bytes(b"\0" * status.st_size)
    os.utime(state, ns=(status.st_atime_ns, status.st_mtime_ns))
    with guests.boot(kit.kernels[0], tmp_path / "1.log") as booted:
        assert booted.output("echo fine").stdout == b"fine\n"
    assert guests.no_clones
    assert guests.no_clones in said[-1]
    assert said[-1].endswith("each guest is booted")
    again = Guests(kit, choose_accel("auto"), said.append)
    with again.boot(kit.kernels[0], tmp_path / "2.log"):
        assert not again.no_clones


def test_a_truncated_memory_is_made_again(
    kit: Kit, tmp_path: Path, said: list[str], cache_root: Path
) -> None:
    memory = _template(kit, cache_root).memory
    with memory.open("r+b") as file:
        file.truncate(memory.stat().st_size // 2)
    guests = Guests(kit, choose_accel("auto"), said.append)
    with guests.boot(kit.kernels[0], tmp_path / "1.log") as clone:
        assert not guests.no_clones
        assert clone.output("echo fine").stdout == b"fine\n"
    assert "memory has" in said[-1]


def test_a_thing_that_is_no_part_of_it_makes_another_template(kit: Kit) -> None:
    kernel, accel = kit.kernels[0], choose_accel("tcg")
    spec = BootSpec(kernel.image.path, accel, kernel.shape)
    other = [
        dataclasses.replace(spec, append=("quiet",)),
        dataclasses.replace(spec, shape=Shape(icount=True)),
        dataclasses.replace(spec, shape=Shape(memory_mib=512)),
    ]
    keys = {
        *(templates.key(kernel.key, kit.image.digest, one) for one in (spec, *other)),
        templates.key(kernel.key, "another image", spec),
        templates.key("another", kit.image.digest, spec),
    }
    assert len(keys) == 6
    # The name is for people, and a kernel is known by its key wherever it lies.
    same = dataclasses.replace(spec, name="other", kernel=Path("elsewhere"))
    assert templates.key(kernel.key, kit.image.digest, same) in keys


def test_no_room_for_a_template(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU dies of SIGBUS when the file its guest's memory is cannot grow; the guest is booted without."""
    small = tmp_path / "cache"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "templates", str(small)]
    if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        monkeypatch.setattr(templates, "cache_root", lambda: small)
        said: list[str] = []
        guests = Guests(kit, choose_accel("auto"), said.append)
        with guests.boot(kit.kernels[0], tmp_path / "1.log") as booted:
            assert booted.output("echo fine").stdout == b"fine\n"
        assert "SIGBUS" in guests.no_clones
        assert guests.no_clones in said[-1]
        assert not list(small.glob("templates/.tmp/*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
