"""The shape of a guest, from a definition of a kernel to QEMU and to a worker of a cluster."""

from __future__ import annotations

import msgspec


class Shape(msgspec.Struct, frozen=True):
    """CPUs, memory in MiB, and what may be chosen besides. ``cpu``: QEMU's CPU model; empty for the
    accelerator's own (`Accel.cpu`). ``icount``: guest time counts instructions (QEMU -icount
    shift=0,sleep=off), under TCG only."""

    cpus: int = 1
    memory_mib: int = 256
    cpu: str = ""
    icount: bool = False

    def at_least(self, *, cpus: int = 0, memory_mib: int = 0) -> Shape:
        """This shape, larger where it has less."""
        return msgspec.structs.replace(
            self, cpus=max(self.cpus, cpus), memory_mib=max(self.memory_mib, memory_mib)
        )


#: What a kernel's guests have where its definition asks for nothing else.
STANDARD = Shape()
