"""Options that a user always gives: a TOML file with a table for each command.

    [load]
    kernel = ["baseline", "patched"]

    [kernel.check-series]
    build = true

What the command line says comes first. The file is ``$BPFROOTS_CONFIG``, else ``bpfroots/config.toml`` in
``$XDG_CONFIG_HOME`` or ``~/.config``.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

import click

from bpfroots.errors import UserError


def path() -> Path:
    """Where the file is, or would be."""
    if given := os.environ.get("BPFROOTS_CONFIG"):
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "bpfroots" / "config.toml"


def read() -> dict[str, Any]:
    """Its tables; none where there is no file. Raises UserError for one that cannot be read."""
    place = path()
    try:
        return tomllib.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{place}: {error}"
    except OSError as error:
        msg = f"{place}: cannot be read: {error.strerror}"
    raise UserError(msg, hint="correct it, or set BPFROOTS_CONFIG to another file")


def defaults(command: click.Command, table: Any, where: str, ctx: click.Context) -> dict[str, Any]:
    """A command's table as click takes it: by the names of parameters. ``where`` is the table's name.

    Raises UserError for an option that the command does not have, or a value that it does not take.
    """
    if not isinstance(table, dict):
        msg = f"{path()}: {where} is not a table"
        raise UserError(msg, hint=f"write [{where}] above the options of bpfroots {where.replace('.', ' ')}")
    if isinstance(command, click.Group):
        known = {name: command.get_command(ctx, name) for name in command.list_commands(ctx)}
        return {
            name: defaults(found, value, f"{where}.{name}", ctx)
            for name, value in table.items()
            if (found := known.get(_known(name, known, where)))
        }
    options = {_long(option): option for option in command.params if isinstance(option, click.Option)}
    taken = {}
    for name, value in table.items():
        option = options[_known(name, options, where)]
        taken[str(option.name)] = _checked(option, value, f"{where}: {name}", ctx)
    return taken


def _long(option: click.Option) -> str:
    """--kernel → kernel, -k → k."""
    return max(option.opts, key=len).lstrip("-")


def _known(name: str, names: Any, where: str) -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 1)
    msg = f"{path()}: [{where}] {name}: there is no such option"
    raise UserError(msg, hint=f"{near[0]}?" if near else f"bpfroots {where.replace('.', ' ')} --help")


def _checked(option: click.Option, value: Any, where: str, ctx: click.Context) -> Any:
    """``value``, once click takes it."""
    if option.multiple and not isinstance(value, list):
        value = [value]
    try:
        option.type_cast_value(ctx, value)
    except click.BadParameter as error:
        msg = f"{path()}: {where} = {value!r}: {error.message}"
        raise UserError(msg) from None
    return value
