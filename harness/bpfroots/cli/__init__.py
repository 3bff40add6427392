"""The command line. Data goes to stdout, everything else to stderr; exit codes are docs/reference.md's."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator

import click

import bpfroots
from bpfroots import exitcodes, log
from bpfroots.cli import config, logs
from bpfroots.cli.options import echo
from bpfroots.errors import BpfrootsError, UserError

_log = logging.getLogger(__name__)

#: Where each command is, by the section of the help it stands in: "module:function".
_SECTIONS = {
    "Programs and cases": {
        "load": "cli.run:load",
        "ab": "ab.command:ab",
        "cases": "cli.run:list_cases",
        "run": "cli.run:run",
        "selftest": "selftest.command:selftest",
    },
    "Results": {
        "compare": "cli.results:compare",
        "report": "cli.results:write_report",
        "history": "history.command:history",
    },
    "Kernels and guests": {
        "kernel": "cli.kernel:kernel",
        "shell": "cli.shell:shell",
        "bisect": "bisect.command:bisect",
    },
    "Automation": {
        "nightly": "nightly.command:nightly",
        "worker": "cluster.command:worker",
        "bench": "bench.command:bench",
    },
    "This machine": {"doctor": "cli.host:doctor", "setup": "cli.host:setup", "man": "cli.man:man"},
}
_PLACES = {name: place for section in _SECTIONS.values() for name, place in section.items()}


class Commands(click.Group):
    """Commands that are imported when they are called, or when the help is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _PLACES:
            return None
        module, _, function = _PLACES[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"bpfroots.{module}"), function)
        logs.add_to(command, hidden=True)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _PLACES and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _PLACES, 1)
            hint = f"bpfroots {near[0]}" if near else "bpfroots --help"
            msg = f"no such command {args[0]!r}"
            raise UserError(msg, hint=hint)
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and (table := config.read().get(name)):
            ctx.default_map = {name: config.defaults(command, table, name, ctx)}
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in _SECTIONS.items():
            rows = [(name, self._short_help(ctx, name)) for name in names]
            with formatter.section(section):
                formatter.write_dl(rows)

    def _short_help(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=70) if command else ""


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        echo(f"bpfroots, version {bpfroots.__version__}")
        ctx.exit()


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Boots kernels in VMs, loads BPF programs in them, and compares verdicts, verifier cost and JIT code.

    Start with your own program: bpfroots load mine.bpf.c --kernel baseline

    -v, -q and --log-file may also follow the command.
    """


logs.add_to(cli, hidden=False)


@contextlib.contextmanager
def _errors_as_text() -> Iterator[None]:
    """What went wrong in a line or two, and its exit code; BPFROOTS_DEBUG=1 has the traceback as well."""
    try:
        yield
    except BpfrootsError as error:
        _debug(error)
        echo(f"bpfroots: {error.render()}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort as aborted:
        # click makes one of EOFError, too, which nothing here means to raise.
        if isinstance(aborted.__cause__, EOFError):
            raise aborted.__cause__ from None
        _interrupted()
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.format_message(), err=True)  # the help, for a group without a command
        sys.exit(exitcodes.USAGE)
    except click.ClickException as error:
        echo(f"bpfroots: {_usage(error).render()}", err=True)
        sys.exit(exitcodes.USAGE)
    except KeyboardInterrupt:
        _interrupted()
    except BrokenPipeError:
        # The reader of our stdout has seen enough (head, less).
        sys.stdout = None
        sys.exit(exitcodes.PIPE)
    except OSError as error:
        _debug(error)
        echo(f"bpfroots: {error.filename or 'system'}: {error.strerror or error}", err=True)
        sys.exit(exitcodes.INFRA)
    except Exception as error:
        _log.debug("a fault that was not foreseen", exc_info=error)
        raise


def _usage(error: click.ClickException) -> UserError:
    """click's complaint in the form of all other errors."""
    message = error.format_message().removesuffix(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "bpfroots"
    return UserError(message[:1].lower() + message[1:], hint=f"{path} --help")


def _debug(error: Exception) -> None:
    _log.debug("ends with an error", exc_info=error)
    if os.environ.get("BPFROOTS_DEBUG"):
        echo(traceback.format_exc(), err=True)


def _interrupted() -> None:
    """What is kept of the work was said by whoever did it."""
    echo("bpfroots: interrupted", err=True)
    sys.exit(exitcodes.INTERRUPTED)


def _on_term(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of `bpfroots` and `python -m bpfroots`."""
    # A terminated run unwinds like an interrupted one: guests end, cells stay.
    signal.signal(signal.SIGTERM, _on_term)
    log.begin()
    with _errors_as_text():
        # The name is also that of the variable by which a shell asks for completions.
        cli.main(prog_name="bpfroots", standalone_mode=False)
