"""QEMU guests: which accelerator, how they boot, what they say, and how they die."""

from harness.machine.accel import Accel, choose_accel
from harness.machine.deadlines import Deadlines
from harness.machine.devices import Shape
from harness.machine.machine import Command, Completed, Machine
from harness.machine.ssh import SshIdentity

__all__ = ["Accel", "Command", "Completed", "Deadlines", "Machine", "Shape", "SshIdentity", "choose_accel"]
