"""Options and output that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from bpfroots.cli import complete
from bpfroots.errors import UserError
from bpfroots.escape import visible
from bpfroots.programs.protocol import MECHANISMS

JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
ACCEL = click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="auto uses KVM only where it really runs a guest.",
)
KERNEL = click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="K",
    shell_complete=complete.kernels,
    help="A name in kernels/, a source tree, a build directory, a bzImage, TREE@REV, or debian:PACKAGE. "
    "Repeatable.  [default: baseline]",
)
MECHANISM = click.option(
    "--mechanism",
    "mechanisms",
    multiple=True,
    type=click.Choice(MECHANISMS),
    help="Repeatable.  [default: all]",
)
JOBS = click.option(
    "-j",
    "guests",
    type=click.IntRange(1),
    metavar="N",
    help="Guests at once.  [default: as many as cores and memory allow]",
)
INCLUDE = click.option(
    "-I",
    "include",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where .bpf.c files find headers, beside their own directory. Repeatable.",
)
KEEP_GUEST = click.option("--keep-guest", is_flag=True, help="At the end, keep the guest for you to log in.")
SCHEDULER = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Run cells on the workers of a Dask scheduler: tcp://HOST:8786, tls://HOST:8786.",
)
FULL = click.option("--full", is_flag=True, help="Every combination of testcases/matrix.toml: use -k.")


def refuse_more(command: str, name: str, options: Iterable[str]) -> None:
    """With --resume NAME these have no meaning. Raises UserError for one that is given."""
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    names = {param.name: max(param.opts, key=len) for param in context.command.params}
    if more := [names.get(key, key) for key in options if context.get_parameter_source(key) is given]:
        msg = f"--resume takes its options from the original run; drop {', '.join(more)}"
        raise UserError(msg, hint=f"bpfroots {command} --resume {name}")


def global_values(texts: Iterable[str]) -> dict[str, str]:
    """What -G NAME=VALUE gives. Raises UserError."""
    values = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals or not value:
            msg = f"-G {text}: not NAME=VALUE"
            raise UserError(msg, hint="-G sampling_rate=100")
        values[name] = value
    return values


def directories(names: Iterable[str]) -> tuple[str, ...]:
    """What -I gives, as absolute paths."""
    from bpfroots.jobs.objects import absolute

    return tuple(str(absolute(Path(name))) for name in names)


def echo(text: str, *, err: bool = False) -> None:
    """Lines for a person; whatever is in them is `visible`."""
    click.echo(visible(text), err=err)


def print_json(data: Any) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(data) + b"\n")


def builtin(struct: Any) -> dict[str, Any]:
    import msgspec

    result: dict[str, Any] = msgspec.to_builtins(struct, enc_hook=str)
    return result


def print_comparison(cells: Any, *, everything: bool = False) -> None:
    from bpfroots.analysis.compare import compare as comparison
    from bpfroots.report import terminal

    compared, out = comparison(cells), terminal.console()
    if len(compared.rows) <= terminal.MOST_ROWS or everything:
        terminal.print_table(compared, out)
    else:
        out.print(f"\n  {len(compared.rows):,} cells, one by one: the report, or bpfroots compare --all")
    terminal.print_headline(compared, out)
