"""What a bisection leaves in its run folder: bisect.json, judgements.jsonl, and what came of it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bpfroots.results import old
from bpfroots.results.store import append_lines, cut_torn_line

Word = Literal["good", "bad", "skip"]

_JUDGEMENTS = "judgements.jsonl"


class Commit(msgspec.Struct, frozen=True):
    """What people call a commit by."""

    id: str
    subject: str
    author: str

    @property
    def short(self) -> str:
        return self.id[:12]

    @property
    def named(self) -> str:
        """As in a Fixes: tag (Documentation/process/submitting-patches.rst)."""
        return f'{self.short} ("{self.subject}")'


class Shown(NamedTuple):
    """A run of a kernel."""

    kernel: str
    attempt: int = 1


class Judgement(msgspec.Struct, omit_defaults=True):
    """What is known of one commit: a line of judgements.jsonl; the last one of a commit counts.

    ``image`` is the kernel's hash, ``same_as`` the commit whose kernel is the same and was not run again.
    ``shown`` is the run that tells most; ``values`` are its cell's (`expect.values`).
    ``built``: it took a build, which may have failed.
    """

    commit: str
    word: Word
    why: str = ""
    passes: int = 0
    failures: int = 0
    signature: str = ""
    image: str = ""
    same_as: str = ""
    built: bool = False
    seconds: float = 0.0
    shown: Shown | None = None
    values: dict[str, str] = {}


class Found(msgspec.Struct):
    """``suspects`` is the first bad commit, or those that skipped ones leave. ``confidence`` is the chance
    that it is one of them, ``rate`` how often bad kernels fail."""

    suspects: list[str]
    confidence: float
    rate: float
    commits: int
    judgements: list[Judgement]

    @property
    def builds(self) -> int:
        return sum(judgement.built for judgement in self.judgements)


class FirstBad(msgspec.Struct):
    """The difference that the first bad commit made. ``values`` are by name: before, after. ``texts`` are
    unified diffs of verifier logs and JIT code, by what they are of."""

    parent: str
    values: dict[str, tuple[str, str]]
    texts: dict[str, list[str]]
    reason: str


class Bisection(msgspec.Struct):
    """outcome.json: all that reports are made of. ``seconds`` is what building and running the commits took,
    ``wall_seconds`` what the command took that ended with the answer; where it has ``resumed`` a search, the
    commands before it are not in that. ``merges`` of the commits are merges. ``config`` is where the
    configuration is kept, ``source`` the program, as text."""

    question: str
    expect: list[str]
    good: Commit
    bad: Commit
    found: Found
    suspects: list[Commit]
    commits: dict[str, Commit]
    release: str
    compiler: str
    command: list[str]
    seconds: float
    wall_seconds: float = 0.0
    resumed: bool = False
    merges: int = 0
    change: FirstBad | None = None
    diffstat: str = ""
    config: str = ""
    source: str = ""
    reproduce: str = ""


def read_judgements(run_dir: Path, kernels: Collection[str] = ()) -> list[Judgement]:
    """In the order in which commits were judged first; a torn last line was never reported.

    ``kernels`` are those of the run; they tell what a folder of an earlier version means.
    """
    path = run_dir / _JUDGEMENTS
    found: dict[str, Judgement] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            raw = msgspec.json.decode(line)
            old.judgement(raw, kernels)
            judgement = msgspec.convert(raw, Judgement)
        except msgspec.MsgspecError:
            break
        found[judgement.commit] = judgement
    return list(found.values())


def add_judgement(run_dir: Path, judgement: Judgement) -> None:
    """On disk before it is reported."""
    path = run_dir / _JUDGEMENTS
    cut_torn_line(path)
    append_lines(path, msgspec.json.encode(judgement) + b"\n")
