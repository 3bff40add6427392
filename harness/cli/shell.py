"""bpfroots shell: a prompt in a guest."""

from __future__ import annotations

import subprocess
import sys

import click

from harness.cli.options import ACCEL
from harness.progress import Progress


@click.command()
@click.option(
    "--kernel", "kernel_name", default="baseline", show_default=True, metavar="K", help="As for run."
)
@click.option("--gdb", is_flag=True, help="Print the line that attaches gdb to the kernel.")
@click.argument("command", nargs=-1)
@ACCEL
def shell(kernel_name: str, gdb: bool, command: tuple[str, ...], accel: str) -> None:
    """A shell in a fresh guest over SSH, or COMMAND in it; the guest ends with it."""
    from harness import process
    from harness.jobs.guests import Guests
    from harness.jobs.kit import prepare
    from harness.machine import choose_accel

    kit = prepare([kernel_name], Progress())
    (kernel,) = kit.kernels
    console = process.temporary_directory() / "console.log"
    with Guests(kit, choose_accel(accel)).boot(kernel, console) as machine:
        click.echo(f"guest     {kernel.name} ({kernel.release}); its console: {console}", err=True)
        if gdb:
            symbols = kernel.vmlinux or "VMLINUX"
            click.echo(f"gdb       gdb {symbols} -ex 'target remote {machine.gdb_server()}'", err=True)
        sys.exit(subprocess.call([*machine.shell_command(terminal=not command), *command]))
