"""libbpf asked to load roots together where that is possible: what it does on a kernel of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import prepare
from bpfroots.jobs.runner import stream
from bpfroots.machine import choose_accel
from bpfroots.programs import compile as compiling
from bpfroots.programs.protocol import Attach, Detach, Load, Loaded, ReadMaps, Step, Trigger
from bpfroots.progress import Progress

pytestmark = pytest.mark.guest

_SOURCE = Path(__file__).parent / "runner" / "counter.bpf.c"
_STEPS: list[Step] = [
    Attach("on_comm"),
    Attach("on_getpgid"),
    Trigger("comm", 3),
    Trigger("getpgid", 5),
    Detach("on_comm"),
    Detach("on_getpgid"),
    ReadMaps(["counts"]),
]


@pytest.mark.parametrize(("kernel", "images"), [("baseline", 2), ("patched", 1)])
def test_shared_where_the_kernel_can_else_copied(kernel: str, images: int, tmp_path: Path) -> None:
    kit = prepare([kernel], Progress())
    object_ = compiling.compile_source(kit.toolchain, kit.objects, _SOURCE.read_bytes(), _SOURCE.name)
    load = Load("counter", "duplicate", "c.bpf.o", ["on_comm", "on_getpgid"], _STEPS, prefer_groups=True)
    with Guests(kit, choose_accel("auto")).boot(kit.kernels[0], tmp_path / "console.log") as machine:
        (loaded,) = [
            line for line in stream(machine, [load], {"c.bpf.o": object_}) if isinstance(line, Loaded)
        ]
    assert (loaded.error, loaded.verdict) == ("", "accept")
    assert len({program.jited[1].addr for program in loaded.programs}) == images
    counts = [int.from_bytes(bytes.fromhex(entry.value), "little") for entry in loaded.maps[0].entries]
    assert counts[:2] == [3, 5]
