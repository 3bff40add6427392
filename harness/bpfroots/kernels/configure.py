"""Configuring a tree: tinyconfig, what is asked for, olddefconfig, and what came of it.

With fragments of the tree's own there is no tinyconfig: they are meant for a kernel with all defaults
(tools/testing/selftests/bpf/vmtest.sh).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from bpfroots.kernels import kconfig, toolchain
from bpfroots.kernels.failure import failure
from bpfroots.kernels.spec import Definition
from bpfroots.process import run


def configure(
    definition: Definition,
    wishes: Mapping[str, kconfig.Wish],
    linux: Path,
    output: Path,
    say: Callable[[str], None],
) -> None:
    """Write ``output``/.config; from nothing each time, so that the result depends on the inputs and not on
    what was built here before.

    ``say`` gets a line about what a tree of no definition is built without. Raises KernelError for a
    definition that does not get what its fragments say, and for a kernel that cannot run in a guest.
    """
    config = output / ".config"
    before = (config.read_bytes(), config.stat()) if config.exists() else None
    if definition.tree_config:
        config.unlink(missing_ok=True)
    else:
        make(linux, output, "tinyconfig")
    with config.open("a") as file:
        file.write(kconfig.text(wishes))
    make(linux, output, "olddefconfig")
    lost = [one for one in kconfig.lost(wishes, config, linux) if not _expected(one, definition)]
    demanded = [one for one in lost if one.wish.demanded]
    if demanded and definition.origin is not None:
        refused = kconfig.refused(demanded)
        raise refused
    if missing := kconfig.missing(config.read_text()):
        unfit = kconfig.no_guest(definition.name, missing, str(config))
        raise unfit
    if lost:
        say(f"config  {definition.name}: {kconfig.unmet(lost)}")
    if before and before[0] == config.read_bytes():
        os.utime(config, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))


def _expected(lost: kconfig.Lost, definition: Definition) -> bool:
    # What is to be absent may as well not exist.
    return lost.absent and lost.wish.symbol in definition.absent


def make(linux: Path, output: Path, target: str) -> None:
    """Make one ``target`` that does not take long. Raises KernelError."""
    answer = run(toolchain.make(linux, output, target), env=toolchain.environment())
    if answer.returncode != 0:
        text = (answer.stdout + answer.stderr).decode(errors="replace")
        failed = failure(f"make {target} failed", text, output)
        raise failed
