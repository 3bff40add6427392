"""bpfroots kernel ...: definitions, builds, series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from bpfroots.cli.options import ACCEL, JSON, builtin, echo, print_json
from bpfroots.errors import BpfrootsError, UserError
from bpfroots.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfroots.kernels import Definition
    from bpfroots.kernels.check import Checked
    from bpfroots.kernels.rebase import Rebased


@click.group()
def kernel() -> None:
    """Kernels: what is defined, what is built, and their series."""


@kernel.command("list")
@JSON
def kernel_list(as_json: bool) -> None:
    """List the definitions in kernels/, and what is built.

    A definition that cannot be read is listed with its error, and the exit code is 2.
    """
    from bpfroots import kernels

    found = kernels.definitions()
    listed = [_listed(name, definition) for name, definition in found.items()]
    if as_json:
        print_json(listed)
    else:
        width = max(len(name) for name in found)
        for entry in listed:
            echo(f"{entry['name']:{width}}  {_remark(entry)}")
    if any(isinstance(definition, UserError) for definition in found.values()):
        sys.exit(UserError.exit_code)


def _listed(name: str, definition: Definition | UserError) -> dict[str, Any]:
    """``built``: None where its source cannot be used here; then ``error`` says why."""
    from bpfroots import kernels

    if isinstance(definition, UserError):
        return {"name": name, "error": definition.message}
    entry = {"name": name, "base": definition.base, "provides": list(definition.provides)}
    try:
        return {**entry, "built": kernels.is_built(definition)}
    except BpfrootsError as error:
        return {**entry, "built": None, "error": error.message}


def _remark(entry: dict[str, Any]) -> str:
    if not entry.get("built") and "error" in entry:
        return f"cannot be used: {entry['error']}"
    base = f"  (on {entry['base']})" if entry["base"] else ""
    return f"{'built' if entry['built'] else 'not built'}{base}"


@kernel.command("show")
@click.argument("kernel_name", metavar="K")
@JSON
def kernel_show(kernel_name: str, as_json: bool) -> None:
    """Show how K is, or would be, built."""
    from bpfroots import kernels

    request = kernels.resolve(kernel_name)
    facts = {**builtin(request), "built": kernels.is_built(request)}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if (text := _text(value)) != "":
            echo(f"{key:12}{text}")


def _text(value: Any) -> str:
    """A fact for a person: no brackets, empty where there is nothing to say."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(fact)}" for name, fact in value.items() if _text(fact))
    if isinstance(value, list | tuple):
        return f"\n{'':12}".join(map(_text, value))
    return "" if value is None else str(value)


@kernel.command("build")
@click.argument("kernel_name", metavar="K")
@click.option("--force", is_flag=True, help="Build although the cache has it.")
@JSON
def kernel_build(kernel_name: str, force: bool, as_json: bool) -> None:
    """Build K, or take it from the cache."""
    from bpfroots import kernels
    from bpfroots.jobs.run import describe

    progress = Progress()
    try:
        built = kernels.ensure(kernels.resolve(kernel_name), progress, force=force)
    except KeyboardInterrupt:
        progress.say("kept      what is compiled; the same command continues from there")
        raise
    if as_json:
        print_json({**builtin(describe(built)), "bzimage": str(built.image.path)})
    else:
        echo(f"{built.name}  {built.release}  {built.image.path}")


@kernel.command("check-series")
@click.argument("kernel_name", metavar="K")
@click.option("--build", is_flag=True, help="Build and boot the kernel after every patch; takes an hour.")
@ACCEL
@JSON
def kernel_check_series(kernel_name: str, build: bool, accel: str, as_json: bool) -> None:
    """Check each patch of K's series, by itself.

    Each has to apply without fuzz and to pass checkpatch --strict. With --build each also has to build,
    without new warnings of gcc (W=1) in the files that it touches, and the kernel then has to boot.
    """
    from bpfroots.jobs import check_series
    from bpfroots.kernels import check

    definition = _definition(kernel_name)
    checking: Iterable[Checked]
    if build:
        checking = check_series.check_series(definition, accel, Progress())
    else:
        checking = check.check(definition, Progress())
    checked = []
    for found in checking:
        checked.append(found)
        if not as_json:
            _say_checked(found)
    if as_json:
        print_json([{"patch": c.patch, "ok": c.ok, **msgspec.to_builtins(c)} for c in checked])
    sys.exit(0 if all(found.ok for found in checked) else 3)


def _say_checked(found: Checked) -> None:
    seconds = f"  builds, boots in {found.boot_seconds:.1f} s" if found.boot_seconds else ""
    echo(f"{'ok   ' if found.ok else 'not ok'} {found.patch}{seconds}")
    for line in [*found.complaints.splitlines(), *found.broken.splitlines(), *found.warnings]:
        echo(f"       {line}")


@kernel.command("rebase-series")
@click.argument("kernel_name", metavar="K")
@click.option("--tree", type=click.Path(path_type=Path), help="Where to work.  [default: in the cache]")
@click.option("--series", "series_name", metavar="NAME", help="Which one, where K has several.")
@click.option("--finish", is_flag=True, help="Write the commits there as K's series.")
@JSON
def kernel_rebase_series(
    kernel_name: str, tree: Path | None, series_name: str | None, finish: bool, as_json: bool
) -> None:
    """Make K's series commits on its source, in a git tree.

    Conflicts can be resolved there. Each patch becomes a commit, by git am or by GNU patch with fuzz. Where
    one does not apply the tree is left in the middle of git am.
    """
    from bpfroots.kernels import rebase
    from bpfroots.settings import cache_root

    definition = _definition(kernel_name)
    where = (tree or cache_root() / "rebase" / kernel_name / (series_name or "")).absolute()
    options = (f" --tree {tree}" if tree else "") + (f" --series {series_name}" if series_name else "")
    again = f"bpfroots kernel rebase-series {kernel_name}{options} --finish"
    if finish:
        written = rebase.finish(definition, where, series_name)
        if as_json:
            print_json({"tree": str(where), "written": [path.name for path in written]})
        else:
            echo(f"{len(written)} files written to {written[0].parent}")
        return
    done = rebase.start(definition, where, Progress(), series_name)
    if as_json:
        print_json(msgspec.to_builtins(done))
    else:
        _print_rebased(done, again)
    sys.exit(3 if done.conflict else 0)


def _print_rebased(done: Rebased, again: str) -> None:
    echo(f"{done.applied} of {done.patches} patches are commits in {done.tree}")
    for patch, words in done.fuzzy.items():
        echo(f"  with fuzz, look at it: {patch}: {words}")
    if done.conflict:
        echo(f"  does not apply: {done.conflict}")
        for reject in done.rejects:
            echo(f"    see {reject}")
        echo(f"  resolve the conflict, git add, git -C {done.tree} am --continue; at the end: {again}")
    else:
        echo(f"  to write them into the series: {again}")


def _definition(name: str) -> Definition:
    from bpfroots import kernels

    request = kernels.resolve(name)
    if not isinstance(request, kernels.Definition):
        msg = f"{name} is built already; only a definition has a series"
        raise UserError(msg, hint="bpfroots kernel list")
    return request
