"""Options of the tests of this directory alone."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("bpfroots").addoption(
        "--storm-seconds",
        type=int,
        default=0,
        metavar="N",
        help="how long testcases/test_storm.py lasts; not at all without it",
    )
