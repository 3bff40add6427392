"""The command line. Data goes to stdout, everything else to stderr; exit codes are docs/reference.md's."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator

import click

from bpfroots import __version__, exitcodes
from bpfroots.bench import command as bench
from bpfroots.bisect import command as bisect
from bpfroots.cli import host, kernel, results, run, shell
from bpfroots.cli.options import echo
from bpfroots.cluster import command as cluster
from bpfroots.errors import BpfrootsError
from bpfroots.history import command as history
from bpfroots.nightly import command as nightly
from bpfroots.selftest import command as selftest


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bpfroots")
def cli() -> None:
    """Boots kernels in VMs and compares how BPF programs share code."""


for _command in (
    host.doctor,
    host.setup,
    kernel.kernel,
    run.list_cases,
    run.run,
    run.load,
    shell.shell,
    selftest.selftest,
    bench.bench,
    bisect.bisect,
    results.compare,
    results.write_report,
    history.history,
    nightly.nightly,
    cluster.worker,
):
    cli.add_command(_command)


@contextlib.contextmanager
def _errors_as_text() -> Iterator[None]:
    """What went wrong in a line or two, and its exit code; BPFROOTS_DEBUG=1 has the traceback as well."""
    try:
        yield
    except BpfrootsError as error:
        _debug()
        echo(f"bpfroots: {error.render()}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort as aborted:
        # click makes one of EOFError, too, which nothing here means to raise.
        if isinstance(aborted.__cause__, EOFError):
            raise aborted.__cause__ from None
        _interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _interrupted()
    except BrokenPipeError:
        # The reader of our stdout has seen enough (head, less).
        sys.stdout = None
        sys.exit(exitcodes.PIPE)
    except OSError as error:
        _debug()
        echo(f"bpfroots: {error.filename or 'system'}: {error.strerror or error}", err=True)
        sys.exit(exitcodes.INFRA)


def _debug() -> None:
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
    with _errors_as_text():
        # The name is also that of the variable by which a shell asks for completions.
        cli.main(prog_name="bpfroots", standalone_mode=False)
