"""A git work tree of our own in which git bisects; no other one is touched."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bpfroots.bisect.model import Commit
from bpfroots.errors import InfraError, UserError
from bpfroots.kernels.git import commit_of, git

_FIRST = re.compile(r"^# first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
_POSSIBLE = re.compile(r"^# possible first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
# git bisect ends with 2 where only skipped commits are left.
_ONLY_SKIPPED = 2


class CommitHistory:
    """Git's own bisection in ``tree``."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree

    def resolve(self, revision: str) -> str:
        """The commit that a revision names. Raises UserError."""
        found = commit_of(self.tree, revision)
        if not found:
            msg = f"{self.tree}: no revision {revision}"
            raise UserError(msg, hint=f"git -C {self.tree} log")
        return found

    def commit(self, revision: str) -> Commit:
        text = self._git("show", "-s", "--format=%H%n%s%n%an <%ae>", f"{self.resolve(revision)}^0")
        return Commit(*text.splitlines()[:3])

    def parents(self, commit: str) -> list[str]:
        return self._git("rev-list", "--parents", "-n1", commit).split()[1:]

    def count(self, good: str, bad: str) -> int:
        """How many commits may be the first bad one."""
        return int(self._git("rev-list", "--count", f"{good}..{bad}"))

    def merges(self, good: str, bad: str) -> int:
        """How many of these commits are merges."""
        return int(self._git("rev-list", "--count", "--merges", f"{good}..{bad}"))

    def contains(self, commit: str, ancestor: str) -> bool:
        return git(self.tree, "merge-base", "--is-ancestor", ancestor, commit).returncode == 0

    def check_ends(self, good: str, bad: str) -> None:
        """Raises UserError where no commit after ``good`` can be the first bad one of ``bad``."""
        if self.contains(good, bad):
            same = "are one commit" if good == bad else "are in the wrong order: the bad one is an ancestor"
            msg = f"the good end {good[:12]} and the bad end {bad[:12]} {same}"
            hint = "swap them; a search for what fixed something expects the fault, as in --expect reject"
            raise UserError(msg, hint=hint)
        if git(self.tree, "merge-base", good, bad).returncode != 0:
            msg = f"the good end {good[:12]} and the bad end {bad[:12]} have no commit in common"
            hint = f"two ends of one history; of a shallow clone: git -C {self.tree} fetch --unshallow"
            raise UserError(msg, hint=hint)

    def diffstat(self, commit: str) -> str:
        return self._git("show", "--stat", "--format=", commit).rstrip()

    def head(self) -> str:
        return self.resolve("HEAD")

    def to_test(self) -> str:
        """The commit to test next: the one git has checked out, which halves what is left.

        Where that one was skipped, git jumps away from it by chance (bisect.c: skip_away()), which costs a
        further test or two. Here the nearest to the middle is next, and with each further skipped commit
        the stride away from it grows by one, so that a long clump of them is soon left.
        """
        left = self._git(
            "rev-list", "--bisect-all", "refs/bisect/bad", "--not", "--glob=refs/bisect/good-*"
        ).splitlines()
        order = [line.split()[0] for line in left]
        skipped = set(self._git("for-each-ref", "--format=%(objectname)", "refs/bisect/skip-*").split())
        if order[0] not in skipped:
            return self.head()
        *inner, _bad = (commit for commit in order if commit not in skipped)
        away = math.comb(len(skipped.intersection(order)), 2)
        return inner[min(away, len(inner) - 1)]

    def checkout(self, commit: str) -> None:
        if self.head() != commit:
            self._git("checkout", "-q", "--detach", "--force", commit)

    def start(self, good: str, bad: str, marks: Iterable[tuple[str, str]] = ()) -> None:
        """Begin, with ``marks`` (word, commit) that are known. Raises UserError where git refuses."""
        self._git("bisect", "reset", "HEAD")
        self._bisect("start", bad, good)
        for word, commit in marks:
            self.mark(word, commit)

    def mark(self, word: str, commit: str) -> None:
        """Tell git; it checks out what it wants to know next. Raises UserError where that makes no sense."""
        if not self.suspects():
            self._bisect(word, commit)

    def suspects(self) -> list[str]:
        """The first bad commit; several where what is skipped hides it; none while git is not at its end."""
        log = self.log()
        return _FIRST.findall(log) or _POSSIBLE.findall(log)

    def log(self) -> str:
        """What `git bisect replay` takes."""
        answer = git(self.tree, "bisect", "log")
        return answer.stdout.decode(errors="replace") if answer.returncode == 0 else ""

    def _bisect(self, *arguments: str) -> None:
        answer = git(self.tree, "bisect", *arguments)
        if answer.returncode not in (0, _ONLY_SKIPPED):
            msg = f"git bisect {' '.join(arguments)}: {_words(answer)}"
            raise UserError(msg, hint="are good and bad of one history, and in that order?")

    def _git(self, *arguments: str) -> str:
        answer = git(self.tree, *arguments)
        if answer.returncode != 0:
            msg = f"{self.tree}: git {arguments[0]}: {_words(answer)}"
            raise InfraError(msg)
        return answer.stdout.decode(errors="replace")


def _words(answer: subprocess.CompletedProcess[bytes]) -> str:
    said = (answer.stderr + answer.stdout).decode(errors="replace").split("\n")
    return " ".join(line.strip() for line in said if line.strip())[-300:]


def worktree(linux: Path, where: Path, revision: str) -> CommitHistory:
    """A work tree ``where`` of the repository of ``linux``, at ``revision``; as it is where it exists.

    Raises UserError for a revision that does not exist, InfraError.
    """
    commit = CommitHistory(linux).resolve(revision)
    if not (where / ".git").exists():
        where.parent.mkdir(parents=True, exist_ok=True)
        git(linux, "worktree", "prune")
        answer = git(linux, "worktree", "add", "--force", "--detach", where, commit)
        if answer.returncode != 0:
            msg = f"{where}: git worktree add: {_words(answer)}"
            raise InfraError(msg, hint="free some space, or set XDG_CACHE_HOME to a larger disk")
    return CommitHistory(where)


def remove_worktree(linux: Path, where: Path) -> None:
    """Leave the repository of ``linux`` as it was; its objects alone are git's to collect."""
    git(linux, "worktree", "remove", "--force", where)
