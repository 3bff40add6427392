"""bpfroots selftest: the kernel tree's test_verifier in real guests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]


def _selftest(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "selftest", "test_verifier", *arguments, "--json"],
        capture_output=True,
        timeout=600,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_a_range_passes_with_its_module() -> None:
    code, said, stderr = _selftest("--kernel", "baseline", "--tests", "116-121")
    assert code == 0, stderr
    (kernel,) = said["kernels"]
    assert (kernel["passed"], kernel["failed"], kernel["error"]) == (6, 0, "")
    log = (Path(said["path"]) / kernel["log"]).read_text()
    assert "Summary: 6 PASSED, 0 SKIPPED, 0 FAILED" in log.splitlines()


def test_without_the_module_four_of_them_are_skipped() -> None:
    code, said, _ = _selftest("--kernel", "baseline", "--tests", "116-121", "--no-testmod")
    assert code == 0
    (kernel,) = said["kernels"]
    assert (kernel["passed"], kernel["skipped"], kernel["failing"]) == (2, 4, [])
    assert "Summary: 2 PASSED, 0 SKIPPED, 4 FAILED" in (Path(said["path"]) / kernel["log"]).read_text()


def test_a_range_that_is_none() -> None:
    code, _, stderr = _selftest("--tests", "9-3")
    assert code == 2
    assert stderr.startswith("bpfroots: --tests 9-3: not a number or a range of them")
