"""Forty commits on the real kernel: every way to ask finds the commit that it asks for, in few builds.

Builds up to ten kernels for each, most of an hour in all: only with BPFROOTS_BISECT=1.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.linux_history import COMMITS, HARM, make

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        "BPFROOTS_BISECT" not in os.environ, reason="builds kernels for an hour: BPFROOTS_BISECT=1"
    ),
]

_PROGRAMS = Path(__file__).parent / "bisect"


def _bisect(*arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bpfroots", "bisect", "run", "--json", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("bisect") / "linux"
    return path, make(path)


@pytest.mark.parametrize(
    ("harm", "program", "expect"),
    [
        ("loosens", "neg", "reject"),
        ("slows", "loop", "processed_insns<=good"),
        ("encodes", "sign", "jit==good"),
        ("splats", "splat", "clean"),
        ("is flaky", "flaky", "accept"),
    ],
)
def test_finds_the_commit(harm: str, program: str, expect: str, tree: tuple[Path, dict[str, str]]) -> None:
    path, commits = tree
    found = _bisect(
        *("--linux", path, "--good", commits["good"], "--bad", commits["bad"]),
        *("--object", _PROGRAMS / f"{program}.bpf.c", "--expect", expect),
    )
    assert [suspect["id"] for suspect in found["suspects"]] == [commits[harm]]
    judgements = found["found"]["judgements"]
    skipped = {judgement["commit"] for judgement in judgements if judgement["word"] == "skip"}
    assert skipped <= {commits[name] for name, harm_ in HARM.items() if harm_.repaired}
    builds = sum(judgement.get("built", False) for judgement in judgements)
    assert builds <= math.ceil(math.log2(COMMITS)) + 2 + len(skipped)
    assert found["found"]["confidence"] >= 0.99


def test_the_patch_that_first_accepts_the_example() -> None:
    found = _bisect(
        *("--series", "bpf-multi-root", "--case", "example/kprobe+tracepoint"),
        *("--mechanism", "multi_root", "--expect", "verdict!=accept"),
    )
    assert [suspect["subject"] for suspect in found["suspects"]] == [
        "bpf: Load several root programs at once"
    ]
