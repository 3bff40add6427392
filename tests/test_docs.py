"""What the documentation repeats is what the project says elsewhere."""

from __future__ import annotations

import pytest

from testcases.test_naive import CHECKS, checks
from tests import ROOT


def test_every_dropped_check_is_in_the_table() -> None:
    rows = (ROOT / "docs/attacks.md").read_text().splitlines()
    for check in CHECKS:
        (row,) = [
            row for row in rows if row.startswith(f"| `{check.name}` | `{check.where}` | {check.why} | ")
        ]
        assert all(case in row for case in check.fail)


@pytest.mark.parametrize("kernel", ["naive", "naive-7.3"])
def test_every_bit_of_the_naive_kernel_is_in_the_table(kernel: str) -> None:
    (patch,) = (ROOT / "kernels/patches" / kernel).glob("0001-*.patch")
    lines = patch.read_text().splitlines()
    names = [line.split(",")[0].strip("+\t") for line in lines if line.startswith("+\tNAIVE_")]
    table = checks(kernel)
    assert [f"NAIVE_{check.name}" for check in table] == names
    assert [check.bit for check in table] == list(range(len(names)))
