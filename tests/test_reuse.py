"""What makes a cell new: the key of what is reused. With guests: test_reuse_guest.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bpfroots
from bpfroots.jobs import reuse

_PACKAGE = Path(bpfroots.__file__).parent
_MODULES = sorted(path.relative_to(_PACKAGE) for path in _PACKAGE.rglob("*.py"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("package") / "harness"
    return Path(shutil.copytree(_PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__")))


@pytest.mark.parametrize(
    ("module", "new"),
    [
        ("jobs/engine.py", True),
        ("jobs/worker.py", True),
        ("jobs/runner.py", True),
        ("jobs/spec.py", True),
        ("jobs/judge.py", True),
        ("cluster/remote.py", True),
        ("programs/protocol.py", True),
        ("machine/watch.py", True),
        ("analysis/jit.py", True),
        ("errors.py", True),
        ("cli/run.py", False),
        ("report/html.py", False),
    ],
)
def test_a_change_makes_cells_new_but_where_they_are_shown(module: str, new: bool, package: Path) -> None:
    before, path = reuse._code_digest(package), package / module
    text = path.read_text()
    path.write_text(text + "\n# changed\n")
    changed = reuse._code_digest(package) != before
    path.write_text(text)
    assert changed == new


def test_a_new_module_makes_cells_new(package: Path) -> None:
    before = reuse._code_digest(package)
    (package / "jobs" / "referee.py").touch()
    assert reuse._code_digest(package) != before


def test_nothing_that_decides_imports_what_shows() -> None:
    """A report that a judge asks would be a judge."""
    for module in _MODULES:
        if module.parts[0] in ("analysis", "machine", "programs", "results"):
            text = (_PACKAGE / module).read_text()
            assert "bpfroots.report" not in text, module
            assert "bpfroots.cli" not in text, module
