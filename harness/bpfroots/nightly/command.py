"""bpfroots nightly: what a machine does every night."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from bpfroots.cli.options import JSON, echo, print_json
from bpfroots.errors import BpfrootsError
from bpfroots.progress import Progress


@click.command()
@click.argument("path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--resume", is_flag=True, help="Continue the last night, which was interrupted.")
@click.option(
    "--notify", "command", metavar="COMMAND", help="Gets the summary on stdin.  [default: the file's]"
)
@click.option(
    "--write-units",
    "units",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Only write systemd units that do this every night.",
)
@click.option(
    "--at",
    default="*-*-* 02:30",
    metavar="WHEN",
    show_default=True,
    help="With --write-units: systemd's OnCalendar.",
)
@JSON
def nightly(
    path: Path, resume: bool, command: str | None, units: Path | None, at: str, as_json: bool
) -> None:
    """Run a night: update, build, run, compare with the last good one.

    Records the night in the history, writes its reports and notifies.
    """
    from bpfroots.nightly import config as configs
    from bpfroots.nightly import night
    from bpfroots.nightly import page as report

    config = configs.load(path)
    if units:
        _write_units(units, config.name, path, at)
        return
    outcome = night.run(config, path, command=["bpfroots", *sys.argv[1:]], progress=Progress(), resume=resume)
    found = (outcome.trend, outcome.failures, outcome.cells)
    summary = report.summary(*found, outcome.store.path)
    (outcome.store.path / "summary.txt").write_text(summary)
    if as_json:
        print_json(_document(outcome))
    else:
        echo(summary.rstrip("\n"))
    code = outcome.exit_code
    words = shlex.split(command) if command else config.notify
    if words and (code or config.notify_when == "always"):
        code = max(code, _tell(words, report.subject(*found), summary))
    sys.exit(code)


def _write_units(directory: Path, name: str, path: Path, at: str) -> None:
    from bpfroots.nightly.units import write

    for unit in write(directory, name, path, at):
        echo(str(unit))
    user = " --user" if directory.resolve().is_relative_to(Path.home()) else ""
    echo(f"then: systemctl{user} enable --now bpfroots-{name}.timer", err=True)


def _tell(words: Any, subject: str, summary: str) -> int:
    """The exit code that is for it."""
    from bpfroots.nightly.notify import notify

    try:
        notify(words, subject, summary)
    except BpfrootsError as error:
        echo(f"bpfroots: {error.render()}", err=True)
        return error.exit_code
    return 0


def _document(outcome: Any) -> dict[str, Any]:
    from collections import Counter

    return {
        "run": outcome.store.run.run,
        "path": str(outcome.store.path),
        "exit_code": outcome.exit_code,
        "counts": Counter(cell.outcome for cell in outcome.cells),
        "trend": outcome.trend,
        "failures": outcome.failures,
    }
