"""The program of testcases/insn: how it is built, sent and read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bpfroots import images
from bpfroots.kernels import Definition, resolve, tools_source
from bpfroots.machine import Machine
from bpfroots.progress import Progress

_SOURCES = Path(__file__).parent / "insn"
#: Where it is in the guest.
PROGRAM = "/run/insn"


@dataclass
class Said:
    """What a run of the program printed: lines by group, and the number it ended with."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    announced: int | None = None

    @property
    def checks(self) -> list[str]:
        return [line for lines in self.groups.values() for line in lines]


def parse(output: str) -> Said:
    said = Said()
    group = ""
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word == "group":
            group = rest
            said.groups[group] = []
        elif word == "done":
            said.announced = int(rest)
        elif re.match(r"(not )?ok ", line):
            said.groups.setdefault(group, []).append(line)
    return said


def build_program(progress: Progress) -> Path:
    """The program, against the headers of the patched kernel."""
    definition = resolve("patched")
    assert isinstance(definition, Definition)
    tree, identity = tools_source(definition, progress)
    return images.build_static("insn", sorted(_SOURCES.glob("*.[ch]")), tree, identity, progress)


def multi_root_kernel(config: pytest.Config) -> str:
    """The first kernel of --kernel that has multi-root loads; skips where there is none."""
    for argument in config.getoption("--kernel"):
        request = resolve(argument)
        if isinstance(request, Definition) and "multi_root" in request.provides:
            return str(argument)
    pytest.skip("needs a kernel that provides multi_root: pytest --kernel=patched")


def send(machine: Machine, program: Path, option: str = "") -> Iterator[bytes]:
    """Lines of the whole suite, or of what ``option`` asks for, as they come."""
    machine.output(f"cat > {PROGRAM} && chmod +x {PROGRAM}", stdin=program.read_bytes())
    return iter(machine.run(f"{PROGRAM} {option}"))
