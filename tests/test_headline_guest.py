"""The headline, counted once more: from the lines of cells.jsonl and the kernel's own figures alone."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bpfroots.analysis.compare import Total, compare
from bpfroots.jobs.kit import Kit
from bpfroots.results.model import Cell

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]

# Groups, programs that load alone beside them (fentry), libraries, several kernels.
_SELECTED = "example or scale/roots or body/loop-tc+xdp or fentry+tc"
_DEADLINE = 900

Line = dict[str, Any]


def _kernel_insns(line: Line) -> int:
    """What the kernel says it verified for a cell, load by load (bpf_prog_info.verified_insns)."""
    return sum(load["kernel_insns"] for load in line["verifications"])


def _jit_bytes(line: Line) -> int:
    """Bytes of images, each once, however many programs list it."""
    images = {
        (image["addr"], image["sha256"]): image["bytes"]
        for program in [*line["roots"], *line["targets"]]
        for image in program["jit"]["images"]
    }
    return sum(images.values())


def headline(lines: list[Line]) -> dict[tuple[str, str], dict[str, float]]:
    """Geometric means of the ratios to tail_call, by kernel and mechanism, over cases that both accept."""
    accepted = {(c["kernel"], c["case"], c["mechanism"]): c for c in lines if c["verdict"] == "accept"}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, count in (("processed_insns", _kernel_insns), ("jit_bytes", _jit_bytes)):
        ratios: dict[tuple[str, str], list[float]] = {}
        for (kernel, case, mechanism), line in accepted.items():
            if base := accepted.get((kernel, case, "tail_call")):
                ratios.setdefault((kernel, mechanism), []).append(count(line) / count(base))
        for key, values in ratios.items():
            mean = math.prod(values) ** (1 / len(values))
            found.setdefault(key, {})[name] = round(mean, 9)
    return found


def shown(totals: list[Total]) -> dict[tuple[str, str], dict[str, float]]:
    """The same out of the comparison that is printed."""
    return {
        (total.kernel, total.mechanism): {
            name: round(total.means[name], 9) for name in ("processed_insns", "jit_bytes")
        }
        for total in totals
        if total.compared
    }


def _totals(lines: list[Line]) -> list[Total]:
    return compare(msgspec.convert(lines, list[Cell])).summary.totals


@pytest.fixture(scope="module")
def lines(kit: Kit) -> list[Line]:
    kernels = ("--kernel", "baseline", "--kernel", "patched")
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "run", "-k", _SELECTED, *kernels, "--json"],
        capture_output=True,
        timeout=_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    file = Path(json.loads(done.stdout)["path"]) / "cells.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_headline_is_what_an_independent_count_gives(lines: list[Line]) -> None:
    assert headline(lines) == shown(_totals(lines))
    assert {mechanism for _, mechanism in headline(lines)} == {
        "tail_call",
        "duplicate",
        "multi_root",
        "fd_name",
    }


def test_all_that_the_kernel_verified_is_in_the_sums(lines: list[Line]) -> None:
    counted = sum(_kernel_insns(line) for line in lines if line["verdict"] == "accept")
    assert counted == sum(total.sums["processed_insns"] for total in _totals(lines) if total.sums)


def test_some_cells_have_several_loads_of_several_programs(lines: list[Line]) -> None:
    """Otherwise the tests above would not notice a load that is counted twice, or not at all."""
    loads = [len(line["verifications"]) for line in lines if line["mechanism"] == "multi_root"]
    programs = [len(load["programs"]) for line in lines for load in line["verifications"]]
    assert max(loads) > 1
    assert max(programs) > 2


def _drop_load(line: Line) -> None:
    line["verifications"].pop()


def _count_a_load_twice(line: Line) -> None:
    line["verifications"].append(line["verifications"][0])


def _drop_root(line: Line) -> None:
    line["roots"].pop()


@pytest.mark.parametrize("harm", [_drop_load, _count_a_load_twice, _drop_root])
def test_twin_a_source_that_changes_is_noticed(lines: list[Line], harm: Callable[[Line], None]) -> None:
    harmed = copy.deepcopy(lines)
    line = next(c for c in harmed if c["mechanism"] == "multi_root" and len(c["verifications"]) > 1)
    harm(line)
    assert headline(harmed) != shown(_totals(lines))


def test_twin_a_case_or_kernel_that_is_left_out_is_noticed(lines: list[Line]) -> None:
    without_case = [line for line in lines if not line["case"].startswith("scale/")]
    assert headline(without_case) != shown(_totals(lines))
    assert headline([line for line in lines if line["kernel"] != "patched"]) != shown(_totals(lines))
