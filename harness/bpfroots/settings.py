"""Where things are: the project, what comes with the package, caches, results."""

from __future__ import annotations

import functools
import os
import pwd
from pathlib import Path

from bpfroots.errors import InfraError, UserError

_CACHE_HINT = "set XDG_CACHE_HOME to a directory that you can write to, by its absolute path"


def _is_root(path: Path) -> bool:
    return (path / "kernels").is_dir() and (path / "testcases").is_dir()


@functools.cache
def project() -> Path | None:
    """The project that a command works in: ``$BPFROOTS_ROOT``, else the nearest parent of the working
    directory with ``kernels/`` and ``testcases/``, else the checkout this package is installed from.

    None where there is neither. Raises UserError for a BPFROOTS_ROOT that is no project.
    """
    given = os.environ.get("BPFROOTS_ROOT")
    if given:
        root = Path(given).resolve()
        if not _is_root(root):
            msg = f"BPFROOTS_ROOT={given}: no kernels/ and testcases/ there"
            raise UserError(msg, hint="point it at a bpfroots project, or unset it")
        return root
    here = Path.cwd().resolve()
    return next((path for path in (here, *here.parents) if _is_root(path)), _CHECKOUT)


_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent if _is_root(_PACKAGE.parent.parent) else None
# What the wheel has of kernels/, images/ and testcases/.
_SHIPPED = _PACKAGE / "shipped"


def bases() -> list[Path]:
    """Where ``kernels/``, ``images/`` and ``testcases/`` are looked for: the project's come first, then those
    that come with the package."""
    own = project()
    shipped = _SHIPPED if _SHIPPED.is_dir() else _CHECKOUT
    return list(dict.fromkeys(base for base in (own, shipped) if base))


def resource(relative: str) -> Path:
    """A file or directory such as ``images/init``: the project's own, else the one that comes with the
    package. Where neither has it, the path at which it should be."""
    places = [base / relative for base in bases()]
    return next((path for path in places if path.exists()), (places or [_SHIPPED / relative])[0])


def resources(folder: str, pattern: str) -> list[Path]:
    """Files of a folder such as ``kernels``, by name: of two with one name the project's."""
    found: dict[str, Path] = {}
    for base in bases():
        for path in (base / folder).glob(pattern):
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def shown(path: Path) -> str:
    """A path below one of the `bases` as people know it: kernels/baseline.toml."""
    base = next((base for base in bases() if path.is_relative_to(base)), None)
    return str(path.relative_to(base)) if base else str(path)


def anchored(path: str) -> str:
    """What a relative path in a configuration file means: it starts at the project, else where we are."""
    return str((project() or Path.cwd()) / Path(path).expanduser())


def results_root() -> Path:
    """Run folders and the history: ``results/`` of the project, else ``$XDG_STATE_HOME/bpfroots/results``."""
    if own := project():
        return own / "results"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "bpfroots" / "results"


def cache_root() -> Path:
    """``$XDG_CACHE_HOME/bpfroots``, else ``~/.cache/bpfroots``, created 0700. Kernels, images and keys live
    here.

    Raises UserError where the variable's value is no place, InfraError where it cannot be created; both
    name the variable.
    """
    shown, base = _cache_home()
    if not base.is_absolute():
        msg = f"{shown}: not an absolute path"
        raise UserError(msg, hint=_CACHE_HINT)
    root = base / "bpfroots"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        msg = f"{shown}: {root} cannot be created: {error.strerror}"
        raise InfraError(msg, hint=_CACHE_HINT) from None
    return root


def _cache_home() -> tuple[str, Path]:
    """What decides where caches are, as a user would write it, and the directory that follows from it."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return f"XDG_CACHE_HOME={given}", Path(given)
    if home := os.environ.get("HOME"):
        return f"HOME={home}", Path(home) / ".cache"
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        msg = f"HOME is not set, and user {os.getuid()} has no home directory"
        raise UserError(msg, hint=_CACHE_HINT) from None
    return f"home directory {home} (HOME is not set)", Path(home) / ".cache"


def jobs() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))
