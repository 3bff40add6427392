"""Definitions, ``--kernel`` and what they say when they cannot be understood."""

from __future__ import annotations

import gzip
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import (
    Definition,
    Kernel,
    Prebuilt,
    definitions,
    ensure,
    image,
    kconfig,
    require_options,
    resolve,
    spec,
)
from bpfroots.shape import Shape
from tests import ROOT
from tests.kernel_project import BASELINE, INSTALLED, Project, copy_tree, project


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


def test_the_definitions_of_this_project_load() -> None:
    baseline = definitions()["baseline"]
    assert isinstance(baseline, Definition)
    assert [path.stem for path in baseline.config][:3] == ["guest", "cases", "useful"]
    asked = kconfig.read_fragments([baseline.config[0]])
    assert asked.keys() >= kconfig.GUEST.keys()
    assert {wish.value for wish in asked.values()} == {"y"}
    assert baseline.source == spec.DebianSource("linux-source-7.3", "7.3.4-1~bpo13+1", ("trixie-backports",))
    assert all(path.is_relative_to(ROOT) for path in baseline.config)


def test_derived_definition_adds_to_its_base(fake: Project) -> None:
    fake.series("change")
    fake.fragment("kasan", "CONFIG_KASAN=y\n")
    fake.define("patched", 'base = "baseline"\nseries = "change"\nprovides = ["multi_root", "fd_name"]\n')
    fake.define(
        "debug",
        'base = "patched"\nconfig = ["kasan"]\n[machine]\ncpus = 4\nmemory_mib = 2048\nicount = false\n',
    )
    debug = resolve("debug")
    assert isinstance(debug, Definition)
    assert [path.stem for path in debug.config] == ["base", "kasan"]
    assert debug.series == (fake.root / "kernels/patches/change",)
    assert debug.provides == ("multi_root", "fd_name")
    assert (debug.shape, debug.countable) == (Shape(4, 2048), False)
    assert list(definitions()) == ["baseline", "debug", "patched"]


def test_a_broken_definition_is_an_error_where_it_is_used_only(fake: Project) -> None:
    fake.define("bad", "config = [")
    (fake.root / "kernels/worse.toml").write_bytes(b"\xff\xfe")
    assert isinstance(resolve("baseline"), Definition)
    found = definitions()
    assert list(found) == ["bad", "baseline", "worse"]
    assert isinstance(found["baseline"], Definition)
    assert isinstance(error := found["bad"], UserError)
    assert error.message.startswith("kernels/bad.toml: not TOML")
    assert isinstance(error := found["worse"], UserError)
    assert error.message.startswith("kernels/worse.toml: ")
    with pytest.raises(UserError, match=r"kernels/bad\.toml: not TOML"):
        resolve("bad")


def test_a_definition_and_one_fragment_more(fake: Project) -> None:
    fake.series("change")
    fake.fragment("kasan", "CONFIG_KASAN=y\n")
    fake.define("patched", 'base = "baseline"\nseries = "change"\nprovides = ["multi_root"]\n')
    plain, more = resolve("patched"), resolve("patched+kasan")
    assert isinstance(plain, Definition)
    assert isinstance(more, Definition)
    assert (more.name, [path.stem for path in more.config]) == ("patched+kasan", ["base", "kasan"])
    assert (more.series, more.provides, more.source) == (plain.series, plain.provides, plain.source)
    with pytest.raises(UserError, match="config fragment kasam") as caught:
        resolve("patched+kasam")
    assert "kasan" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('colour = "red"', "kernels/bad.toml: Object contains unknown field `colour`"),
        ("config = 1", r"kernels/bad.toml: Expected `array`, got `int` - at `\$.config`"),
        ("config = [", "kernels/bad.toml: not TOML"),
        ("config = []", r"kernels/bad.toml: needs exactly one of \[source\] and base"),
        ('[source]\ntype = "ftp"', r"kernels/bad.toml: Invalid value 'ftp' - at `\$.source.type`"),
        ('[source]\ntype = "git"\ntree = "x"', "kernels/bad.toml: Object missing required field `rev`"),
        ('[source]\ntype = "tarball"\npath = "x"\nuri = "y"', "unknown field `uri`"),
        (
            'base = "baseline"\nconfig = ["bse"]',
            "kernels/bad.toml: config fragment bse: no kernels/config/bse.config",
        ),
        (
            'base = "baseline"\nseries = "none"',
            "kernels/bad.toml: series none: no kernels/patches/none",
        ),
        ('base = "bad"', "base leads back to itself: bad"),
        ('base = "nothing"', "kernel nothing: no such definition"),
    ],
)
def test_bad_definitions(fake: Project, text: str, message: str) -> None:
    fake.define("bad", text)
    with pytest.raises(UserError, match=message) as caught:
        resolve("bad")
    assert "\n" not in caught.value.message


def test_unknown_kernel_names_the_nearest(fake: Project) -> None:
    with pytest.raises(UserError) as caught:
        resolve("basline")
    assert caught.value.message == "kernel basline: no such definition and no such path"
    assert caught.value.hint == "--kernel baseline"


def test_a_definition_wins_over_a_path(
    fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_tree(tmp_path / "baseline")
    monkeypatch.chdir(tmp_path)
    assert isinstance(found := resolve("baseline"), Definition)
    assert isinstance(found.source, spec.DebianSource)
    assert isinstance(found := resolve("./baseline"), Definition)
    assert found.source == spec.Directory(str(tmp_path / "baseline"))
    assert found.name == "baseline-local"


def bzimage(path: Path, payload: bytes, version: str = "6.12.0-own (me@here) #1") -> Path:
    """The smallest file that says what a bzImage says (Documentation/arch/x86/boot.rst)."""
    head = bytearray(0x400)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x20E, 0x100)
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    head[0x300 : 0x300 + len(version)] = version.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(head) + payload)
    return path


def _ikconfig(text: str) -> bytes:
    return gzip.compress(b"code" * 100 + b"IKCFG_ST" + gzip.compress(text.encode()) + b"IKCFG_ED" + b"more")


_GUEST = "".join(f"CONFIG_{symbol}=y\n" for symbol in kconfig.GUEST)


def test_bzimage_tells_release_and_configuration(fake: Project, tmp_path: Path) -> None:
    config = _GUEST.replace("CONFIG_DEBUG_INFO_BTF=y", "# CONFIG_DEBUG_INFO_BTF is not set")
    path = bzimage(tmp_path / "bzImage-own", _ikconfig(config))
    request = resolve(str(path))
    assert request == Prebuilt("bzImage-own", path, None)
    kernel = ensure(request)
    assert kernel.release == "6.12.0-own"
    assert kernel.image.has_btf is False
    with pytest.raises(
        KernelError, match="bzImage-own cannot run in a guest: CONFIG_DEBUG_INFO_BTF is not"
    ) as caught:
        require_options(kernel)
    assert caught.value.exit_code == 3
    assert caught.value.detail.splitlines()[-1] == f"the configuration is inside {path}"
    bzimage(path, _ikconfig(_GUEST))
    with_btf: Kernel = ensure(resolve(str(path)))
    assert with_btf.image.has_btf is True
    require_options(with_btf)
    assert with_btf.key != kernel.key


@pytest.mark.parametrize(
    "compressor", [["gzip"], ["xz", "--check=crc32"], ["zstd", "-22", "--ultra"]], ids=lambda c: c[0]
)
def test_every_usual_compression_of_a_bzimage_is_read(tmp_path: Path, compressor: list[str]) -> None:
    """As arch/x86/boot/compressed/Makefile makes them: the size of what is in it follows, but for gzip."""
    plain = gzip.decompress(_ikconfig(_GUEST))
    done = subprocess.run([*compressor, "-c"], input=plain, capture_output=True, check=True)
    size = b"" if compressor[0] == "gzip" else struct.pack("<I", len(plain))
    assert image.config(bzimage(tmp_path / "bzImage", done.stdout + size)) == _GUEST


_MANY = "".join(f"CONFIG_{n * n:x}=y\n" for n in range(2000))


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xfd7zXZ\0 not xz", b"\x28\xb5\x2f\xfd not zstd", _ikconfig(_MANY)[:3000]],
    ids=["empty", "xz", "zstd", "truncated"],
)
def test_bzimage_without_readable_configuration(tmp_path: Path, payload: bytes) -> None:
    assert image.config(bzimage(tmp_path / "bzImage", payload)) is None


@pytest.mark.parametrize("content", [b"", b"\x7fELF" + bytes(2000), bytes(0x202) + b"Hdr"])
def test_not_a_bzimage(fake: Project, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vmlinux").write_bytes(content)
    with pytest.raises(UserError, match=r"not a bzImage \(no HdrS at 0x202\)"):
        resolve(str(tmp_path / "vmlinux"))


def test_directories_that_are_no_kernel(fake: Project, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a source tree nor a build directory"):
        resolve(str(tmp_path))
    (tmp_path / ".config").touch()
    with pytest.raises(UserError, match="a build directory without arch/x86/boot/bzImage"):
        resolve(str(tmp_path))
    (tmp_path / "arch/x86/boot").mkdir(parents=True)
    (tmp_path / "arch/x86/boot/bzImage").write_bytes(b"half")
    with pytest.raises(UserError, match="is not a bzImage"):
        resolve(str(tmp_path))


def test_revisions(fake: Project, tmp_path: Path) -> None:
    found = resolve(f"{tmp_path}@v6.12~1")
    assert isinstance(found, Definition)
    assert found.source == spec.GitRevision(str(tmp_path), "v6.12~1")
    assert "/" not in found.name
    with pytest.raises(UserError, match="no git repository"):
        ensure(found)
    with pytest.raises(UserError, match="no revision after @"):
        resolve(f"{tmp_path}@")
    with pytest.raises(UserError, match=f"no directory {tmp_path}/none"):
        resolve(f"{tmp_path}/none@v6.12")


def test_fragment_with_a_line_that_is_no_configuration(fake: Project) -> None:
    fake.fragment("base", "CONFIG_BPF=y\nBPF_JIT=y\n")
    with pytest.raises(UserError, match=r"base\.config:2: not a configuration line: BPF_JIT=y"):
        ensure(resolve("baseline"))


def test_series_file_that_does_not_fit(fake: Project) -> None:
    directory = fake.series("change")
    fake.define("patched", 'base = "baseline"\nseries = "change"\n')
    (directory / "series").write_text("# a comment\n\n0001-gone.patch\n")
    with pytest.raises(UserError, match=r"series:3: no patch 0001-gone\.patch"):
        ensure(resolve("patched"))
    (directory / "series").write_text("0001.patch -p0\n")
    with pytest.raises(UserError, match=r"series:1: -p0: only -p1"):
        ensure(resolve("patched"))


def test_cache_below_a_path_with_a_space(
    fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my cache").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    fake.define("baseline", BASELINE.format(version=INSTALLED))
    with pytest.raises(Exception, match="spaces or colons") as caught:
        ensure(resolve("baseline"))
    assert "XDG_CACHE_HOME" in str(getattr(caught.value, "hint", ""))
