"""The kernel's configuration: tinyconfig, then fragments, then a check that they survived.

``make olddefconfig`` drops a symbol whose dependencies are not met without a word; a kernel
without BTF or without kprobes would be noticed an hour later and elsewhere. A definition gets what its
fragments say, or is not built. Any other tree gets what it has of them: only what a guest cannot run
without (`GUEST`) is demanded of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bpfroots import arch
from bpfroots.errors import KernelError, UserError
from bpfroots.kernels.tree import OUTPUT

# What every kernel gets: no version suffix from the state of a git tree, so that equal
# sources give equal bytes.
_ALWAYS = {"LOCALVERSION": '""', "LOCALVERSION_AUTO": "n"}

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

#: What options were called in older kernels.
_FORMER = {
    "MITIGATION_RETPOLINE": "RETPOLINE",  # until 6.8: aefb2f2e619b
}

_SET = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.*)$")
_UNSET = re.compile(r"# CONFIG_([A-Za-z0-9_]+) is not set$")


# Of an error's line; all of them follow.
_SHOWN = 3


@dataclass(frozen=True)
class Wish:
    """One requested value. ``n`` stands for absent and for "is not set". Not ``demanded``: a kernel without
    it is as good."""

    symbol: str
    value: str
    where: str
    demanded: bool = True


class Lost(NamedTuple):
    """A request that a configuration does not meet: the value it has instead, and why where that is known.
    ``absent``: the kernel has no such option."""

    wish: Wish
    value: str
    why: str
    absent: bool

    def __str__(self) -> str:
        return (
            f"{self.wish.where}: CONFIG_{self.wish.symbol}={self.wish.value} became {self.value}: {self.why}"
        )


class Missing(NamedTuple):
    """An option of `GUEST` that a configuration has as ``value``: "n" where it is not set, or "m"."""

    symbol: str
    value: str

    def __str__(self) -> str:
        return (
            f"CONFIG_{self.symbol} is not set" if self.value == "n" else f"CONFIG_{self.symbol}={self.value}"
        )


def read_fragments(fragments: Iterable[Path], *, demanded: bool = True) -> dict[str, Wish]:
    """What they ask for, by symbol and in order: a later line wins over an earlier one.

    Raises UserError for a line that is neither an assignment nor a comment.
    """
    wishes: dict[str, Wish] = {}
    for path in fragments:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            stripped = line.strip()
            if match := _SET.match(stripped):
                wish = Wish(match[1], match[2], f"{path.name}:{number}", demanded)
            elif match := _UNSET.match(stripped):
                wish = Wish(match[1], "n", f"{path.name}:{number}", demanded)
            elif stripped and not stripped.startswith("#"):
                msg = f"{path}:{number}: not a configuration line: {stripped}"
                raise UserError(msg, hint="write CONFIG_NAME=value, or # CONFIG_NAME is not set")
            else:
                continue
            # The last place as well: of two options of a choice, the later one counts.
            wishes.pop(wish.symbol, None)
            wishes[wish.symbol] = wish
    return wishes


def text(wishes: Mapping[str, Wish]) -> str:
    """The lines that ask for them, with former names, which a kernel that does not know them ignores."""
    values = {wish.symbol: wish.value for wish in wishes.values()} | _ALWAYS
    former = {_FORMER[symbol]: value for symbol, value in values.items() if symbol in _FORMER}
    return "".join(_line(symbol, value) for symbol, value in (former | values).items())


def _line(symbol: str, value: str) -> str:
    return f"# CONFIG_{symbol} is not set\n" if value == "n" else f"CONFIG_{symbol}={value}\n"


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
    shown = _few([str(one) for one in found])
    lines = [f"CONFIG_{one.symbol}=y: {GUEST[one.symbol]}" for one in found]
    return KernelError(
        f"kernel {kernel} cannot run in a guest: {shown}",
        detail="\n".join([*lines, f"the configuration is {where}"]),
        hint="set these and build it again; a guest loads no modules",
    )


def value_of(options: Mapping[str, str], symbol: str) -> str:
    """What a configuration that was `parse`d has an option set to, under a former name if need be; "n"
    where it is not set."""
    return options.get(symbol) or options.get(_FORMER.get(symbol, ""), "n")


def lost(wishes: Mapping[str, Wish], config: Path, source: Path) -> list[Lost]:
    """What of ``wishes`` a ``.config`` does not meet, and why where that is known."""
    actual = parse(config.read_text())
    unmet = [wish for wish in wishes.values() if value_of(actual, wish.symbol) != wish.value]
    known = _dependencies(source, {wish.symbol for wish in unmet}) if unmet else {}
    return [_lost(wish, value_of(actual, wish.symbol), known.get(wish.symbol)) for wish in unmet]


def _lost(wish: Wish, value: str, dependencies: list[str] | None) -> Lost:
    if dependencies is None:
        return Lost(wish, value, "not in this kernel's Kconfig", absent=True)
    if dependencies:
        return Lost(wish, value, f"dependencies not met: {'; '.join(dependencies)}", absent=False)
    return Lost(wish, value, "overridden by another symbol (select, or a choice)", absent=False)


def refused(found: Sequence[Lost]) -> KernelError:
    """The error for a definition whose fragments are not met."""
    first = found[0].wish
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return KernelError(
        f"configuration: CONFIG_{first.symbol}={first.value} ({first.where}) did not survive{more}",
        detail="\n".join(map(str, found)),
        hint="add what it depends on to the fragment, drop the line, or list it under `absent`",
    )


def unmet(found: Sequence[Lost]) -> str:
    """One line that says what a kernel is built without, or with."""
    absent = [f"CONFIG_{one.wish.symbol}" for one in found if one.absent]
    others = [f"CONFIG_{one.wish.symbol}={one.value} ({one.why})" for one in found if not one.absent]
    parts = [f"no such option: {_few(absent)}"] if absent else []
    return "; ".join([*parts, *([_few(others)] if others else [])])


def _few(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


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
