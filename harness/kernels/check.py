"""Is a series fit to be sent? Each patch applies without fuzz and passes the source's own checkpatch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness import process
from harness.errors import KernelError, UserError
from harness.kernels import build, series
from harness.kernels.spec import Definition
from harness.progress import Progress

#: Types of checkpatch's complaints that a series may ignore: "TYPE  # reason", one a line.
IGNORED = "checkpatch.ignore"
_TIMEOUT_S = 120.0
_TYPE = re.compile(r"^[A-Z][A-Z0-9_]*$")
_SUMMARY = re.compile(rb"total: \d+ errors?, \d+ warnings?(?:, \d+ checks?)?, \d+ lines checked")


@dataclass(frozen=True)
class Checked:
    """One patch. ``complaints`` are checkpatch's, empty where it has none."""

    patch: str
    complaints: str

    @property
    def ok(self) -> bool:
        return not self.complaints


def check(definition: Definition, progress: Progress) -> list[Checked]:
    """Check the series of a kernel, patch by patch: its own, not that of its base, where both have one.

    Raises UserError for a kernel without a series, KernelError for the first patch that does not
    apply (git apply takes no fuzz) and for a source without checkpatch.
    """
    if not definition.series:
        msg = f"kernel {definition.name} has no series"
        raise UserError(msg, hint="give it one: series = NAME in its definition")
    patches = series.read(definition.series[-1:])
    tree = build.source_tree(build.plan(definition, progress), progress)
    script = tree / "scripts" / "checkpatch.pl"
    if not script.is_file():
        msg = f"{script}: not there"
        raise KernelError(msg, hint="the source is not a whole kernel tree")
    ignored = _ignored(definition.series[-1] / IGNORED)
    return [Checked(patch.name, _checkpatch(script, tree, patch, ignored)) for patch in patches.patches]


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
