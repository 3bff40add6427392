"""Cells with the code and the logs of golden loads: for tests of reports."""

from __future__ import annotations

import json
from pathlib import Path

from bpfroots.analysis import cell as cells_of
from bpfroots.analysis import verifier_log
from bpfroots.programs.protocol import (
    JitedFunction,
    Loaded,
    LoadedProgram,
    MapDump,
    MapEntry,
    Mechanism,
    Verdict,
)
from bpfroots.results.model import Cell, Expected, Outcome
from tests.loads import loaded as loads

GOLDEN = Path(__file__).parent / "golden"
IMAGES = json.loads((GOLDEN / "jit" / "images.json").read_text())
EVIL = "<script>alert(1)</script>"


def log(name: str) -> str:
    return (GOLDEN / "verifier" / f"{name}.log").read_text()


def loaded(images: str, verdict: Verdict = "accept", text: str = "accept-calls") -> Loaded:
    """Two roots with the code of a golden load."""
    jited = [
        JitedFunction(image["symbol"], image["addr"], bytes.fromhex(image["code"]))
        for image in IMAGES[images]["images"]
    ]
    programs = [
        LoadedProgram(
            name,
            section,
            root=True,
            verdict=verdict,
            xlated_bytes=200,
            xlated=f"int {name}():\n   0: (b7) r0 = 0\n   1: (95) exit\n",
            jited=jited if verdict == "accept" else [],
        )
        for name, section in (("on_kprobe", "kprobe/__set_task_comm"), ("on_skb", "cgroup_skb/ingress"))
    ]
    maps = [MapDump("results", "array", 4, 8, [MapEntry("00000000", "0300000000000000")])]
    insns = verifier_log.parse(log(text)).processed_insns
    logs = {program.name: log(text) for program in programs}
    return loads(programs, insns=insns, logs=logs, maps=maps, symbols=IMAGES[images]["symbols"])


def make_cell(
    run_dir: Path,
    case: str,
    mechanism: Mechanism,
    kernel: str = "baseline",
    *,
    outcome: Outcome = "pass",
    load: Loaded | None = None,
    reason: str = "",
) -> Cell:
    cell = Cell(
        case, kernel, mechanism, outcome=outcome, reason=reason, reproduce=f"bpfroots run -k '{case}'"
    )
    if load is None:
        return cell
    folder = Path("cells") / case / kernel / mechanism
    (run_dir / folder).mkdir(parents=True, exist_ok=True)
    code = cells_of.Code(load)
    files = {"source.bpf.c": f"/* {EVIL} */\nint body(void) {{ return {len(mechanism)}; }}\n".encode()}
    for program in load.programs:
        files |= cells_of.artefacts(program, code)
    for name, data in files.items():
        (run_dir / folder / name).write_bytes(data)
        cell.artefacts[name] = str(folder / name)
    cell.verdict = load.verdict
    cell.expected = Expected(load.verdict or "accept")
    cell.verifications = cells_of.verifications(load)
    verified = {name: found for found in cell.verifications for name in found.programs}
    cell.roots = [cells_of.make_root(program, code, verified[program.name]) for program in load.programs]
    cell.cost = cells_of.total_cost(cell.roots, [], cell.verifications)
    cell.results = load.maps
    return cell
