"""The image's parts on the host: archive, digest, keys, the runner's golden output."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.errors import InfraError, KernelError
from bpfroots.images import Tools, build_tools, image, initramfs, keys, populate
from bpfroots.images.initramfs import Entry
from bpfroots.programs import protocol
from bpfroots.progress import Progress
from tests import ROOT

GOLDEN = Path(__file__).parent / "golden" / "runner"

_names = st.text("abcdefgh.-_", min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
_paths = st.lists(_names, min_size=1, max_size=4).map("/".join)
_files = st.dictionaries(_paths, st.binary(max_size=300), max_size=12)


def _unpack(data: bytes) -> list[tuple[str, int, bytes]]:
    """An independent reader of newc, by the format's description."""
    found, at = [], 0
    while at < len(data):
        assert at % 4 == 0
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        size, name_size = fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        at += (110 + name_size + 3) // 4 * 4
        found.append((name, fields[1], data[at : at + size]))
        at += (size + 3) // 4 * 4
    assert found.pop()[0] == "TRAILER!!!"
    return found


def _no_file_is_a_directory(files: dict[str, bytes]) -> list[Entry]:
    return [
        initramfs.file(path, data)
        for path, data in files.items()
        if not any(other.startswith(path + "/") for other in files)
    ]


@given(_files, st.randoms(use_true_random=False))
def test_archive_depends_on_entries_and_not_on_their_order(files: dict[str, bytes], random: Random) -> None:
    entries = initramfs.with_parents(_no_file_is_a_directory(files))
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert initramfs.archive(entries) == initramfs.archive(shuffled)


@given(_files)
def test_archive_holds_what_was_put_in_with_parents_first(files: dict[str, bytes]) -> None:
    wanted = _no_file_is_a_directory(files)
    found = _unpack(initramfs.archive(initramfs.with_parents(wanted)))
    contents = {name: data for name, mode, data in found if stat.S_ISREG(mode)}
    assert contents == {entry.path: entry.data for entry in wanted}
    seen: set[str] = {"."}
    for name, _, _ in found:
        assert str(Path(name).parent) in seen
        seen.add(name)


@given(_files, _files)
def test_archives_in_a_row_are_read_again(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    wanted = [initramfs.with_parents(_no_file_is_a_directory(files)) for files in (first, second)]
    found = list(initramfs.read(b"".join(map(initramfs.archive, wanted))))
    assert sorted(map(repr, found)) == sorted(map(repr, [*wanted[0], *wanted[1]]))


def test_an_archive_is_unpacked_but_for_devices(tmp_path: Path) -> None:
    entries = [initramfs.file("bin/sh", b"old"), initramfs.device("dev/console", 5, 1)]
    archives = [entries, [initramfs.symlink("bin/sh", "dash"), initramfs.file("bin/dash", b"new", 0o755)]]
    data = b"".join(initramfs.archive(initramfs.with_parents(one)) for one in archives)
    initramfs.unpack(initramfs.read(data), tmp_path)
    assert (tmp_path / "bin/sh").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "bin/dash").stat().st_mode) == 0o755
    assert list((tmp_path / "dev").iterdir()) == []


@pytest.mark.parametrize("data", [b"x", b"070701", b"\x1f\x8b compressed"])
def test_what_is_no_archive(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no archive|invalid literal"):
        list(initramfs.read(data))


def test_archive_is_what_cpio_reads() -> None:
    entries = [
        initramfs.directory("d", 0o1777),
        initramfs.file("d/f", b"x" * 5, 0o600),
        initramfs.symlink("d/l", "f"),
    ]
    done = subprocess.run(
        ["cpio", "-tv", "--quiet"], input=initramfs.archive(entries), capture_output=True, check=True
    )
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [line[0] for line in lines] == ["drwxrwxrwt", "-rw-------", "lrwxrwxrwx"]
    assert [line[2:4] for line in lines] == [["root", "root"]] * 3
    assert lines[2][-3:] == ["d/l", "->", "f"]


@pytest.mark.parametrize("path", ["/etc", "a/../b", "a//b", "./a", "", "TRAILER!!!", "a/"])
def test_archive_refuses_paths_that_are_not_normal(path: str) -> None:
    with pytest.raises(ValueError, match="bad or repeated"):
        initramfs.archive([initramfs.file(path, b"")])


def test_archive_refuses_a_name_twice() -> None:
    with pytest.raises(ValueError, match="bad or repeated"):
        initramfs.archive([initramfs.file("a", b"1"), initramfs.directory("a")])


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    tools = Tools.at(tmp_path / "tools")
    tools.runner.parent.mkdir()
    tools.runner.write_bytes(b"runner")
    tools.bpftool.write_bytes(b"bpftool")
    return tools


def test_image_is_the_same_bytes_for_the_same_inputs(tools: Tools, tmp_path: Path) -> None:
    for name in ("one", "two"):
        populate(tools, tmp_path / name)
    one, two = ((tmp_path / name / image.IMAGE_NAME).read_bytes() for name in ("one", "two"))
    assert one == two
    names = {name: mode for name, mode, _ in _unpack(one)}
    assert names["init"] == stat.S_IFREG | 0o755
    assert names["dev/console"] == stat.S_IFCHR | 0o600
    assert names["root"] == stat.S_IFDIR | 0o700
    assert names["tmp"] == stat.S_IFDIR | 0o1777
    assert names["bin/sh"] == stat.S_IFLNK | 0o777
    assert names[image.RUNNER[1:]] == stat.S_IFREG | 0o755
    assert not any("host_key" in name or "authorized_keys" in name for name in names)


def _change_runner(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.runner.write_bytes(b"another")


def _change_bpftool(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.bpftool.write_bytes(b"another")


def _change_init(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    init = tools.runner.parent.parent / "init"
    init.write_text("#!/bin/sh\n")
    monkeypatch.setattr(image, "resource", lambda _: init)


def _change_format(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_FORMAT", 10**6)


@pytest.mark.parametrize("change", [_change_runner, _change_bpftool, _change_init, _change_format])
def test_digest_follows_each_input(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, change: Callable[[Tools, pytest.MonkeyPatch], None]
) -> None:
    before = image.image_inputs_digest(tools)
    assert image.image_inputs_digest(tools) == before
    change(tools, monkeypatch)
    assert image.image_inputs_digest(tools) != before


def test_missing_dropbear_is_named_with_its_package(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **kw: None if name == "dropbear" else which(name, **kw))
    with pytest.raises(InfraError, match="dropbear-bin"):
        image.image_inputs_digest(tools)


def test_a_dynamic_busybox_is_refused(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "program", lambda *_: Path("/bin/ls"))
    with pytest.raises(InfraError, match="not a static program"):
        image.image_inputs_digest(tools)


def test_overlay_has_modes_dropbear_accepts_and_fresh_keys() -> None:
    first, second = keys.make_keys(), keys.make_keys()
    assert len({first.client_private, second.client_private, first.host_public, second.host_public}) == 4
    found = {name: (mode, data) for name, mode, data in _unpack(keys.overlay(first))}
    assert {name: stat.S_IMODE(mode) for name, (mode, _) in found.items()} == {
        "etc": 0o755,
        "etc/dropbear": 0o700,
        "etc/dropbear/dropbear_ed25519_host_key": 0o600,
        "root": 0o700,
        "root/.ssh": 0o700,
        "root/.ssh/authorized_keys": 0o600,
    }
    assert first.client_public in found["root/.ssh/authorized_keys"][1].decode()
    assert first.client_private not in repr(first)
    assert repr(first.host_private) not in repr(first)


def test_keys_are_what_paramiko_and_dropbear_read(tmp_path: Path) -> None:
    made = keys.make_keys()
    client = paramiko.RSAKey.from_private_key(io.StringIO(made.client_private))
    assert made.client_public == f"{client.get_name()} {client.get_base64()}"
    path = tmp_path / "host"
    path.write_bytes(made.host_private)
    said = subprocess.run(["dropbearkey", "-y", "-f", path], capture_output=True, check=True).stdout
    assert made.host_public in said.decode()
    # What a guest has to check and to sign with, and cheapest for that: see keys.py.
    assert (client.get_name(), made.host_public.split()[0]) == ("ssh-rsa", "ssh-ed25519")


def test_initrd_is_private_and_image_then_keys(tmp_path: Path) -> None:
    base = tmp_path / "image"
    base.write_bytes(b"image")
    out = tmp_path / "initrd"
    out.write_bytes(b"left over")
    image.write_initrd(base, b"keys", out)
    assert out.read_bytes() == b"imagekeys"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_init_is_sound_shell() -> None:
    subprocess.run(["busybox", "sh", "-n", ROOT / "images/init"], check=True)


def test_init_prints_the_marks_the_host_waits_for() -> None:
    text = (ROOT / "images/init").read_text()
    assert f'# Marks (harness/bpfroots/images/image.py): "{image.READY_MARK}"' in text
    assert "say ready" in text
    assert image.FAILED_MARK == "bpfroots: init failed: "


def test_a_tree_without_tools_is_a_kernel_error(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="no kernel source tree"):
        build_tools(tmp_path, tmp_path / "out", Progress(quiet=True))


def test_tools_that_do_not_build_are_a_kernel_error_in_one_line(tmp_path: Path) -> None:
    makefile = tmp_path / "linux/tools/bpf/bpftool/Makefile"
    makefile.parent.mkdir(parents=True)
    makefile.write_text("%:\n\t@echo 'x.c:1:2: error: no such thing' >&2; exit 1\n")
    with pytest.raises(KernelError, match=r"x\.c:1:2: error: no such thing") as caught:
        build_tools(tmp_path / "linux", tmp_path / "out", Progress(quiet=True))
    assert "\n" not in caught.value.message


def test_a_missing_libbfd_is_named_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcc = tmp_path / "bin/gcc"
    gcc.parent.mkdir()
    # As gcc does it for a file that it does not find.
    gcc.write_text('#!/bin/sh\necho "${1#*=}"\n')
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gcc.parent}:/usr/bin:/bin")
    (tmp_path / "linux/tools/bpf/bpftool").mkdir(parents=True)
    (tmp_path / "linux/tools/bpf/bpftool/Makefile").write_text("%:\n\ttouch $@.made\n")
    with pytest.raises(InfraError, match=r"libbfd\.a: not found .* binutils-dev") as caught:
        build_tools(tmp_path / "linux", tmp_path / "out", Progress(quiet=True))
    assert caught.value.hint == "bpfroots setup"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_golden_output_keeps_the_protocol(path: Path) -> None:
    lines = list(protocol.assemble(map(protocol.parse, path.read_bytes().splitlines())))
    loads = [line for line in lines if isinstance(line, protocol.Loaded)]
    starts = [line for line in lines if isinstance(line, protocol.Start)]
    assert isinstance(lines[0], protocol.Hello)
    assert lines[-1] == protocol.Done(len(loads))
    assert [load.id for load in loads] == [start.id for start in starts]
