"""The kernel's configuration: tinyconfig, then fragments, then a check that they survived.

``make olddefconfig`` drops a symbol whose dependencies are not met without a word; a kernel
without BTF or without kprobes would be noticed an hour later and elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bpfroots import arch
from bpfroots.errors import KernelError, UserError
from bpfroots.kernels.tree import OUTPUT

# What every kernel gets: no version suffix from the state of a git tree, so that equal
# sources give equal bytes.
ALWAYS = 'CONFIG_LOCALVERSION=""\n# CONFIG_LOCALVERSION_AUTO is not set\n'

#: Options that a guest cannot run without, and what for (images/init, harness/bpfroots/machine/devices.py).
GUEST = {
    "64BIT": "the guest's programs are 64-bit ones",
    "BLK_DEV_INITRD": "its root is an initramfs",
    "BINFMT_ELF": "its programs are ELF files",
    "BINFMT_SCRIPT": "/init is a shell script",
    "PROC_FS": "/init mounts it",
    "SYSFS": "/init mounts it",
    "DEVTMPFS": "/init mounts it on /dev",
    "UNIX98_PTYS": "/init mounts devpts",
    "SERIAL_8250_CONSOLE": "its console is the first serial port",
    "VIRTIO_PCI": "its devices are virtio devices on a PCI bus",
    "VIRTIO_NET": "its network card, by which SSH reaches it, is one of these",
    "INET": "SSH reaches it over TCP",
    "BPF_SYSCALL": "programs are loaded by bpf(2)",
    "DEBUG_INFO_BTF": "programs are relocated by the kernel's BTF (pahole makes it, package dwarves)",
}

_SET = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.*)$")
_UNSET = re.compile(r"# CONFIG_([A-Za-z0-9_]+) is not set$")


# Of an error's line; all of them follow.
_SHOWN = 3


@dataclass(frozen=True)
class Wish:
    """One requested value. ``n`` stands for absent and for "is not set"."""

    symbol: str
    value: str
    where: str


class Missing(NamedTuple):
    """An option of `GUEST` that a configuration has as ``value``: "n" where it is not set, or "m"."""

    symbol: str
    value: str

    def __str__(self) -> str:
        return (
            f"CONFIG_{self.symbol} is not set" if self.value == "n" else f"CONFIG_{self.symbol}={self.value}"
        )


def read_fragments(fragments: Iterable[Path]) -> tuple[str, dict[str, Wish]]:
    """Their text in order, and what they ask for: a later line wins over an earlier one.

    Raises UserError for a line that is neither an assignment nor a comment.
    """
    texts: list[str] = []
    wishes: dict[str, Wish] = {}
    for path in fragments:
        text = path.read_text()
        texts.append(text)
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if match := _SET.match(stripped):
                wishes[match[1]] = Wish(match[1], match[2], f"{path.name}:{number}")
            elif match := _UNSET.match(stripped):
                wishes[match[1]] = Wish(match[1], "n", f"{path.name}:{number}")
            elif stripped and not stripped.startswith("#"):
                msg = f"{path}:{number}: not a configuration line: {stripped}"
                raise UserError(msg, hint="write CONFIG_NAME=value, or # CONFIG_NAME is not set")
    return "\n".join([*texts, ALWAYS]), wishes


def parse(config: str) -> dict[str, str]:
    """Symbols that a ``.config`` sets; what it does not set is not in there."""
    return {m[1]: m[2] for line in config.splitlines() if (m := _SET.match(line))}


def missing(config: str) -> tuple[Missing, ...]:
    """What a guest needs and this ``.config`` has not built in."""
    actual = parse(config)
    values = ((symbol, actual.get(symbol, "n")) for symbol in GUEST)
    return tuple(Missing(symbol, value) for symbol, value in values if value != "y")


def no_guest(kernel: str, found: Sequence[Missing], where: str) -> KernelError:
    """The error for a ``kernel`` that is `missing` something in the configuration ``where``."""
    shown = ", ".join(map(str, found[:_SHOWN]))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    lines = [f"CONFIG_{one.symbol}=y: {GUEST[one.symbol]}" for one in found]
    return KernelError(
        f"kernel {kernel} cannot run in a guest: {shown}{more}",
        detail="\n".join([*lines, f"the configuration is {where}"]),
        hint="set these and build it again; a guest loads no modules",
    )


def check(wishes: dict[str, Wish], config: Path, source: Path) -> None:
    """Raises KernelError naming every symbol that did not survive, and why where that is known."""
    actual = parse(config.read_text())
    lost = [wish for wish in wishes.values() if actual.get(wish.symbol, "n") != wish.value]
    if not lost:
        return
    known = _dependencies(source, {wish.symbol for wish in lost})
    lines = []
    for wish in lost:
        now = actual.get(wish.symbol, "n")
        if wish.symbol not in known:
            why = "not in this kernel's Kconfig"
        elif known[wish.symbol]:
            why = f"dependencies not met: {'; '.join(known[wish.symbol])}"
        else:
            why = "overridden by another symbol (select, or a choice)"
        lines.append(f"{wish.where}: CONFIG_{wish.symbol}={wish.value} became {now}: {why}")
    first = lost[0]
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    msg = f"configuration: CONFIG_{first.symbol}={first.value} ({first.where}) did not survive{more}"
    raise KernelError(
        msg,
        detail="\n".join(lines),
        hint="add what it depends on to the fragment, or drop the line",
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _dependencies(source: Path, symbols: set[str]) -> dict[str, list[str]]:
    """``depends on`` lines of the symbols that some Kconfig file defines."""
    found: dict[str, list[str]] = {}
    heading = re.compile(r"^\s*(?:menu)?config\s+([A-Za-z0-9_]+)\s*$")
    for path in _kconfig_files(source):
        current: list[str] | None = None
        for line in path.read_text(errors="replace").splitlines():
            if match := heading.match(line):
                current = found.setdefault(match[1], []) if match[1] in symbols else None
            elif current is not None and line.strip().startswith("depends on "):
                current.append(line.strip().removeprefix("depends on "))
    return found


def _kconfig_files(source: Path) -> Iterable[Path]:
    for directory, subdirectories, files in os.walk(source):
        if Path(directory) == source:
            subdirectories[:] = [d for d in subdirectories if d not in (".git", "Documentation", OUTPUT)]
        elif Path(directory) == source / "arch":
            subdirectories[:] = [arch.GUEST.kbuild]
        yield from (Path(directory, name) for name in files if name.startswith("Kconfig"))
