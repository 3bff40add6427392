"""The project's own series, as it would be sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfroots import kernels
from bpfroots.errors import UserError
from bpfroots.kernels import check, series
from bpfroots.progress import Progress
from tests import ROOT
from tests.linux_history import HARM

_PATCHES = ROOT / "kernels" / "patches"
_SERIES = [_PATCHES / f"bpf-{name}" for name in ("fixes", "multi-root", "prog-call")]


def _patched() -> kernels.Definition:
    request = kernels.resolve("patched")
    assert isinstance(request, kernels.Definition)
    return request


def test_every_patch_applies_and_passes_checkpatch() -> None:
    checked = check.check(_patched(), Progress(quiet=True))
    assert len(checked) == len(series.read(_SERIES).patches)
    assert not [found for found in checked if not found.ok]


def test_twin_a_patch_against_the_style_is_seen(tmp_path: Path) -> None:
    first = series.read(_SERIES).patches[0]
    bad = tmp_path / first.name
    added = next(line for line in first.read_text().splitlines() if line.startswith("+\t"))
    bad.write_text(first.read_text().replace(added, added + " "))
    tree, _ = kernels.tools_source(_patched(), Progress(quiet=True))
    complaints = check._checkpatch(tree / "scripts/checkpatch.pl", tree, bad, [])
    assert "TRAILING_WHITESPACE" in complaints


def test_nobody_is_made_to_sign_off() -> None:
    for patch in series.read(_SERIES).patches:
        text = patch.read_text()
        assert "From: bpfroots developers <" in text
        assert "Signed-off-by:" not in text


def test_an_ignored_type_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / check.IGNORED
    path.write_text("FILE_PATH_CHANGES  # reason\n# only a comment\n\n")
    assert check._ignored(path) == ["FILE_PATH_CHANGES"]
    path.write_text("LONG_LINE\n")
    with pytest.raises(UserError, match=r"checkpatch.ignore:1: not a line"):
        check._ignored(path)


def test_what_long_tests_change_is_in_baseline() -> None:
    """They run on request only, so that nothing else tells when baseline becomes another kernel."""
    changed = kernels.resolve(f"baseline+{ROOT / 'tests/ab'}")
    assert isinstance(changed, kernels.Definition)
    progress = Progress(quiet=True)
    kernels.tools_source(changed, progress)
    baseline = kernels.resolve("baseline")
    assert isinstance(baseline, kernels.Definition)
    tree, _ = kernels.tools_source(baseline, progress)
    assert not [what for what, harm in HARM.items() if harm.before not in (tree / harm.file).read_text()]


def test_a_kernel_without_a_series_says_so() -> None:
    request = kernels.resolve("baseline")
    assert isinstance(request, kernels.Definition)
    with pytest.raises(UserError, match="baseline has no series"):
        check.check(request, Progress(quiet=True))
