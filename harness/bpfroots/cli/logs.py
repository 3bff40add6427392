"""The options of every command that say how much is printed of what happens inside."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from bpfroots import log
from bpfroots.errors import UserError

_VERBOSITY = f"{__name__}.verbosity"
_QUIET = f"{__name__}.quiet"


def _verbose(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if value:
        from bpfroots.progress import print_log

        # -v before the command and -v after it are -vv.
        total = ctx.meta[_VERBOSITY] = ctx.meta.get(_VERBOSITY, 0) + value
        _refuse_both(ctx)
        print_log(logging.INFO if total == 1 else logging.DEBUG)


def _be_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from bpfroots.progress import be_quiet

        ctx.meta[_QUIET] = True
        _refuse_both(ctx)
        be_quiet()


def _refuse_both(ctx: click.Context) -> None:
    if ctx.meta.get(_QUIET) and ctx.meta.get(_VERBOSITY):
        msg = "-q prints less and -v prints more"
        raise UserError(msg, hint="one of the two; --log-file has everything in any case")


def _log_file(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    try:
        log.to_file(Path(value))
    except OSError as error:
        msg = f"--log-file {value}: cannot be written: {error.strerror}"
        raise UserError(msg) from None


def _options(*, hidden: bool) -> list[click.Parameter]:
    common: dict[str, Any] = {"expose_value": False, "hidden": hidden}
    return [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            callback=_verbose,
            help="Print what is built and booted; -vv: each command, event and cache entry as well.",
            **common,
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            callback=_be_quiet,
            help="Print results and errors, and no progress.",
            **common,
        ),
        click.Option(
            ["--log-file"],
            metavar="FILE",
            type=click.Path(dir_okay=False),
            callback=_log_file,
            help="Append to FILE all that -vv prints.",
            **common,
        ),
    ]


def add_to(command: click.Command, *, hidden: bool) -> None:
    """Let ``command`` take them, or each command of a group; ``hidden``: its help does not list them."""
    if isinstance(command, click.Group) and hidden:
        for one in command.commands.values():
            add_to(one, hidden=hidden)
    elif all(param.callback is not _verbose for param in command.params):
        command.params += _options(hidden=hidden)
