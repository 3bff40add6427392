"""The reader of testcases/insn: what it says of output that is not as it should be."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    path = Path(__file__).parent.parent / "testcases" / "test_insn.py"
    spec = importlib.util.spec_from_file_location("insn_suite", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_checks_belong_to_their_group(suite: ModuleType) -> None:
    said = suite.parse("group a\nok A1\n# a remark\nnot ok A2: errno 0\ngroup b\nok B1\ndone 3\n")
    assert said.groups == {"a": ["ok A1", "not ok A2: errno 0"], "b": ["ok B1"]}
    assert said.announced == 3
    assert len(said.checks) == 3


def test_a_program_that_died_announces_nothing(suite: ModuleType) -> None:
    assert suite.parse("group a\nok A1\n").announced is None
