"""Is a series fit to be sent? Each patch applies without fuzz and passes the source's own checkpatch.

harness/bpfroots/jobs/check_series.py continues where that ends: it builds and boots.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bpfroots import process
from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import build, series, source
from bpfroots.kernels.spec import Definition
from bpfroots.progress import Progress

#: Types of checkpatch's complaints that a series may ignore: "TYPE  # reason", one a line.
IGNORED = "checkpatch.ignore"
_TIMEOUT_S = 120.0
_TYPE = re.compile(r"^[A-Z][A-Z0-9_]*$")
_SUMMARY = re.compile(rb"total: \d+ errors?, \d+ warnings?(?:, \d+ checks?)?, \d+ lines checked")


@dataclass
class Checked:
    """One patch. ``complaints`` are checkpatch's, ``broken`` is why it does not build or boot, ``warnings``
    are new ones of gcc (W=1) in the files it touches: all empty where there is nothing to say.

    ``built`` and ``boot_seconds`` say how far it was tried.
    """

    patch: str
    complaints: str
    built: bool = False
    boot_seconds: float | None = None
    broken: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.complaints or self.broken or self.warnings)


def check(definition: Definition, progress: Progress) -> list[Checked]:
    """Check the series of a kernel, patch by patch: its own, not those of its base.

    Raises UserError for a kernel without a series, KernelError for the first patch that does not
    apply (git apply takes no fuzz) and for a source without checkpatch.
    """
    directories = own(definition)
    wanted = build.plan(definition, progress)
    _apply_exactly(wanted, progress)
    tree = build.source_tree(wanted, progress)
    script = tree / "scripts" / "checkpatch.pl"
    if not script.is_file():
        msg = f"{script}: not there"
        raise KernelError(msg, hint="the source is not a whole kernel tree")
    return [
        Checked(patch.name, _checkpatch(script, tree, patch, ignored))
        for directory in directories
        for ignored in [_ignored(directory / IGNORED)]
        for patch in series.read([directory]).patches
    ]


def own(definition: Definition) -> Sequence[Path]:
    """The series that a kernel adds to those of its base. Raises UserError for a kernel that adds none."""
    if not definition.own:
        msg = f"kernel {definition.name} has no series"
        raise UserError(msg, hint="give it one: series = NAME in its definition")
    return definition.series[-definition.own :]


def _apply_exactly(wanted: build.Plan, progress: Progress) -> None:
    """A tree may have been prepared with fuzz; a series that is sent may not need any."""
    assert wanted.patches is not None  # noqa: S101
    origin = source.unpacked(wanted.located, progress)
    with tempfile.TemporaryDirectory(dir=process.temporary_directory()) as work:
        series.apply(wanted.patches, origin, Path(work), wanted.located.what)


def _ignored(path: Path) -> list[str]:
    """The ignored types. Raises UserError for one without a reason."""
    if not path.is_file():
        return []
    types = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, _, reason = (part.strip() for part in line.partition("#"))
        if not name:
            continue
        if not _TYPE.match(name) or not reason:
            msg = f"{path}:{number}: not a line `TYPE  # reason`"
            raise UserError(msg, hint="checkpatch.pl --show-types names the types")
        types.append(name)
    return types


def _checkpatch(script: Path, tree: Path, patch: Path, ignored: list[str]) -> str:
    options = ["--strict", "--no-signoff", "--show-types", "--no-color"]
    if ignored:
        options.append(f"--ignore={','.join(ignored)}")
    done = process.run(["perl", script, *options, patch], cwd=tree, timeout=_TIMEOUT_S)
    if not _SUMMARY.search(done.stdout):
        msg = f"checkpatch said nothing about {patch.name}: {done.stderr.decode(errors='replace').strip()}"
        raise KernelError(msg)
    text = done.stdout.decode(errors="replace")
    # What follows the summary is advice on checkpatch itself.
    return text.partition("total:")[0].strip() if done.returncode else ""
