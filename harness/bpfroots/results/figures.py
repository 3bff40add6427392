"""The figures of a cell: one table for everything that compares, keeps or shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The mechanism whose figures the others' are divided by.
BASELINE: Literal["tail_call"] = "tail_call"


@dataclass(frozen=True)
class Figure:
    """A figure of a cell. All are exact: nothing but a change moves them.

    ``head`` is that of a column, ``title`` the same where there is room. ``threshold``: by how much it may
    grow from night to night, as a share of what it was; None for what is not looked at.
    ``headline``: the summary table has it, as the geometric mean of the ratios, or as the ratio of the sums
    where it is 0 as a rule. ``totalled``: sums over all cells are plotted over nights. ``of_verifier``: it
    says something of a program that was rejected, too. ``relative``: it is worth a ratio to the baseline's.
    ``recorded``: the history has it. ``column``: a table of cases has it; ``spare`` says which is left out
    first where a terminal is too narrow for all, 0 what stays.
    """

    name: str
    head: str
    title: str = ""
    threshold: float | None = None
    headline: Literal["", "mean", "sums"] = ""
    totalled: bool = False
    of_verifier: bool = False
    relative: bool = True
    recorded: bool = True
    column: bool = True
    spare: int = 0

    @property
    def in_full(self) -> str:
        return self.title or self.head


#: In the order in which they are shown. Fields of `Cost`, but for `INSNS_PER_RUN`, a mean over roots and
#: inputs, which is there only where it was measured.
FIGURES = (
    Figure("roots", "roots", relative=False, recorded=False, spare=2),
    Figure(
        "processed_insns",
        "verified insns",
        threshold=0.05,
        headline="mean",
        totalled=True,
        of_verifier=True,
    ),
    Figure("total_states", "states", threshold=0.05, of_verifier=True, spare=1),
    Figure("jit_images", "images", spare=5),
    Figure("jit_bytes", "JIT bytes", threshold=0.02, headline="mean", totalled=True),
    Figure("direct_calls", "direct calls", spare=4),
    Figure("indirect_branches", "indirect", title="indirect branches", headline="sums", spare=6),
    Figure("retpoline_calls", "retpoline", spare=3),
    Figure("xlated_bytes", "xlated bytes", column=False),  # a case's own page has them
    Figure("insns_per_run", "insns per run", threshold=0.01, headline="mean", totalled=True),
)
INSNS_PER_RUN = "insns_per_run"
NAMED = {figure.name: figure for figure in FIGURES}


def head(name: str) -> str:
    """The head of a figure's column; of anything else, its name."""
    return NAMED[name].head if name in NAMED else name
