"""What pyproject.toml says of the package is so."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from tests import ROOT

#: The optional extra `cluster`.
_OPTIONAL = {"dask": "distributed", "distributed": "distributed"}


def _imported() -> Iterator[str]:
    for path in (ROOT / "harness").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {_name(requirement) for requirement in project["dependencies"]}
    extra = {_name(requirement) for requirement in project["optional-dependencies"]["cluster"]}
    providers = packages_distributions()
    for module in {name.partition(".")[0] for name in _imported()} - set(sys.stdlib_module_names):
        if module == "bpfroots":
            continue
        if module in _OPTIONAL:
            assert _OPTIONAL[module] in extra
            continue
        names = {_name(name) for name in providers.get(module, [])}
        assert names & declared, f"{module} (of {', '.join(names) or 'nothing installed'}) is not declared"


def test_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = {name.partition(".")[0] for name in _imported()}
    providers = packages_distributions()
    used = {_name(name) for module in modules for name in providers.get(module, [])}
    assert {_name(requirement) for requirement in project["dependencies"]} - used == set()


def test_nothing_private_is_imported() -> None:
    private = [name for name in _imported() if any(part.startswith("_") for part in name.split("."))]
    assert [name for name in private if name != "__future__"] == []
