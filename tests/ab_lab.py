"""What two kernels made of one program, as files of a run folder: for tests of `ab`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bpfroots.ab import comparison
from bpfroots.ab.model import ChangedProgram, Findings, Side
from bpfroots.programs.protocol import Verdict
from bpfroots.results.model import (
    Cell,
    Jit,
    JitImage,
    Outcome,
    Root,
    RunResult,
    Verification,
    VerifierStats,
)

A, B = Side("old", "6.12.1", "old"), Side("new", "6.12.2", "new")
LOG = "func#0 @0\n0: R1=ctx() R10=fp0\n0: (b7) r0 = 0                        ; R0_w=0\n1: (95) exit\n"
XLATED = "   0: (b7) r0 = 0\n   1: (95) exit\n"
CODE = "; bpf_prog_p addr=ffffffffc0001000 bytes=8 file+0x0\n   0:  push rbp\n   1:  leave\n   2:  ret\n"


def image(code: str, size: int = 8, opcodes: str = "") -> JitImage:
    return JitImage("bpf_prog_p", "ffffffffc0001000", code, size, 0, 0, 0, opcodes=opcodes)


class AbLab:
    """Cells of one object with one program, as a run would have them in its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: list[Cell] = []

    def add(
        self,
        kernel: str,
        *,
        message: str = "",
        outcome: Outcome = "pass",
        code: str = "c0de",
        size: int = 8,
        opcodes: str = "",
        asm: str = CODE,
        log: str = LOG,
        xlated: str = XLATED,
        runs: tuple[RunResult, ...] = (),
        program: str = "p",
        **stats: Any,
    ) -> Cell:
        verdict: Verdict = "reject" if message else "accept"
        verifier = VerifierStats(**{"processed_insns": 100, "total_states": 9, "stack_depth": "8+0", **stats})
        root = Root(program, "xdp", verdict, message=message, verifier=verifier, runs=list(runs))
        if verdict == "accept":
            root.xlated_bytes, root.jit = 16, Jit([image(code, size, opcodes)])
        cell = Cell("load/a.bpf.o", kernel, "duplicate", outcome=outcome, verdict=verdict)
        cell.roots = [root]
        cell.verifications = [Verification([program], verdict, message=message, verifier=verifier)]
        files = {"verifier.log": log} | (
            {"xlated.txt": xlated, "jited.asm": asm} if verdict == "accept" else {}
        )
        for suffix, content in files.items():
            relative = f"cells/a/{kernel}/{program}.{suffix}"
            (self.path / relative).parent.mkdir(parents=True, exist_ok=True)
            (self.path / relative).write_text(content)
            cell.artefacts[f"{program}.{suffix}"] = relative
        self.cells.append(cell)
        return cell

    def lost(self, kernel: str, outcome: Outcome) -> None:
        self.cells.append(
            Cell("load/a.bpf.o", kernel, "duplicate", outcome=outcome, reason="BUG: unable to handle page")
        )

    def compare(self, **options: Any) -> Findings:
        return comparison.compare(self.path, self.cells, A, B, comparison.Options(**options))

    def only(self, **options: Any) -> ChangedProgram:
        (change,) = self.compare(**options).changes
        return change
