"""One step of a bisection that another program drives: good, bad, or not to be told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from bpfroots import exitcodes, kernels
from bpfroots.bisect import kernel as building
from bpfroots.bisect.predicate import PredicateOptions, PredicateRunner, runs, understand
from bpfroots.errors import KernelError, UserError
from bpfroots.jobs.kit import prepare
from bpfroots.jobs.run import describe, open_store
from bpfroots.kernels import Kernel
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress


class BisectStep(NamedTuple):
    """``skip``: this commit cannot answer the predicate."""

    word: Literal["good", "bad", "skip"]
    kernel: str
    why: str

    @property
    def exit_code(self) -> int:
        """As git bisect run has them."""
        return {"good": exitcodes.GOOD, "bad": exitcodes.BAD, "skip": exitcodes.SKIP}[self.word]


def step(
    asked: PredicateOptions,
    *,
    tree: Path,
    recipe: building.Recipe,
    kernel: str | None,
    count: int,
    accel: str,
    command: Sequence[str],
    progress: Progress,
) -> BisectStep:
    """Build what is checked out in ``tree`` (or take ``kernel``, as ``--kernel`` has it) and ask it.

    It is bad where one of ``count`` runs fails. Raises what is no verdict: UserError, InfraError, and
    KernelError of kernels other than this one.
    """
    predicate = understand(asked)
    if predicate.is_relative:
        msg = "--expect: a single step has no good end to compare with"
        raise UserError(msg, hint="bisect run does; or give the number or hash")
    chosen = choose_accel(accel)
    request = (
        kernels.resolve(kernel) if kernel else _checked_out(tree, recipe, bool(asked.selftest), progress)
    )
    try:
        kit = prepare([], progress)
    except KernelError as error:  # baseline's or patched's, whose programs and tools are used
        raise UserError(error.message, detail=error.detail, hint=error.hint) from None
    store = open_store(kit, chosen, "bisect-step", list(command))
    asker = PredicateRunner(predicate, kit, store, chosen, progress, as_is=recipe.keeps)
    try:
        wanted = asker.configured(request)
        built = kernels.ensure(wanted, progress)
        store.run.kernels = [describe(built)]
        asker.prepare(wanted)
        return _ask(asker, built, count)
    except KernelError as error:
        return BisectStep("skip", request.name, error.message)
    finally:
        store.finish()


def _checked_out(
    tree: Path, recipe: building.Recipe, selftest: bool, progress: Progress
) -> kernels.Definition:
    wanted = building.definition(building.top(tree), building.fragments(recipe, selftest))
    building.locate(wanted, progress)
    return wanted


def _ask(asker: PredicateRunner, built: Kernel, count: int) -> BisectStep:
    try:
        for judged in runs(asker, built, count):
            if judged.word == "bad":
                return BisectStep("bad", built.name, judged.text)
            if judged.word == "other":
                return BisectStep("skip", built.name, judged.text)
    except KernelError as error:
        return BisectStep("skip", built.name, error.message)
    return BisectStep("good", built.name, f"{count} run{'s' if count > 1 else ''}")
