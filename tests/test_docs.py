"""What the documentation repeats is what the project says elsewhere."""

from __future__ import annotations

from testcases.test_naive import CHECKS, KERNEL
from tests import ROOT


def test_every_dropped_check_is_in_the_table() -> None:
    rows = (ROOT / "docs/attacks.md").read_text().splitlines()
    for check in CHECKS:
        (row,) = [
            row for row in rows if row.startswith(f"| `{check.name}` | `{check.where}` | {check.why} | ")
        ]
        assert all(case in row for case in check.fail)


def test_every_bit_of_the_naive_kernel_is_in_the_table() -> None:
    (patch,) = (ROOT / "kernels/patches" / KERNEL).glob("0001-*.patch")
    lines = patch.read_text().splitlines()
    names = [line.split(",")[0].strip("+\t") for line in lines if line.startswith("+\tNAIVE_")]
    assert [f"NAIVE_{check.name}" for check in CHECKS] == names
    assert [check.bit for check in CHECKS] == list(range(len(names)))
