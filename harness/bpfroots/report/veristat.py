"""CSV as `veristat -o csv` of Linux 6.12 writes it, so that `veristat -C A B` reads ours.

Its reader (parse_stats_csv in tools/testing/selftests/bpf/veristat.c) knows no quotes, joins empty
fields with strtok and stops at a column it does not know: nine columns, integers, no commas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bpfroots.escape import visible
from bpfroots.results.model import Cell, Verification

COLUMNS = (
    "file_name,prog_name,verdict,duration,total_insns,total_states,"
    "peak_states,max_states_per_insn,max_mark_read_len"
)


def write(run_dir: Path, cells: Sequence[Cell]) -> None:
    """Write veristat.csv, and veristat-KERNEL.csv where there are several kernels to compare.

    A file is "CASE:MECHANISM" with dots for slashes (a filter's slash ends the file name), in a
    veristat.csv of several kernels "CASE:MECHANISM@KERNEL".
    """
    kernels = list(dict.fromkeys(cell.kernel for cell in cells))
    if len(kernels) > 1:
        for kernel in kernels:
            chosen = [cell for cell in cells if cell.kernel == kernel]
            name = re.sub(r"[^\w.+-]", "_", kernel)
            (run_dir / f"veristat-{name}.csv").write_text(render(chosen), encoding="utf-8")
    (run_dir / "veristat.csv").write_text(render(cells, with_kernel=len(kernels) > 1), encoding="utf-8")


def render(cells: Sequence[Cell], *, with_kernel: bool = False) -> str:
    """One line per load that has a verdict; a group's name is its programs', "a+b", as libbpf calls it.
    ``duration`` is in microseconds."""
    lines = [COLUMNS]
    for cell in cells:
        name = f"{cell.case}:{cell.key.how}" + (f"@{cell.kernel}" if with_kernel else "")
        lines += [_line(name, load) for load in cell.verifications]
    return "\n".join(lines) + "\n"


def _line(file: str, load: Verification) -> str:
    stats = load.verifier
    figures = (
        stats.verification_time_us,
        stats.processed_insns,
        stats.total_states,
        stats.peak_states,
        stats.max_states_per_insn,
        stats.mark_read,
    )
    verdict = "success" if load.verdict == "accept" else "failure"
    return ",".join([_field(file), _field("+".join(load.programs)), verdict, *map(str, figures)])


def _field(text: str) -> str:
    return re.sub(r"[\s,]", "_", visible(text).replace("/", ".")) or "_"
