"""What of a tree's test_progs is built, and what its build says it left out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bpfroots.errors import InfraError, KernelError
from bpfroots.images import Image, layer
from bpfroots.images.initramfs import ALIGNMENT
from bpfroots.kernels import selftests
from bpfroots.selftest import progs_build, progs_tree

_TRAILER = b"TRAILER!!!\0"
_MAKEFILE = """
LINKED_SKELS := linked.skel.h
linked.skel.h-deps := linked1.bpf.o linked2.bpf.o
LSKELS := ring.c
"""
_FILES = {
    "Makefile": _MAKEFILE,
    "prog_tests/alpha.c": '#include "alpha.skel.h"\nvoid test_alpha(void)\n{\n}\n',
    "prog_tests/beta.c": "void serial_test_beta(void)\n{\n}\nvoid test_alpha_beta(void)\n"
    '{\n\topen("./beta_prog.bpf.o");\n}\n#define F(name) "gen_" #name ".bpf.o"\n',
    "prog_tests/helpers.c": '#include "helper.lskel.h"\nint help(void);\n',
    "progs/alpha.c": '#include "vmlinux.h"\n#include "body.c"\n',
    "progs/body.c": "",
    "progs/beta_prog.c": "",
    "progs/gen_x.c": "",
    "progs/gen_y.c": "",
    "progs/helper.c": "",
    "progs/linked1.c": "",
    "progs/linked2.c": "",
    "progs/ring.c": "",
    "progs/other.c": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in _FILES.items():
        path = tmp_path / selftests.DIRECTORY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_tests_are_in_the_order_of_the_program(tree: Path) -> None:
    # "alpha_beta)" sorts behind "alpha)": what is sorted is the line, in tests.h.
    assert progs_tree.tests(tree) == {"alpha": "alpha.c", "alpha_beta": "beta.c", "beta": "beta.c"}


def test_a_tree_without_tests(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="no tools/testing/selftests/bpf/prog_tests there"):
        progs_tree.tests(tmp_path)


@pytest.mark.parametrize(
    ("file", "left_out"),
    [
        (
            "alpha.c",
            ["prog_tests/beta.c", "progs/beta_prog.c", "progs/gen_x.c", "progs/gen_y.c", "progs/other.c"],
        ),
        ("beta.c", ["prog_tests/alpha.c", "progs/alpha.c", "progs/body.c", "progs/other.c"]),
    ],
)
def test_a_part_is_built_with_what_it_opens(tree: Path, file: str, left_out: list[str]) -> None:
    expected = {f"{selftests.DIRECTORY}/{name}" for name in left_out}
    assert progs_tree.left_out(tree, {file}) == expected


def test_what_a_compiler_cannot_build_has_its_first_error() -> None:
    log = """\
  CLNG-BPF     [test_progs] arena.bpf.o
progs/arena.c:12:3: error: unknown attribute 'address_space'
progs/arena.c:14:3: error: another one
2 errors generated.
  SKIP-BPF     arena.bpf.o
  CLNG-BPF     [test_progs] good.bpf.o
  SKIP-SKEL    arena.skel.h
  TEST-OBJ     [test_progs] arena.test.o
/src/prog_tests/arena.c:5:10: fatal error: arena.skel.h: No such file or directory
  SKIP-TEST    arena.test.o
"""
    assert progs_build.skipped_in(log) == {
        "arena.bpf.o": "arena.c:12: unknown attribute 'address_space'",
        "arena.skel.h": "something it is made of is missing",
        "arena.test.o": "arena.c:5: arena.skel.h: No such file or directory",
    }


def _listed(image: Image) -> dict[str, str]:
    """Path → mode of every entry of all archives in an image."""
    found: dict[str, str] = {}
    rest = image.path.read_bytes()
    while rest:
        done = subprocess.run(["cpio", "-itv", "--quiet"], input=rest, capture_output=True, check=True)
        words = [line.split() for line in done.stdout.decode().splitlines()]
        found |= {entry[8]: entry[0] for entry in words}
        end = rest.index(_TRAILER) + len(_TRAILER)
        rest = rest[end + -end % ALIGNMENT :]
    return found


def test_the_layer_has_the_tests_and_their_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(layer, "PROGRAMS", {"bash": "bash", "dash": "dash"})
    base = Image(tmp_path / "base.cpio", "digest")
    base.path.write_bytes(b"")
    tests = tmp_path / "files"
    tests.mkdir()
    (tests / "prog.bpf.o").write_bytes(b"\x7fELF, for BPF")
    (tests / "run").write_text("#!/bin/bash\n")
    (tests / "run").chmod(0o755)
    made = layer.layered(base, tests, "1")
    found = _listed(made)
    assert found["selftests/run"].startswith("-rwx")
    assert found["bin/sh"].startswith("l")
    assert any(name.endswith("/libc.so.6") for name in found)
    assert layer.layered(base, tests, "1") == made
    assert layer.layered(base, tests, "2").digest != made.digest


def test_a_program_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "PROGRAMS", {"no-such-tool": "some-package"})
    with pytest.raises(InfraError, match="no-such-tool: not found") as raised:
        layer.require()
    assert raised.value.hint == "apt-get install some-package"
