"""What we write for other tools, read by the tools themselves, of the kernel tree that is tested."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from bpfroots.bench import veristat as peer
from bpfroots.jobs.kit import Kit
from bpfroots.programs.protocol import Verdict
from bpfroots.progress import Progress
from bpfroots.report import ktap, veristat
from bpfroots.results.model import BAD, Cell, Outcome, Verification, VerifierStats

pytestmark = pytest.mark.guest

# Its own process: its modules have names as general as kunit_parser's "qemu_config".
_PARSE = """
import sys
sys.path.insert(0, sys.argv[1])
import kunit_parser, kunit_printer
lines = kunit_parser.extract_tap_lines(open(sys.argv[2]).read().splitlines())
test = kunit_parser.parse_run_tests(lines, kunit_printer.stdout)
counts = test.counts
print(test.status.name, counts.passed, counts.failed, counts.crashed, counts.skipped, counts.errors)
"""


def _cells() -> list[Cell]:
    """Every outcome, on two kernels; two cases, one with a name that KTAP would take for a directive."""
    return [
        Cell(
            case,
            kernel,
            "duplicate" if number % 2 else "multi_root",
            outcome=outcome,
            reason=f"because of # {number}",
        )
        for kernel in ("baseline", "patched")
        for case in ("body/x-tc", "evil/#SKIP it")
        for number, outcome in enumerate(get_args(Outcome))
    ]


def _parse(source: Path, path: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, str(source / "tools/testing/kunit"), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_kunit_parser_counts_what_we_count(kit: Kit, tmp_path: Path) -> None:
    source = kit.kernels[0].source
    assert source is not None
    cells = _cells()
    ktap.write(tmp_path / "results.ktap", cells)
    status, passed, failed, crashed, skipped, errors = _parse(source, tmp_path / "results.ktap")
    assert status == "FAILURE"
    assert int(failed) + int(crashed) == sum(cell.outcome in BAD for cell in cells)
    assert int(skipped) == sum(cell.outcome in ("skip", "unsupported") for cell in cells)
    assert int(passed) == sum(cell.outcome in ("pass", "xfail") for cell in cells)
    assert int(errors) == 0


def test_twin_a_wrong_number_is_an_error(kit: Kit, tmp_path: Path) -> None:
    source = kit.kernels[0].source
    assert source is not None
    path = tmp_path / "results.ktap"
    ktap.write(path, _cells())
    path.write_text(path.read_text().replace("ok 2 duplicate", "ok 7 duplicate"))
    assert int(_parse(source, path)[-1]) > 0


def _verified(insns: int, verdict: Verdict) -> list[Cell]:
    stats = VerifierStats(processed_insns=insns, total_states=3, peak_states=3)
    loads = [Verification(names, verdict, verifier=stats) for names in (["on_tc", "on_xdp"], ["alone"])]
    return [
        Cell("body/x-tc+xdp", "patched", "multi_root", outcome="pass", verdict=verdict, verifications=loads)
    ]


def test_veristat_compares_two_runs_of_ours(kit: Kit, tmp_path: Path) -> None:
    tool = peer.of(kit.kernels[0], Progress(quiet=True))
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    files[0].write_text(veristat.render(_verified(40, "accept"), with_kernel=False))
    files[1].write_text(veristat.render(_verified(50, "reject"), with_kernel=False))
    done = subprocess.run(
        [tool, "-C", *files, "-e", "file,prog,verdict,insns", "-o", "csv"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["prog_name"] for row in rows] == ["alone", "on_tc+on_xdp"]
    for row in rows:
        assert (row["verdict_base"], row["verdict_comp"]) == ("success", "failure")
        assert (row["total_insns_base"], row["total_insns_comp"]) == ("40", "50")
