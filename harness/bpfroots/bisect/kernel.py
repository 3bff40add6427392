"""The kernel of the commit that is checked out, configured as every other of the bisection."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import Definition, source, spec
from bpfroots.kernels.git import git
from bpfroots.progress import Progress

# All kernels of a bisection have its configuration. The first build starts from its objects.
_MODEL = "baseline"
#: Fragments of it that only a predicate of the kernel tree's own tests needs.
_FOR_SELFTESTS = frozenset({"test_verifier"})


class Recipe(msgspec.Struct, frozen=True, omit_defaults=True):
    """How every commit is configured: as baseline, or by ``config``, a whole .config that is brought to each
    commit with olddefconfig. ``only_needed``: of baseline's fragments those that the predicate needs.
    ``as_is``: for a test of the kernel's own tree, not what that tree asks for."""

    config: str = ""
    only_needed: bool = False
    as_is: bool = False

    @property
    def keeps(self) -> bool:
        """Whether the options are these and no others, whatever the tests of a tree ask for."""
        return self.as_is or bool(self.config)


def top(tree: Path) -> Path:
    """The top of the git work tree that ``tree`` is in. Raises UserError."""
    answer = git(tree, "rev-parse", "--show-toplevel") if tree.is_dir() else None
    if answer is None or answer.returncode != 0:
        msg = f"{tree}: no git work tree"
        raise UserError(msg, hint="--linux TREE names the kernel's")
    return Path(answer.stdout.decode().strip())


def fragments(recipe: Recipe, selftest: bool) -> tuple[Path, ...]:
    """What the configuration is made of. Raises UserError for a file that is not there."""
    if recipe.config:
        path = Path(recipe.config)
        if not path.is_file():
            msg = f"--config {path}: no such file"
            raise UserError(msg, hint="a whole .config of some kernel")
        if recipe.only_needed:
            msg = "--config-only-needed leaves out fragments of baseline, which --config does not use"
            raise UserError(msg)
        return (path,)
    dropped = _FOR_SELFTESTS if recipe.only_needed and not selftest else frozenset()
    return tuple(path for path in spec.load(_MODEL).config if path.stem not in dropped)


def definition(tree: Path, config: tuple[Path, ...]) -> Definition:
    """The kernel of what is checked out in ``tree``, named for its commit. Raises UserError."""
    model = spec.load(_MODEL)
    answer = git(tree, "rev-parse", "--verify", "--short=12", "HEAD")
    if answer.returncode != 0:
        msg = f"{tree}: no commit is checked out"
        raise UserError(msg)
    return Definition(
        name=answer.stdout.decode().strip(),
        source=spec.Checkout(str(tree)),
        config=config,
        base=_MODEL,
        cmdline=model.cmdline,
        shape=model.shape,
    )


def locate(wanted: Definition, progress: Progress) -> None:
    """Raises UserError where the tree is why it cannot be built, and no commit of it could be."""
    try:
        source.locate(wanted, progress)
    except KernelError as error:
        raise UserError(error.message, detail=error.detail, hint=error.hint) from None
