"""The modules that a kernel tree's own tests want: bpf_testmod and its kin.

In an output directory of their own with the kernel's configuration and vmlinux, not in the one the kernel
was built in: that may belong to another revision by now, or to another user.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bpfroots.errors import KernelError
from bpfroots.images import tree_tools
from bpfroots.images.tools import first_error, make, tail
from bpfroots.kernels import Kernel, kconfig, selftests, toolchain
from bpfroots.process import run
from bpfroots.progress import Progress

TESTMOD = "bpf_testmod.ko"
#: The options that the kernel was configured with, as C has them.
AUTOCONF = "autoconf.h"

# One directory for all since 6.14, before that one for each.
_TOGETHER, _EACH = "test_kmods", "bpf_test*"
# Without module BTF its functions cannot be called from BPF, which is what the tests do.
_CONFIG = ("MODULES", "MODULE_UNLOAD", "DEBUG_INFO_BTF_MODULES")


def missing(kernel: Kernel) -> str:
    """Why no bpf_testmod can be built for ``kernel``; empty where nothing is known to be missing."""
    if kernel.source is None or kernel.image.config is None or kernel.image.vmlinux is None:
        return "its source, configuration or vmlinux is not known"
    config = kconfig.parse(kernel.image.config.read_text(errors="replace"))
    for symbol in _CONFIG:
        if config.get(symbol) != "y":
            return f"CONFIG_{symbol} is not set"
    if not _directories(kernel.source):
        return f"{selftests.DIRECTORY} of its source has no bpf_testmod"
    return ""


def cache_key(kernel: Kernel) -> str:
    """The key of what `build` makes."""
    return tree_tools.cache_key("modules", kernel.key, Path(__file__))


def build(kernel: Kernel, out: Path, progress: Progress) -> None:
    """Make ``out/*.ko``, each with its BTF, and ``out/autoconf.h`` for ``kernel`` (see `missing`).

    Raises KernelError where a module does not compile.
    """
    source, config, vmlinux = kernel.source, kernel.image.config, kernel.image.vmlinux
    assert source is not None and config is not None and vmlinux is not None  # noqa: S101, PT018
    output = out / "build"
    output.mkdir()
    shutil.copyfile(config, output / ".config")
    # scripts/Makefile.modfinal makes the module's BTF relative to this file's.
    (output / "vmlinux").symlink_to(vmlinux.resolve())
    with progress.task(f"kernel  {kernel.name}  bpf_testmod"):
        for target in ("olddefconfig", "modules_prepare"):
            _make(kernel, out, [target])
        for directory in _directories(source):
            module = out / directory.name
            shutil.copytree(directory, module)
            _make(kernel, out, [f"M={module.resolve()}", "modules"])
            for built in module.glob("*.ko"):
                built.rename(out / built.name)
            shutil.rmtree(module)
    if b" .BTF" not in run(["readelf", "-SW", out / TESTMOD]).stdout:
        msg = f"bpf_testmod of {kernel.name} has no BTF: {first_error(out / 'modules.log')}"
        raise KernelError(msg, hint="--no-testmod does without it")
    shutil.copyfile(output / "include/generated" / AUTOCONF, out / AUTOCONF)
    shutil.rmtree(output)


def _make(kernel: Kernel, out: Path, target: list[str]) -> None:
    # The exported symbols are in the Module.symvers of the kernel's own build: without it modpost only
    # warns, and the guest's kernel is the one to resolve them.
    variables = ["KBUILD_MODPOST_WARN=1", f"KERNELRELEASE={kernel.release}"]
    assert kernel.source is not None  # noqa: S101
    argv = toolchain.make(kernel.source.resolve(), (out / "build").resolve(), *variables, *target)
    log = out / f"{target[-1]}.log"
    if make(argv, log, toolchain.environment()):
        msg = f"bpf_testmod of {kernel.name} does not build: {first_error(log)}"
        raise KernelError(msg, detail=tail(log), hint="--no-testmod does without it")


def _directories(source: Path) -> list[Path]:
    tests = source / selftests.DIRECTORY
    if (tests / _TOGETHER / "bpf_testmod.c").is_file():
        return [tests / _TOGETHER]
    return sorted(path for path in tests.glob(_EACH) if (path / f"{path.name}.c").is_file())
