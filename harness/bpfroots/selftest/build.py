"""test_verifier of a kernel tree: tools/testing/selftests/bpf.

Not by the selftests' own Makefile: it writes into the tree, and wants clang, bpftool and vmlinux.h
for programs that test_verifier does without.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bpfroots import arch
from bpfroots.errors import KernelError
from bpfroots.images import tree_tools
from bpfroots.images.tools import strip
from bpfroots.images.tree_tools import compile_tool, libbpf_command
from bpfroots.kernels import selftests
from bpfroots.progress import Progress
from bpfroots.settings import resource

TEST_VERIFIER = "test_verifier"

# The names of the tests that call functions of bpf_testmod.
_OF_MODULE = "of_module.json"
_TEST_NAME = re.compile(r'^\t"(.*)",$')

# 6.1 does without the last two.
_SOURCES = ("test_verifier.c", "testing_helpers.c", "cap_helpers.c", "unpriv_helpers.c", "disasm.c")
_INCLUDES = ("tools/lib", "tools/include", f"tools/arch/{arch.GUEST.kbuild}/include", "tools/include/uapi")


def cache_key(what: str, inputs: str) -> str:
    """The key of a tool made of a tree that ``inputs`` stands for."""
    return tree_tools.cache_key(what, inputs, _glue(), Path(__file__))


def build_test_verifier(source: Path, out: Path, progress: Progress) -> None:
    """Make ``out/test_verifier``, static, of the tree ``source``, which is not written to.

    Raises KernelError where the tree has none or it does not compile.
    """
    if not (source / selftests.DIRECTORY / "test_verifier.c").is_file():
        msg = f"{source}: no {selftests.DIRECTORY}/test_verifier.c there"
        raise KernelError(msg)
    build = out / "build"
    (build / "libbpf").mkdir(parents=True)
    (build / "verifier").mkdir()
    with progress.task(f"tools     {TEST_VERIFIER}"):
        compile_tool("libbpf", source, libbpf_command(source, build / "libbpf"), out / "libbpf.log")
        tests = sorted((source / selftests.DIRECTORY / "verifier").glob("*.c"))
        included = "".join(f'#include "{path.name}"\n' for path in tests)
        (build / "verifier/tests.h").write_text(f"#ifdef FILL_ARRAY\n{included}#endif\n")
        compile_tool(TEST_VERIFIER, source, _gcc_command(source, build), out / "test_verifier.log")
        strip(build / TEST_VERIFIER, out / TEST_VERIFIER)
        shutil.rmtree(build)
    found = [name for path in tests for name in _calling(path.read_text(errors="replace"))]
    (out / _OF_MODULE).write_bytes(msgspec.json.encode(found))


def of_module(built: Path) -> list[str]:
    """The names of the tests that call functions of bpf_testmod, of what was built there."""
    return msgspec.json.decode((built / _OF_MODULE).read_bytes(), type=list[str])


def _calling(source: str) -> Iterator[str]:
    """The tests of a file that have calls of kernel functions to be fixed up (test_verifier.c,
    fixup_prog_kfuncs()): all of those functions are the module's."""
    name = ""
    for line in source.splitlines():
        if match := _TEST_NAME.match(line):
            name = match[1].replace(r"\"", '"')
        elif ".fixup_kfunc_btf_id = " in line:
            yield name


def _glue() -> Path:
    return resource("images/selftests/testmod.c")


def _gcc_command(source: Path, build: Path) -> list[str | Path]:
    tests = source / selftests.DIRECTORY
    folders = [build, tests, tests / "verifier", build / "libbpf/include", *(source / p for p in _INCLUDES)]
    return [
        *("gcc", "-static", "-O0", "-w", "-Wl,--build-id=none"),
        *("-Wl,--wrap=load_bpf_testmod", "-o", build / TEST_VERIFIER),
        *(f"-I{folder}" for folder in folders),
        _glue(),
        *(file for name in _SOURCES if (file := tests / name).is_file()),
        *(build / "libbpf/libbpf.a", "-lelf", "-lz"),
    ]
