"""Which commit is the first bad one: both ends, then what git wants to know, each as often as needed.

Knows neither kernels nor guests: a `Tester` has them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bpfroots.bisect import expect
from bpfroots.bisect.expect import Judged
from bpfroots.bisect.model import Found, Judgement, Shown
from bpfroots.bisect.predicate import Predicate
from bpfroots.bisect.repeats import Belief, confidence, error_per_kernel
from bpfroots.errors import KernelError, UserError
from bpfroots.results.model import TestResult

#: Runs of the bad end before it is believed to fail every time, and failures that tell a rate well enough.
_FIRST_RUNS = 5
# Runs that say nothing of the predicate before the commit is skipped.
_OTHERS = 2


@dataclass(frozen=True)
class Prepared:
    """A kernel to be run. ``image`` is equal for equal kernels; ``handle`` is the tester's."""

    image: str
    built: bool
    handle: Any = None


class Tester(Protocol):
    def prepare(self, commit: str) -> Prepared:
        """Build it. Raises KernelError where the commit is why that does not work."""

    def run(self, prepared: Prepared, number: int) -> TestResult:
        """Ask it once, in a fresh guest. Raises KernelError where it does not boot."""


class Repository(Protocol):
    """`History`, or a model of one."""

    def count(self, good: str, bad: str) -> int: ...
    def contains(self, commit: str, ancestor: str) -> bool: ...
    def start(self, good: str, bad: str, marks: Sequence[tuple[str, str]] = ()) -> None: ...
    def to_test(self) -> str: ...
    def mark(self, word: str, commit: str) -> None: ...
    def suspects(self) -> list[str]: ...


class Search:
    """From two ends to the first bad commit. ``known`` is what an earlier search has found out; ``note`` is
    told of each new judgement before anything else is done."""

    def __init__(
        self,
        repository: Repository,
        tester: Tester,
        predicate: Predicate,
        ends: tuple[str, str],
        *,
        wanted: float,
        most: int,
        known: Sequence[Judgement] = (),
        note: Callable[[Judgement], None] = lambda _: None,
    ) -> None:
        """``ends`` are good and bad, as full ids. ``wanted`` is the confidence; no commit has to pass more
        than ``most`` runs for it."""
        self._repository = repository
        self._tester = tester
        self._predicate = predicate
        self._good, self._bad = ends
        self._most = most
        self._note = note
        self._wanted = wanted
        self._known = {judgement.commit: judgement for judgement in known}
        self._commits = repository.count(*ends)
        if not self._commits:
            msg = f"no commit lies between the good end {self._good[:12]} and the bad end {self._bad[:12]}"
            raise UserError(msg, hint="--good is the older one")
        # Every step of a halving may call a commit good, and so is the good end.
        self._error = error_per_kernel(wanted, math.ceil(math.log2(self._commits)) + 1)

    def run(self) -> Found:
        """Raises UserError where the ends do not differ, and whatever the tester raises but KernelError."""
        self._ends()
        self._restart()
        while not (self._repository.suspects() and self._is_sure()):
            if self._repository.suspects():
                self._restart()  # what was called good has failed
                continue
            commit = self._repository.to_test()
            judgement = self._known.get(commit) or self._examine(commit)
            if judgement.word == "bad" and judgement.passes and self._recheck():
                self._restart()
            else:
                self._repository.mark(judgement.word, commit)
        return Found(
            self._repository.suspects(),
            self._sureness(),
            self._belief().rate,
            self._commits,
            list(self._known.values()),
        )

    def _restart(self) -> None:
        inner = [j for j in self._known.values() if j.commit not in (self._good, self._bad)]
        self._repository.start(self._good, self._bad, [(j.word, j.commit) for j in inner])

    def _belief(self) -> Belief:
        """From all runs of bad kernels; one that is the same as another had none."""
        bad = [j for j in self._known.values() if j.word == "bad"]
        return Belief(self._predicate.steady, sum(j.failures for j in bad), sum(j.passes for j in bad))

    def _sureness(self, more: int = 0) -> float:
        """How sure the answer is, or would be if the highest good kernel passed ``more`` runs more."""
        places = sorted(self._good_ones().items(), key=lambda item: item[1])
        good = [(place, self._known[commit].passes) for commit, place in places]
        good[-1] = (good[-1][0], good[-1][1] + more)
        return confidence(self._belief(), len(self._repository.suspects()), good)

    def _good_ones(self) -> dict[str, int]:
        """Commits called good by runs of their own, and how far up each is. What is the same kernel as
        another lends it its place."""
        found: dict[str, int] = {}
        for judgement in self._known.values():
            if judgement.word == "good":
                commit = judgement.same_as or judgement.commit
                place = self._repository.count(self._good, judgement.commit)
                found[commit] = max(place, found.get(commit, 0))
        return found

    def _is_sure(self) -> bool:
        """Whether the answer is as sure as it has to be. If not, the highest good kernel is run more often:
        were the answer wrong, it would be bad. False where it fails."""
        missing = next(
            n for n in range(self._most + 1) if n == self._most or self._sureness(n) >= self._wanted
        )
        if not missing:
            return True
        good = self._good_ones()
        judgement = self._known[max(good, key=lambda commit: good[commit])]
        self._more(judgement, min(judgement.passes + missing, self._most))
        return judgement.word == "good"

    def _needed(self) -> int:
        return self._belief().runs_for(self._error, self._most)

    def _keep(self, judgement: Judgement) -> Judgement:
        self._known[judgement.commit] = judgement
        self._note(judgement)
        return judgement

    # -- the ends ------------------------------------------------------------------------------------

    def _ends(self) -> None:
        """Judge both, and take from them what is looked for. The good one comes first: it may say what good
        is. How often it has to pass is known once the bad one was run."""
        good, bad = self._known.get(self._good), self._known.get(self._bad)
        prepared = None
        if good is None:
            prepared, good = self._good_end()
        self._predicate = self._predicate.bound(good.values)
        bad = bad or self._bad_end()
        self._predicate = replace(self._predicate, signature=bad.signature)
        if good.image == bad.image:
            msg = "the good and the bad end are the same kernel, byte by byte"
            raise UserError(msg, hint="does the configuration leave out what the commits change?")
        self._more(good, self._needed(), prepared)

    def _good_end(self) -> tuple[Prepared, Judgement]:
        start = time.monotonic()
        prepared = self._prepared_end(self._good, "good")
        result = self._run_end(prepared, self._good, 1)
        values = expect.values(result)
        judged = self._predicate.bound(values).judge(result)
        if judged.word != "good":
            msg = f"the good end {self._good[:12]} is not good: {judged.text}"
            raise UserError(msg, hint="another --good, or another --expect")
        return prepared, self._keep(
            Judgement(
                self._good,
                "good",
                "1 run",
                passes=1,
                image=prepared.image,
                built=prepared.built,
                seconds=round(time.monotonic() - start, 1),
                shown=Shown(result.kernel, result.attempt),
                values=values,
            )
        )

    def _bad_end(self) -> Judgement:
        start = time.monotonic()
        prepared = self._prepared_end(self._bad, "bad")
        judgement = Judgement(self._bad, "bad", image=prepared.image, built=prepared.built)
        others: list[str] = []
        for number in range(1, self._most + 1):
            result = self._run_end(prepared, self._bad, number)
            judged = self._predicate.judge(result)
            if judged.word == "bad":
                judgement.failures += 1
                _show(judgement, judged, result)
                # From here on nothing else is what is looked for.
                self._predicate = replace(self._predicate, signature=judged.signature)
            elif judged.word == "good":
                judgement.passes += 1
            else:
                others.append(judged.text)
            if len(others) > _OTHERS and not judgement.failures:
                break
            if judgement.failures >= _FIRST_RUNS:
                break
        judgement.seconds = round(time.monotonic() - start, 1)
        if not judgement.failures:
            tried = f"{judgement.passes + len(others)} runs"
            said = f"it fails otherwise: {others[0]}" if others else f"it is good in {tried}"
            msg = f"the ends do not differ: the bad end {self._bad[:12]} does not fail as asked: {said}"
            raise UserError(
                msg, hint="another --bad or --expect; what fails rarely may need a higher --most-runs"
            )
        return self._keep(judgement)

    def _prepared_end(self, commit: str, which: str) -> Prepared:
        try:
            return self._tester.prepare(commit)
        except KernelError as error:
            msg = f"the {which} end {commit[:12]} cannot be tested: {error.message}"
            raise UserError(msg, detail=error.detail, hint=f"another --{which}") from None

    def _run_end(self, prepared: Prepared, commit: str, number: int) -> TestResult:
        try:
            return self._tester.run(prepared, number)
        except KernelError as error:
            msg = f"the end {commit[:12]} cannot be tested: {error.message}"
            raise UserError(msg, detail=error.detail) from None

    # -- what lies between ---------------------------------------------------------------------------

    def _examine(self, commit: str) -> Judgement:
        start = time.monotonic()
        try:
            prepared = self._tester.prepare(commit)
        except KernelError as error:
            taken = round(time.monotonic() - start, 1)
            return self._keep(Judgement(commit, "skip", error.message, built=True, seconds=taken))
        for same in self._known.values():
            if same.image == prepared.image:
                judgement = Judgement(
                    commit,
                    same.word,
                    f"the same kernel as {same.commit[:12]}",
                    image=prepared.image,
                    same_as=same.commit,
                    built=prepared.built,
                    seconds=round(time.monotonic() - start, 1),
                    shown=same.shown,
                )
                return self._keep(judgement)
        judgement = Judgement(commit, "good", image=prepared.image, built=prepared.built)
        self._runs(judgement, prepared, self._needed())
        judgement.seconds = round(time.monotonic() - start, 1)
        return self._keep(judgement)

    def _runs(self, judgement: Judgement, prepared: Prepared, needed: int) -> None:
        """Run until it fails, or has passed as often as it has to."""
        others = 0
        while judgement.passes < needed:
            number = judgement.passes + judgement.failures + others + 1
            try:
                result = self._tester.run(prepared, number)
            except KernelError as error:
                judgement.word, judgement.why = "skip", error.message
                return
            judged = self._predicate.judge(result)
            if judged.word == "bad":
                judgement.word = "bad"
                judgement.failures += 1
                _show(judgement, judged, result)
                return
            if judged.word == "other":
                others += 1
                if others >= _OTHERS:
                    judgement.word, judgement.why = "skip", judged.text
                    return
                continue
            judgement.passes += 1
            judgement.shown, judgement.values = Shown(result.kernel, result.attempt), expect.values(result)
        judgement.why = f"{judgement.passes} run{'s' if judgement.passes > 1 else ''}"

    def _recheck(self) -> bool:
        """Bad kernels pass more often than was thought: run those again that were called good too soon.
        Returns whether there was one."""
        needed = self._needed()
        good = (j for j in self._known.values() if j.word == "good" and not j.same_as)
        few = [j for j in good if j.passes < needed]
        for judgement in few:
            self._more(judgement, needed)
        return bool(few)

    def _more(self, judgement: Judgement, needed: int, prepared: Prepared | None = None) -> None:
        """The runs still missing of a commit called good. Raises UserError where the good end fails them."""
        if judgement.passes >= needed:
            return
        start = time.monotonic()
        self._runs(judgement, prepared or self._tester.prepare(judgement.commit), needed)
        judgement.seconds = round(judgement.seconds + time.monotonic() - start, 1)
        if judgement.commit == self._good and judgement.word != "good":
            msg = f"the ends do not differ: the good end {self._good[:12]} fails as well: {judgement.why}"
            raise UserError(msg, hint="another --good")
        self._keep(judgement)
        if judgement.word == "bad":
            self._taken_back(judgement)

    def _taken_back(self, bad: Judgement) -> None:
        """What was called good and is the same kernel, or has this commit in it, is bad, and has passed."""
        for other in list(self._known.values()):
            if other.word != "good" or other.commit == bad.commit:
                continue
            if other.same_as == bad.commit or self._repository.contains(other.commit, bad.commit):
                other.word, other.why = "bad", f"passed, but has {bad.commit[:12]} in it, which fails"
                self._keep(other)


def _show(judgement: Judgement, judged: Judged, result: TestResult) -> None:
    """A failure tells more than any pass."""
    judgement.signature, judgement.why = judged.signature, judged.text
    judgement.shown, judgement.values = Shown(result.kernel, result.attempt), expect.values(result)
