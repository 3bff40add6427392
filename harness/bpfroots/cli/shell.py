"""bpfroots shell: a prompt in a guest."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from bpfroots.cli.options import ACCEL, echo
from bpfroots.progress import Progress

if TYPE_CHECKING:
    from bpfroots.machine import Machine

# ssh(1), EXIT STATUS: "255 if an error occurred". A command may end with it as well.
_SSH_ERROR = 255


# Options end with the first word of COMMAND: what follows is the command's own.
@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--kernel", "kernel_name", default="baseline", show_default=True, metavar="K", help="As for load."
)
@click.option("--gdb", is_flag=True, help="Print the line that attaches gdb to the kernel.")
@click.argument("command", nargs=-1)
@ACCEL
def shell(kernel_name: str, gdb: bool, command: tuple[str, ...], accel: str) -> None:
    """Open a shell in a fresh guest over SSH, or run COMMAND in it.

    The guest ends with it.

    One word is a line for the guest's shell ('dmesg | tail'); several are a command and its arguments
    (uname -r). The exit status is that of the command.
    """
    from bpfroots import process
    from bpfroots.jobs.guests import Guests
    from bpfroots.jobs.kit import prepare
    from bpfroots.machine import choose_accel

    progress = Progress()
    kit = prepare([kernel_name], progress, types=False)
    (kernel,) = kit.kernels
    console = process.temporary_directory() / "console.log"
    with Guests(kit, choose_accel(accel)).boot(kernel, console) as machine:
        progress.say(f"guest     {kernel.name} ({kernel.release}); its console: {console}")
        if gdb:
            symbols = kernel.image.vmlinux or "VMLINUX"
            echo(f"gdb       gdb {symbols} -ex 'target remote {machine.gdb_server()}'", err=True)
        sys.exit(_run(machine, command))


def _run(machine: Machine, command: tuple[str, ...]) -> int:
    """The exit status of ``command``, or of a login shell. Raises GuestError where the guest is gone."""
    line = command[0] if len(command) == 1 else shlex.join(command)
    status = subprocess.call([*machine.shell_command(terminal=not command), *(["--", line] if line else [])])
    if status == _SSH_ERROR:
        machine.output("true")
    return status
