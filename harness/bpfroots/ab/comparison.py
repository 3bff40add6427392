"""From the cells of two kernels to what differs, program by program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bpfroots.ab import texts
from bpfroots.ab.filters import Expression, Figures, Filters, Subject
from bpfroots.ab.model import (
    KINDS,
    WHATS,
    ChangedProgram,
    Counted,
    Findings,
    Kind,
    Side,
    SideSums,
    What,
    WhatDiffers,
    short,
)
from bpfroots.analysis import wording
from bpfroots.analysis.cell import equal_results
from bpfroots.analysis.type_ids import TypeIds
from bpfroots.programs.allowed import Allowed
from bpfroots.results.model import Cell, JitImage, Outcome, Root, RunResult

# What a program without a verdict is called; "" where nothing can be compared.
_WORDS: dict[Outcome, str] = {
    "guest_crash": "crash",
    "guest_hang": "hang",
    "timeout": "timeout",
    "error": "no verdict",
    "unsupported": "unsupported",
}
_CRASHES = ("crash", "hang", "timeout")
_SILENT = ("no verdict", "unsupported")
# Figures of `ChangedProgram`, in the order of `WHATS`; each is worse where it is more.
_FIGURES: tuple[What, ...] = ("insns", "states", "peak_states", "stack", "insns_per_run")
_TOTALS = ("insns", "states", "xlated", "jit", "insns_per_run")


@dataclass(frozen=True)
class Options:
    """``allowed``: new rejects and crashes that are expected. ``corpus`` names that of an object. ``types``
    are those of both kernels."""

    filters: Filters = field(default_factory=Filters)
    fail_on: tuple[Expression, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    corpus: Callable[[str], str] = lambda _: ""
    types: TypeIds | None = None


@dataclass(frozen=True)
class _Pair:
    """A program on both kernels; ``program`` is empty of an object that one of them knows no program of."""

    a: Cell
    b: Cell
    program: str

    def root(self, cell: Cell) -> Root | None:
        return cell.program_named(self.program)

    def word(self, cell: Cell) -> str:
        root = self.root(cell)
        verdict = root.verdict if root else "" if self.program else cell.verdict
        return verdict or _WORDS.get(cell.outcome, "no verdict" if root else "")

    def message(self, cell: Cell) -> str:
        """Why it is not accepted; empty where it is."""
        root = self.root(cell)
        return "" if self.word(cell) == "accept" else (root.message if root else "") or cell.reason

    @property
    def truncated(self) -> bool:
        """Has one of the kernels written more of a log than there is? Then it begins anywhere."""
        return any(root.verifier.truncated for cell in (self.a, self.b) if (root := self.root(cell)))

    def artefacts(self, suffix: str) -> tuple[str, str] | None:
        """Paths below the run folder, where both have the file."""
        name = f"{self.program}.{suffix}"
        paths = [cell.artefacts.get(name) for cell in (self.a, self.b)]
        return (paths[0], paths[1]) if paths[0] and paths[1] else None

    @property
    def first(self) -> bool:
        """Are the figures of its load its own? Of several programs of one load the first has them."""
        loads = (cell.load_of(self.program) for cell in (self.a, self.b))
        return all(load is None or load.programs[0] == self.program for load in loads)


@dataclass(frozen=True)
class _Texts:
    """The files of a run folder."""

    run_dir: Path
    types: TypeIds | None

    def first_difference(self, paths: tuple[str, str]) -> str | None:
        return texts.first_difference(self.run_dir / paths[0], self.run_dir / paths[1], self.types)


@dataclass
class _Counts:
    counts: dict[What, Counted] = field(default_factory=dict)

    def add(self, what: What, differs: bool) -> None:
        counted = self.counts.setdefault(what, Counted())
        counted.compared += 1
        counted.differ += differs


def compare(run_dir: Path, cells: Iterable[Cell], a: Side, b: Side, options: Options = Options()) -> Findings:
    """What differs between the cells of two kernels of one run, worst first."""
    counts = _Counts()
    found = Findings(a, b)
    sums: dict[str, list[float]] = {}
    pairs = list(_pairs(cells, a.kernel, b.kernel))
    found.objects = len({(pair.a.case, pair.a.mechanism) for pair in pairs})
    for pair in pairs:
        figures = _figures(pair)
        subject = Subject(short(pair.a.case), pair.program, figures)
        if not options.filters.matches(subject):
            found.hidden += 1
            continue
        found.programs += 1
        corpus = found.corpora.setdefault(options.corpus(pair.a.case), Counted())
        corpus.compared += 1
        words = pair.word(pair.a), pair.word(pair.b)
        if all(word in (*_SILENT, "") for word in words) and words[0] == words[1]:
            found.silent += 1
        if words == ("accept", "accept"):
            _add_up(sums, figures)
        for expression in options.fail_on:
            if expression.matches(subject) and (words[0] == words[1] or not expression.relative):
                found.failing.setdefault(expression.text, []).append(f"{subject.file} {pair.program}".strip())
        if "" not in words and (
            differences := list(_differences(_Texts(run_dir, options.types), pair, words, figures, counts))
        ):
            corpus.differ += 1
            found.changes.append(_change(pair, words, differences, options, b))
    found.changes.sort(key=_severity)
    found.counts = {what: counts.counts[what] for what in WHATS if what in counts.counts}
    found.totals = {name: SideSums(*sums[name]) for name in _TOTALS if name in sums}
    return found


def _pairs(cells: Iterable[Cell], a: str, b: str) -> Iterator[_Pair]:
    sides: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        sides.setdefault((cell.case, cell.mechanism), {})[cell.kernel] = cell
    for found in sides.values():
        if a not in found or b not in found:
            continue
        one, other = found[a], found[b]
        names = [[root.name for root in cell.programs] for cell in (one, other)]
        programs = [*names[0], *(name for name in names[1] if name not in names[0])] if all(names) else [""]
        yield from (_Pair(one, other, program) for program in programs)


# -- figures -----------------------------------------------------------------------------------------


def _figures(pair: _Pair) -> Figures:
    sides = [_figures_of(pair, cell) for cell in (pair.a, pair.b)]
    return {name: (sides[0].get(name), sides[1].get(name)) for name in dict.fromkeys((*sides[0], *sides[1]))}


def _figures_of(pair: _Pair, cell: Cell) -> dict[str, float]:
    root = pair.root(cell)
    word = pair.word(cell)
    found: dict[str, float] = {"verdict": float(word == "accept")} if word in ("accept", "reject") else {}
    if root is None or word not in ("accept", "reject"):
        return found
    stats = root.verifier
    if pair.first and stats.processed_insns:
        found |= {
            "duration": stats.verification_time_us,
            "insns": stats.processed_insns,
            "states": stats.total_states,
            "peak_states": stats.peak_states,
            "max_states_per_insn": stats.max_states_per_insn,
            "mark_read": stats.mark_read,
        }
        if stats.stack_depth:
            found["stack"] = sum(int(part) for part in stats.stack_depth.split("+") if part)
    if word == "accept":
        found |= {"xlated": root.xlated_bytes, "jit": sum(image.bytes for image in root.jit.images)}
    measured = [run.insns_per_run for run in root.runs if run.insns_per_run is not None]
    if measured:
        found["insns_per_run"] = sum(measured) / len(measured)
    return found


def _add_up(sums: dict[str, list[float]], figures: Figures) -> None:
    for name in _TOTALS:
        a, b = figures.get(name, (None, None))
        if a is not None and b is not None:
            total = sums.setdefault(name, [0, 0])
            total[0] += a
            total[1] += b


# -- differences -------------------------------------------------------------------------------------


def _differences(
    files: _Texts, pair: _Pair, words: tuple[str, str], figures: Figures, counts: _Counts
) -> Iterator[WhatDiffers]:
    """What differs of one program, in the order of `WHATS`; ``counts`` are told of all that is compared."""

    def compared(what: What, differs: bool) -> bool:
        counts.add(what, differs)
        return differs

    if compared("verdict", words[0] != words[1]):
        yield WhatDiffers("verdict", *words, worse=_worse(*words))
    results = _results(pair) if words == ("accept", "accept") else None
    if results is not None and compared("results", bool(results)):
        yield WhatDiffers("results", "", "", detail=results[0])
    messages = pair.message(pair.a), pair.message(pair.b)
    if words[0] == words[1] != "accept" and compared("message", not wording.same(*messages)):
        yield WhatDiffers("message", *messages)
    # How far the verifier came with what it rejects is no measure of what it accepts.
    for what in _FIGURES if words[0] == words[1] else ():
        yield from _figure(what, pair, figures, compared)
    if words == ("accept", "accept"):
        yield from _code(files, pair, figures, compared)
    if logs := pair.artefacts("verifier.log") if pair.first and not pair.truncated else None:
        detail = files.first_difference(logs)
        if compared("log", detail is not None):
            yield WhatDiffers("log", "", "", detail=detail or "")


def _worse(a: str, b: str) -> bool | None:
    """A program that is newly accepted may be either."""
    return True if a == "accept" or (b in _CRASHES and a not in _CRASHES) else None


def _figure(
    what: What, pair: _Pair, figures: Figures, compared: Callable[[What, bool], bool]
) -> Iterator[WhatDiffers]:
    a, b = figures.get(what, (None, None))
    if a is None or b is None:
        return
    detail = ""
    if what == "stack":
        detail = " | ".join(
            root.verifier.stack_depth for cell in (pair.a, pair.b) if (root := pair.root(cell))
        )
        one, _, other = detail.partition(" | ")
        if compared(what, one != other):
            yield WhatDiffers(what, a, b, None if a == b else b > a, detail)
    elif compared(what, a != b):
        yield WhatDiffers(what, a, b, b > a, _inputs(pair) if what == "insns_per_run" else "")


def _inputs(pair: _Pair) -> str:
    """Of a mean over inputs, those that differ."""
    return ", ".join(
        f"{one.input} {one.insns_per_run:g} | {other.insns_per_run:g}"
        for one, other in _runs(pair)
        if one.insns_per_run is not None
        and other.insns_per_run is not None
        and one.insns_per_run != other.insns_per_run
    )


def _runs(pair: _Pair) -> list[tuple[RunResult, RunResult]]:
    roots = pair.root(pair.a), pair.root(pair.b)
    if roots[0] is None or roots[1] is None:
        return []
    others = {run.input: run for run in roots[1].runs}
    return [(run, others[run.input]) for run in roots[0].runs if run.input in others]


def _results(pair: _Pair) -> list[str] | None:
    """What runs returned and left in maps, where it differs, in words; None where nothing was run."""
    runs = [(one, other) for one, other in _runs(pair) if one.retval is not None and other.retval is not None]
    found = [
        f"on {one.input}: returned {one.retval} | {other.retval}"
        if one.retval != other.retval
        else f"on {one.input}: other data"
        for one, other in runs
        if (one.retval, one.data_out) != (other.retval, other.data_out)
    ]
    # Maps are the object's: the first program has them, and nothing of an object that is rejected has run.
    first = pair.a.roots[0].name == pair.program if pair.a.roots else False
    if first and pair.a.compared and pair.a.verdict == pair.b.verdict == "accept":
        return found + equal_results(pair.a.results, pair.b.results, pair.a.compared)
    return found if runs else None


def _code(
    files: _Texts, pair: _Pair, figures: Figures, compared: Callable[[What, bool], bool]
) -> Iterator[WhatDiffers]:
    if paths := pair.artefacts("xlated.txt"):
        detail = files.first_difference(paths)
        a, b = figures["xlated"]
        if a is not None and b is not None and compared("xlated", detail is not None or a != b):
            yield WhatDiffers("xlated", a, b, None if a == b else b > a, detail or "")
    images = [root.jit.images for cell in (pair.a, pair.b) if (root := pair.root(cell))]
    if len(images) == 2 and all(images):
        a, b = figures["jit"]
        detail = _images(images[0], images[1], files, pair.artefacts("jited.asm"))
        if a is not None and b is not None and compared("jit", detail is not None):
            yield WhatDiffers("jit", a, b, None if a == b else b > a, detail or "")


def _images(
    a: Sequence[JitImage], b: Sequence[JitImage], files: _Texts, asm: tuple[str, str] | None
) -> str | None:
    """Where the code of two kernels differs, in words; None where it does not. The same instructions with
    other constants are no difference if these are addresses, or ids of types."""
    codes = [[(image.symbol, image.sha256) for image in side] for side in (a, b)]
    if codes[0] == codes[1]:
        return None
    opcodes = [[(image.symbol, image.opcodes) for image in side] for side in (a, b)]
    if asm and opcodes[0] == opcodes[1] and all(image.opcodes for image in a):
        return files.first_difference(asm)
    return ", ".join(one[0] for one, two in zip(*codes, strict=False) if one != two)


# -- changes -----------------------------------------------------------------------------------------


def _change(
    pair: _Pair, words: tuple[str, str], differences: list[WhatDiffers], options: Options, b: Side
) -> ChangedProgram:
    roots = pair.root(pair.a) or pair.root(pair.b)
    kind = _kind(words, differences)
    message = pair.message(pair.b)
    return ChangedProgram(
        pair.a.case,
        pair.program,
        roots.type if roots else "",
        pair.a.mechanism,
        kind,
        differences,
        pair.message(pair.a),
        message,
        _expected(options.allowed, pair, words[1], message, b) if kind in ("crash", "reject") else "",
        options.corpus(pair.a.case),
    )


def _kind(words: tuple[str, str], differences: Sequence[WhatDiffers]) -> Kind:
    if words[0] != words[1]:
        if words[1] in _CRASHES and words[0] not in _CRASHES:
            return "crash"
        if words[1] == "accept":
            return "accept"
        return "reject" if words[0] == "accept" else "message"
    whats = {one.what for one in differences}
    if "results" in whats:
        return "results"
    if "message" in whats:
        return "message"
    figures = [one for one in differences if one.what not in ("log", "verdict")]
    if any(one.worse for one in figures):
        return "figures"
    if any(one.worse is False for one in figures):
        return "better"
    return "code" if figures else "log"


def _expected(allowed: Iterable[Allowed], pair: _Pair, word: str, message: str, b: Side) -> str:
    """Where the file of exceptions allows that; empty where it does not."""
    verdict = {"reject": "reject", "no verdict": "error"}.get(word, "crash")
    for rule in allowed:
        if rule.verdict == verdict and rule.applies(b.kernel, b.release, pair.b.case, pair.program):
            return rule.where if rule.message in message else ""
    return ""


def _severity(change: ChangedProgram) -> tuple[int, bool, float, str]:
    growth = [one.growth for one in change.differences if one.growth is not None]
    most = max((abs(value) for value in growth), default=0.0)
    return list(KINDS).index(change.kind), bool(change.expected), -most, change.name
