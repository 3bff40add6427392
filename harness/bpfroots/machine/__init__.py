"""QEMU guests: which accelerator, how they boot, what they say, and how they die."""

from bpfroots.machine.accel import Accel, choose_accel
from bpfroots.machine.command import Command, Completed
from bpfroots.machine.deadlines import Deadlines
from bpfroots.machine.devices import BootSpec
from bpfroots.machine.identity import SshIdentity
from bpfroots.machine.machine import Machine
from bpfroots.machine.snapshot import Snapshot, SnapshotFailure

__all__ = [
    "Accel",
    "BootSpec",
    "Command",
    "Completed",
    "Deadlines",
    "Machine",
    "Snapshot",
    "SnapshotFailure",
    "SshIdentity",
    "choose_accel",
]
