"""What a comparison of two kernels found: ab.json, and all that its pages and texts are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

#: What is compared of a program, in the order in which it is shown.
What = Literal[
    "verdict",
    "results",
    "message",
    "insns",
    "states",
    "peak_states",
    "stack",
    "insns_per_run",
    "xlated",
    "jit",
    "log",
]
#: Each with its name for people.
WHATS: dict[What, str] = {
    "verdict": "verdict",
    "results": "results of runs",
    "message": "message",
    "insns": "verified insns",
    "states": "states",
    "peak_states": "peak states",
    "stack": "stack depth",
    "insns_per_run": "insns per run",
    "xlated": "translated code",
    "jit": "JIT code",
    "log": "verifier log",
}
#: How bad a change is, worst first. ``figures``: one got worse; ``better``: figures, none of them worse.
Kind = Literal["crash", "reject", "results", "accept", "message", "figures", "better", "code", "log"]
KINDS: dict[Kind, str] = {
    "crash": "new crashes, hangs and timeouts",
    "reject": "accepted before, not now",
    "results": "other results of runs",
    "accept": "not accepted before, now accepted",
    "message": "not accepted for another reason",
    "figures": "more work or more code",
    "better": "less work or less code",
    "code": "other code of the same size",
    "log": "another verifier log, all else equal",
}


def short(case: str) -> str:
    """The name of a case or an object, without what all objects that are given by path share."""
    return case.removeprefix("load/")


class Side(msgspec.Struct, frozen=True):
    """One of the two kernels; ``argument`` is what ``--kernel`` takes for it."""

    kernel: str
    release: str
    argument: str


class WhatDiffers(msgspec.Struct, frozen=True, omit_defaults=True):
    """``a`` and ``b`` are what the kernels give: words, figures, or bytes of code. ``worse`` is None where
    neither is worse. ``detail`` says more in one line. ``first_patch`` is the first one that makes it, where
    that was looked for."""

    what: What
    a: str | float
    b: str | float
    worse: bool | None = None
    detail: str = ""
    first_patch: str = ""

    @property
    def growth(self) -> float | None:
        """By what share of ``a`` a figure grew; None for words."""
        if isinstance(self.a, str) or isinstance(self.b, str):
            return None
        if not self.a:
            return 1.0 if self.b else 0.0
        return self.b / self.a - 1


class ChangedProgram(msgspec.Struct, frozen=True, omit_defaults=True):
    """A program that differs. ``message_a`` and ``message_b``: why it is not accepted. ``expected`` is the
    place in the file of exceptions that allows a new reject or crash."""

    object: str
    program: str
    type: str
    mechanism: str
    kind: Kind
    differences: list[WhatDiffers]
    message_a: str = ""
    message_b: str = ""
    expected: str = ""
    corpus: str = ""

    @property
    def name(self) -> str:
        """``OBJECT PROGRAM``, without what all objects share."""
        return " ".join(filter(None, (short(self.object), self.program)))

    @property
    def first_patches(self) -> dict[str, list[What]]:
        """The first patch of each difference, where that was looked for, in the order of the differences."""
        found: dict[str, list[What]] = {}
        for one in self.differences:
            if one.first_patch:
                found.setdefault(one.first_patch, []).append(one.what)
        return found

    def difference(self, what: What) -> WhatDiffers | None:
        return next((one for one in self.differences if one.what == what), None)


class Counted(msgspec.Struct):
    """Of how many programs something could be compared on both kernels, and of how many it differs."""

    compared: int = 0
    differ: int = 0


class SideSums(msgspec.Struct, frozen=True):
    """Sums of a figure over the programs that both kernels give it for."""

    a: float
    b: float


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A kernel that nothing was asked, or part of a series. ``what``: "does not apply", "does not build",
    "does not boot". ``patch`` is the first one that it is true of, empty where it is the base's."""

    kernel: str
    what: str
    lines: list[str]
    patch: str = ""


class SeriesPatch(msgspec.Struct, omit_defaults=True):
    """One patch of the series. ``applies`` says how: "exactly", "with fuzz: ...", "by a three-way merge";
    empty where it was not reached."""

    name: str
    subject: str
    applies: str = ""


class SeriesInfo(msgspec.Struct, omit_defaults=True):
    """``left_out``: (what, why) of all that was given and is no patch of the series. ``notes``: what a reader
    has to know of the base."""

    name: str
    base: str
    patches: list[SeriesPatch] = []
    left_out: list[tuple[str, str]] = []
    notes: list[str] = []


class Findings(msgspec.Struct):
    """``programs`` are those that were on both kernels, ``silent`` those of them that neither has a verdict
    on. ``changes`` come worst first. ``failing`` are expressions of ``--fail-on``, each with the programs
    that it is true of. ``corpora``: programs, and how many differ, by corpus."""

    a: Side
    b: Side
    programs: int = 0
    objects: int = 0
    silent: int = 0
    hidden: int = 0
    counts: dict[What, Counted] = {}
    totals: dict[str, SideSums] = {}
    changes: list[ChangedProgram] = []
    failing: dict[str, list[str]] = {}
    problems: list[Problem] = []
    corpora: dict[str, Counted] = {}
    series: SeriesInfo | None = None
    run: str = ""
    command: list[str] = []
    seconds: float = 0.0

    @property
    def regressions(self) -> list[ChangedProgram]:
        """New rejects and crashes that no exception allows."""
        return [one for one in self.changes if one.kind in ("crash", "reject") and not one.expected]
