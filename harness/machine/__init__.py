"""QEMU guests: which accelerator, how they boot, what they say, and how they die."""

from harness.machine.accel import Accel, choose_accel
from harness.machine.command import Command, Completed
from harness.machine.deadlines import Deadlines
from harness.machine.devices import Shape
from harness.machine.machine import Machine
from harness.machine.snapshot import Snapshot, SnapshotFailure
from harness.machine.ssh import SshIdentity

__all__ = [
    "Accel",
    "Command",
    "Completed",
    "Deadlines",
    "Machine",
    "Shape",
    "Snapshot",
    "SnapshotFailure",
    "SshIdentity",
    "choose_accel",
]
