"""Bisects forty commits on the real kernel, and our own series. Each bisection finds the right commit.

Builds up to ten kernels for each, most of an hour in all: only with BPFROOTS_BISECT=1.
"""

from __future__ import annotations

import json
import math
import os
import shutil
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
_FIXES = Path(__file__).parents[1] / "kernels/patches/bpf-fixes"
_TYPES = "return type == BPF_DYNPTR_TYPE_SKB || type == BPF_DYNPTR_TYPE_SKB_META;"


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


def test_a_bug_in_a_patch_is_found_by_the_tests_of_the_tree_and_its_patch_by_bisection(
    tmp_path: Path,
) -> None:
    """One ``||`` of a copy of the series is a ``&&``: bpf_dynptr_write() invalidates no slices any more."""
    series = shutil.copytree(_FIXES, tmp_path / "series")
    (guilty,) = series.glob("*-bpf-Drop-packet-pointers-where-a-kfunc-writes-to-the.patch")
    text = guilty.read_text()
    assert text.count(_TYPES) == 1
    guilty.write_text(text.replace(_TYPES, _TYPES.replace("||", "&&")))

    kernels = ("--kernel", "baseline", "--kernel", f"baseline+{series}")
    command = [sys.executable, "-m", "bpfroots", "selftest", "test_progs", *kernels, "-t", "dynptr", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 1
    (changes,) = json.loads(done.stdout)["changes"].values()
    failures = [change["name"] for change in changes if change["kind"] == "new failure"]
    assert "dynptr/skb_invalid_data_slice3" in failures
    assert all(name.startswith("dynptr/") for name in failures)

    found = _bisect("--series", series, "--selftest", f"test_progs:{failures[0]}")
    (suspect,) = found["suspects"]
    assert suspect["subject"].startswith("bpf: Drop packet pointers where a kfunc writes to the")
