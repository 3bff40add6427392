"""Imports run one way: docs/architecture.md has the picture, this holds the code to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

_PACKAGE = ROOT / "harness/bpfroots"
#: What a package may import: itself and those before it.
_CORE = ["kernels", "images", "machine", "programs", "results", "analysis", "report", "jobs"]
#: Everything of the core, and these.
_FEATURES = {
    "ab": {"cluster"},
    "bench": {"ab", "selftest"},
    "bisect": {"selftest"},
    "cluster": set[str](),
    "history": set[str](),
    "nightly": {"ab", "cluster", "history", "selftest"},
    "selftest": {"history"},
}
#: Modules that any package may import.
_BASE = {
    "arch",
    "cache",
    "errors",
    "escape",
    "exitcodes",
    "log",
    "process",
    "progress",
    "settings",
    "shape",
    "tomlfile",
}
#: The command line's parts that each feature's command is made of.
_COMMANDS = {"command"}


def _imports(path: Path) -> Iterator[str]:
    """What of bpfroots a file imports: "jobs.run", "settings"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "bpfroots":
            inside = node.module.removeprefix("bpfroots").lstrip(".")
            yield from ([inside] if inside else [alias.name for alias in node.names])


def _packages() -> dict[str, list[tuple[str, str]]]:
    """Package → (file, package imported)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for folder in sorted(path for path in _PACKAGE.iterdir() if (path / "__init__.py").is_file()):
        for path in folder.rglob("*.py"):
            for name in _imports(path):
                found.setdefault(folder.name, []).append(
                    (str(path.relative_to(_PACKAGE)), name.split(".")[0])
                )
    return found


def _wrong(allowed: set[str], imported: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(file, name) for file, name in imported if name not in allowed]


@pytest.mark.parametrize("name", _CORE)
def test_the_core_imports_what_is_before_it(name: str) -> None:
    allowed = {*_BASE, *_CORE[: _CORE.index(name) + 1], "system"}
    assert _wrong(allowed, _packages()[name]) == []


@pytest.mark.parametrize("name", _FEATURES)
def test_a_feature_imports_the_core_and_the_features_that_it_names(name: str) -> None:
    allowed = {*_BASE, *_CORE, "system", name, *_FEATURES[name]}
    files = [(file, one) for file, one in _packages()[name] if Path(file).stem not in _COMMANDS]
    assert _wrong(allowed, files) == []
    commands = [(file, one) for file, one in _packages()[name] if Path(file).stem in _COMMANDS]
    assert _wrong({*allowed, "cli"}, commands) == []


def test_every_package_has_its_place() -> None:
    assert set(_packages()) == {*_CORE, *_FEATURES, "cli"}


def test_twin_an_import_the_wrong_way_is_seen() -> None:
    assert _wrong({"kernels"}, [("kernels/build.py", "jobs")]) == [("kernels/build.py", "jobs")]
