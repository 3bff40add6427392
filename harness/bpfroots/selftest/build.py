"""test_verifier of a kernel tree, and the module its tests want: tools/testing/selftests/bpf.

Not by the selftests' own Makefile: it writes into the tree, and wants clang, bpftool and vmlinux.h
for programs that test_verifier does without.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bpfroots import arch
from bpfroots.errors import KernelError
from bpfroots.images import tree_tools
from bpfroots.images.tools import first_error, make, strip, tail
from bpfroots.images.tree_tools import compile_tool, libbpf_command
from bpfroots.kernels import Kernel, kconfig, toolchain
from bpfroots.process import run
from bpfroots.progress import Progress
from bpfroots.settings import resource

TEST_VERIFIER = "test_verifier"
TESTMOD = "bpf_testmod.ko"

_SELFTESTS = Path("tools/testing/selftests/bpf")
_SOURCES = ("test_verifier.c", "testing_helpers.c", "cap_helpers.c", "unpriv_helpers.c", "disasm.c")
_INCLUDES = ("tools/lib", "tools/include", f"tools/arch/{arch.GUEST.kbuild}/include", "tools/include/uapi")
# Without module BTF its functions cannot be called from BPF, which is what the tests do.
_TESTMOD_CONFIG = ("MODULES", "MODULE_UNLOAD", "DEBUG_INFO_BTF_MODULES")


def cache_key(what: str, inputs: str) -> str:
    """The key of a tool made of a tree that ``inputs`` stands for."""
    return tree_tools.cache_key(what, inputs, _glue(), Path(__file__))


def build_test_verifier(source: Path, out: Path, progress: Progress) -> None:
    """Make ``out/test_verifier``, static, of the tree ``source``, which is not written to.

    Raises KernelError where the tree has none or it does not compile.
    """
    if not (source / _SELFTESTS / "test_verifier.c").is_file():
        msg = f"{source}: no {_SELFTESTS}/test_verifier.c there"
        raise KernelError(msg)
    build = out / "build"
    (build / "libbpf").mkdir(parents=True)
    (build / "verifier").mkdir()
    with progress.task(f"tools     {TEST_VERIFIER}"):
        compile_tool("libbpf", source, libbpf_command(source, build / "libbpf"), out / "libbpf.log")
        names = sorted(path.name for path in (source / _SELFTESTS / "verifier").glob("*.c"))
        included = "".join(f'#include "{name}"\n' for name in names)
        (build / "verifier/tests.h").write_text(f"#ifdef FILL_ARRAY\n{included}#endif\n")
        compile_tool(TEST_VERIFIER, source, _gcc_command(source, build), out / "test_verifier.log")
        strip(build / TEST_VERIFIER, out / TEST_VERIFIER)
        shutil.rmtree(build)


def testmod_missing(kernel: Kernel) -> str:
    """Why no bpf_testmod can be built for ``kernel``; empty where nothing is known to be missing."""
    if kernel.source is None or kernel.image.config is None or kernel.image.vmlinux is None:
        return "its source, configuration or vmlinux is not known"
    config = kconfig.parse(kernel.image.config.read_text(errors="replace"))
    for symbol in _TESTMOD_CONFIG:
        if config.get(symbol) != "y":
            return f"CONFIG_{symbol} is not set"
    if not (kernel.source / _SELFTESTS / "bpf_testmod/bpf_testmod.c").is_file():
        return f"{_SELFTESTS}/bpf_testmod is not in its source"
    return ""


def build_testmod(kernel: Kernel, out: Path, progress: Progress) -> None:
    """Make ``out/bpf_testmod.ko``, with its BTF, for ``kernel`` (see `testmod_missing`).

    In an output directory of its own with the kernel's configuration and vmlinux, not in the one
    the kernel was built in: that may belong to another revision by now, or to another user.
    Raises KernelError where the module does not compile.
    """
    source, config, vmlinux = kernel.source, kernel.image.config, kernel.image.vmlinux
    assert source is not None and config is not None and vmlinux is not None  # noqa: S101, PT018
    output, module = out / "build", out / "module"
    output.mkdir()
    shutil.copyfile(config, output / ".config")
    # scripts/Makefile.modfinal makes the module's BTF relative to this file's.
    (output / "vmlinux").symlink_to(vmlinux.resolve())
    shutil.copytree(source / _SELFTESTS / "bpf_testmod", module)
    # The exported symbols are in the Module.symvers of the kernel's own build: without it modpost only
    # warns, and the guest's kernel is the one to resolve them.
    variables = ["KBUILD_MODPOST_WARN=1", f"KERNELRELEASE={kernel.release}"]
    with progress.task(f"kernel  {kernel.name}  bpf_testmod"):
        for target in (["olddefconfig"], ["modules_prepare"], [f"M={module.resolve()}", "modules"]):
            argv = toolchain.make(source.resolve(), output.resolve(), *variables, *target)
            log = out / f"{target[-1]}.log"
            if make(argv, log, toolchain.environment()):
                msg = f"bpf_testmod of {kernel.name} does not build: {first_error(log)}"
                raise KernelError(msg, detail=tail(log), hint="--no-testmod does without it")
    (module / TESTMOD).rename(out / TESTMOD)
    if b" .BTF" not in run(["readelf", "-SW", out / TESTMOD]).stdout:
        msg = f"bpf_testmod of {kernel.name} has no BTF: {first_error(out / 'modules.log')}"
        raise KernelError(msg, hint="--no-testmod does without it")
    shutil.rmtree(output)
    shutil.rmtree(module)


def _glue() -> Path:
    return resource("images/selftests/testmod.c")


def _gcc_command(source: Path, build: Path) -> list[str | Path]:
    tests = source / _SELFTESTS
    folders = [build, tests, tests / "verifier", build / "libbpf/include", *(source / p for p in _INCLUDES)]
    return [
        *("gcc", "-static", "-O0", "-w", "-Wl,--build-id=none"),
        *("-Wl,--wrap=load_bpf_testmod", "-o", build / TEST_VERIFIER),
        *(f"-I{folder}" for folder in folders),
        _glue(),
        *(tests / name for name in _SOURCES),
        *(build / "libbpf/libbpf.a", "-lelf", "-lz"),
    ]
