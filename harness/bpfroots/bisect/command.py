"""bpfroots bisect ...: which commit, or which patch, changed that?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bpfroots.cli.options import ACCEL, JSON, echo, print_json, refuse_more
from bpfroots.programs.protocol import MECHANISMS
from bpfroots.progress import Progress

_PATH = click.Path(path_type=Path)
_QUESTION = (
    click.option("--case", metavar="CASE", default="", help="A case, as `bpfroots cases` names it."),
    click.option("--object", "object_", metavar="OBJ", help="Your own .bpf.o or .bpf.c."),
    click.option(
        "--selftest",
        metavar="PROGRAM:TEST",
        default="",
        help="A test of the kernel's tree: test_progs:TEST[/SUBTEST] or test_maps:TEST, built with the tree"
        " of each commit, or test_verifier:TEST.",
    ),
    click.option(
        "--mechanism",
        type=click.Choice(MECHANISMS),
        default="duplicate",
        show_default=True,
        help="How the programs share code.",
    ),
    click.option("--lib", "library", metavar="OBJ", help="With fd_name: what is loaded before, and called."),
    click.option(
        "--expect",
        multiple=True,
        metavar="E",
        help="What a good kernel does: pass, accept, reject, clean, 'message~REGEX', 'processed_insns<=1000',"
        " 'jit_bytes<=300', 'jit==HASH', 'cost<=50', ...; repeatable, all have to hold.",
    ),
    click.option(
        "--config", metavar="FILE", default="", help="A whole .config.  [default: baseline's options]"
    ),
    click.option(
        "--config-only-needed", "only_needed", is_flag=True, help="No options that only other checks need."
    ),
    click.option(
        "--tests-from",
        metavar="K",
        default="",
        help="With test_progs and test_maps: the tests of this kernel's tree for all commits.",
    ),
    click.option(
        "--as-is",
        is_flag=True,
        help="With test_progs and test_maps: baseline's options, without those that the tests ask for.",
    ),
    ACCEL,
)


def _with_predicate(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_QUESTION):
        command = option(command)
    return command


@click.group()
def bisect() -> None:
    """Find the commit, or the patch, that changed a result."""


@bisect.command("step")
@_with_predicate
@click.option(
    "--linux", "tree", type=_PATH, default=Path(), metavar="TREE", help="The work tree.  [default: .]"
)
@click.option("--kernel", metavar="K", help="Ask this kernel instead of building what is checked out.")
@click.option(
    "--runs",
    "count",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="How often it is run: bad if one run fails.",
)
def bisect_step(tree: Path, kernel: str | None, count: int, accel: str, **predicate: Any) -> None:
    """Judge the commit that is checked out, for `git bisect run`.

    The exit code is 0 for good, 1 for bad and 125 for skip. Everything else ends with 129 or more, where git
    stops: it is no verdict.
    """
    from bpfroots.bisect import step as job
    from bpfroots.exitcodes import StepVerdict

    asked, recipe = _asked(**predicate)
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
    echo(f"{found.word}  {found.kernel}  {found.why}")
    raise StepVerdict(found.exit_code)


@bisect.command("run")
@_with_predicate
@click.option(
    "--linux", default="", metavar="TREE", help="A git tree of the kernel; its checkout is left alone."
)
@click.option("--good", default="", metavar="REV", help="A commit that is good.")
@click.option("--bad", default="", metavar="REV", help="A later one that is bad.")
@click.option(
    "--series",
    default="",
    metavar="NAME|PATH",
    help="Which patch of a series: one of kernels/patches, or a directory, a mailbox or a patch; on top of"
    " --good of --linux, without that on baseline's source.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 0.9999),
    metavar="P",
    default=0.99,
    show_default=True,
    help="Probability that the answer is right.",
)
@click.option(
    "--most-runs",
    "most",
    type=click.IntRange(1),
    metavar="N",
    default=100,
    show_default=True,
    help="Runs of one kernel at most.",
)
@click.option("--resume", metavar="RUN", help="Continue a bisection that was interrupted.")
@JSON
def bisect_run(
    linux: str,
    good: str,
    bad: str,
    series: str,
    confidence: float,
    most: int,
    resume: str | None,
    accel: str,
    as_json: bool,
    **predicate: Any,
) -> None:
    """Find the first commit, or patch of a series, that is not good.

    Works in a work tree of its own. Both ends are tested first. In --expect `good` stands for what the good
    end gives: 'jit==good', 'processed_insns<=good'. A kernel that fails only sometimes is run as often as the
    confidence asks for.
    """
    from bpfroots.bisect import page as report
    from bpfroots.bisect import run as job
    from bpfroots.bisect import trees
    from bpfroots.report import terminal
    from bpfroots.results.store import RunStore, find_run

    store = None
    if resume:
        others = [key for key in click.get_current_context().params if key not in ("resume", "as_json")]
        refuse_more("bisect run", resume, others)
        store = RunStore.open(find_run(resume))
        options = job.load_options(store)
    else:
        asked, recipe = _asked(**predicate)
        series = trees.absolute(series, linux=bool(linux)) if series else ""
        options = job.BisectOptions(
            asked, trees.Wanted(_absolute(linux), good, bad, series), recipe, accel, confidence, most
        )
    command = ["bpfroots", *sys.argv[1:]]
    result = job.run(options, command=command, progress=Progress(), resume=store)
    if as_json:
        print_json(result.bisection)
        return
    report.print_bisection(result.bisection, terminal.console())
    echo(f"report  {result.page}")
    echo(f"mail    {result.mail}")
    echo(f"replay  git bisect replay {result.log}")


def _asked(
    object_: str | None,
    library: str | None,
    config: str,
    only_needed: bool,
    as_is: bool,
    tests_from: str,
    **words: Any,
) -> tuple[Any, Any]:
    """The predicate and the recipe behind the options, with absolute paths."""
    from bpfroots.bisect.kernel import Recipe
    from bpfroots.bisect.predicate import PredicateOptions

    asked = PredicateOptions(
        object=_absolute(object_), library=_absolute(library), tests_from=_absolute_tree(tests_from), **words
    )
    return asked, Recipe(_absolute(config), only_needed, as_is)


def _absolute_tree(kernel: str) -> str:
    """What ``--kernel`` takes; a tree, with or without a revision, from wherever it is resumed."""
    tree, at, revision = kernel.partition("@")
    return f"{_absolute(tree)}{at}{revision}" if "/" in tree or Path(tree).is_dir() else kernel


def _absolute(name: str | None) -> str:
    return str(Path(name).expanduser().absolute()) if name else ""
