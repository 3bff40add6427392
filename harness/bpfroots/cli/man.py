"""Manual pages, made of the commands themselves.

click-man (0.6.0) does not serve: it does not see commands that are loaded when they are called, and a line of
help that begins with a full stop or a quotation mark is lost, because it escapes nothing for roff.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from bpfroots.cli.options import echo
from bpfroots.errors import InfraError

_STATUS = {
    "0": "Everything is as expected.",
    "1": "A cell is not as expected: wrong verdict or result, crash, hang, timeout.",
    "2": "Usage, or bad input.",
    "3": "The kernel does not apply, configure, build or boot.",
    "4": "Infrastructure: a missing tool, no accelerator, a lost guest.",
    "130": "Interrupted.",
}
_STEP_STATUS = {
    "0": "The commit is good.",
    "1": "The commit is bad.",
    "125": "The commit cannot be tested.",
    "129": "Usage. From here on git bisect run stops.",
    "130": "Interrupted.",
    "132": "Infrastructure.",
    "255": "A bug in bpfroots.",
}


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def man(directory: Path) -> None:
    """Write the manual pages to DIR, for man -l DIR/bpfroots.1.

    The installed package has them in share/man/man1.
    """
    import bpfroots

    root = click.get_current_context().find_root().command
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in pages(root, bpfroots.__version__).items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{directory}: cannot be written: {error.strerror}"
        raise InfraError(msg) from None
    echo(str(directory / "bpfroots.1"))


def pages(root: click.Command, version: str) -> dict[str, str]:
    """File name → page, of a command and all below it."""
    return {
        f"{_name(ctx)}.1": "\n".join(_page(ctx, version)) + "\n" for ctx in _contexts(root, "bpfroots", None)
    }


def _contexts(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    ctx = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield ctx
    for below in _commands(ctx).values():
        yield from _contexts(below, str(below.name), ctx)


def _commands(ctx: click.Context) -> dict[str, click.Command]:
    group = ctx.command
    if not isinstance(group, click.Group):
        return {}
    found = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    return {name: command for name, command in found.items() if command and not command.hidden}


def _name(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _page(ctx: click.Context, version: str) -> Iterator[str]:
    command, name = ctx.command, _name(ctx)
    short, _, long = (command.help or "").strip().partition("\n\n")
    yield f'.TH {_text(name.upper())} 1 "" "bpfroots {_text(version)}" "bpfroots manual"'
    yield from (".nh", ".ad l")  # words that are to be typed are neither cut nor spread
    yield from (".SH NAME", f"{_text(name)} \\- {_text(short.strip().rstrip('.'))}")
    usage = " ".join(command.collect_usage_pieces(ctx))
    yield from (".SH SYNOPSIS", f"\\fB{_text(ctx.command_path)}\\fR {_text(usage)}")
    if long:
        yield ".SH DESCRIPTION"
        yield from _paragraphs(long)
    yield ".SH OPTIONS"
    for param in command.get_params(ctx):
        if (record := param.get_help_record(ctx)) and isinstance(param, click.Option):
            yield from (".TP", f"\\fB{_text(record[0])}\\fR", _text(record[1]))
    commands = _commands(ctx)
    if commands:
        yield ".SH COMMANDS"
        for below in commands.values():
            yield from (".TP", f"\\fB{_text(below.name or '')}\\fR", _text(below.get_short_help_str(200)))
    yield ".SH EXIT STATUS"
    for code, meaning in (_STEP_STATUS if name == "bpfroots-bisect-step" else _STATUS).items():
        yield from (".TP", code, _text(meaning))
    yield ".SH SEE ALSO"
    others = [f"{name}-{below}" for below in commands] + ([_name(ctx.parent)] if ctx.parent else [])
    yield _text(", ".join(f"{other}(1)" for other in others))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """One line of roff that shows ``text``: no request, no escape, and a minus that can be pasted."""
    shown = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown
