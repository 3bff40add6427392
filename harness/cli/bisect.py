"""bpfroots bisect ...: which commit, or which patch, changed that?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.cli.options import ACCEL
from harness.progress import Progress

_PATH = click.Path(path_type=Path)
_QUESTION = (
    click.option("--case", metavar="CASE", default="", help="A case, as `bpfroots cases` names it."),
    click.option("--object", "object_", metavar="OBJ", help="Your own .bpf.o or .bpf.c."),
    click.option(
        "--selftest", metavar="NAME", default="", help="A test of the tree's test_verifier, by name."
    ),
    click.option("--mechanism", default="duplicate", show_default=True, metavar="M"),
    click.option("--lib", "library", metavar="OBJ", help="With fd_name: what is loaded before, and called."),
    click.option(
        "--expect",
        multiple=True,
        metavar="E",
        help="What a good kernel does: pass, accept, reject, clean, 'message~REGEX', 'processed_insns<=1000',"
        " 'jit_bytes<=300', 'jit==HASH', 'cost<=50', ...; repeatable, all have to hold.",
    ),
    click.option(
        "--config", metavar="FILE", default="", help="A whole .config, instead of baseline's options."
    ),
    click.option("--config-only-needed", "only_needed", is_flag=True, help="No options for other questions."),
    ACCEL,
)


def _with_question(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_QUESTION):
        command = option(command)
    return command


@click.group()
def bisect() -> None:
    """Which commit, or which patch, changed a verdict, a message, a figure or a result?"""


@bisect.command("step")
@_with_question
@click.option(
    "--linux", "tree", type=_PATH, default=Path(), metavar="TREE", help="The work tree.  [default: .]"
)
@click.option("--kernel", metavar="K", help="Ask this kernel instead of building what is checked out.")
@click.option(
    "--runs", "count", type=click.IntRange(1), default=1, show_default=True, help="Bad if one fails."
)
def bisect_step(tree: Path, kernel: str | None, count: int, accel: str, **question: Any) -> None:
    """Is what is checked out good (0), bad (1), or not to be told (125)? For `git bisect run`.

    Everything else is 129 or more, where git stops: it is nobody's verdict.
    """
    from harness.jobs.bisect import step as job
    from harness.start import Verdict

    asked, recipe = _asked(**question)
    found = job.step(
        asked,
        tree=tree,
        recipe=recipe,
        kernel=kernel,
        count=count,
        accel=accel,
        command=["bpfroots", *sys.argv[1:]],
        progress=Progress(),
    )
    click.echo(f"{found.word}  {found.kernel}  {found.why}")
    raise Verdict(found.exit_code)


def _asked(
    object_: str | None, library: str | None, config: str, only_needed: bool, **words: Any
) -> tuple[Any, Any]:
    """The question and the recipe behind the options, with absolute paths."""
    from harness.jobs.bisect.kernel import Recipe
    from harness.jobs.bisect.question import Asked

    asked = Asked(object=_absolute(object_), library=_absolute(library), **words)
    return asked, Recipe(_absolute(config), only_needed)


def _absolute(name: str | None) -> str:
    return str(Path(name).expanduser().absolute()) if name else ""
