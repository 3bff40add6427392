"""Generated cases: the factors of testcases/matrix.toml, in pairs or in full.

Everything follows from the file: the same file gives the same cases, and a case's name is its parameters.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bpfroots import settings
from bpfroots.errors import UserError
from bpfroots.programs.protocol import Mechanism
from bpfroots.programs.roots import KINDS, joins_groups

_NO_STACK = "a pointer into the stack of its caller is an argument"
_NO_RETURN = "the value it returns is used"
_NO_LENGTH = "a pointer with a length is no argument of a global function"
_NO_PACKET = "pointers into a packet are no arguments of a global function"
_NO_KIND = "verified by itself, it cannot tell whose context it has"
# What excludes each other (see _possible()).
_CONSTRAINED = (
    ["first", "body"],
    ["first", "ctx"],
    ["body", "args"],
    ["first", "others", "roots", "body", "ctx"],
)


class _Combinations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seed: int
    factors: dict[str, list[Any]]
    others: dict[str, list[str]]
    needs: dict[str, str]
    since: dict[str, str]
    balanced: list[str]


class Combination(msgspec.Struct, frozen=True):
    """One generated case. ``kinds`` are its roots, in order; ``since`` is the first version of Linux that has
    what it uses, empty for any."""

    body: str
    kinds: tuple[str, ...]
    depth: int
    ctx: str
    args: str
    returns: str
    since: str = ""

    @property
    def name(self) -> str:
        parts = [self.body, "+".join(self.kinds), f"depth{self.depth}", f"ctx_{self.ctx}", self.args]
        return "-".join([*parts, *(["returns"] if self.returns == "scalar" else [])])

    @property
    def not_as_tail_call(self) -> str:
        """Why no tail call can express it; empty where one can."""
        if self.returns == "scalar":
            return _NO_RETURN
        return _NO_STACK if self.args == "stack" else ""

    @property
    def not_by_name(self) -> str:
        """Why no function that is verified by its BTF alone can be the body; empty where one can."""
        if self.body == "packet":
            return _NO_PACKET
        if self.ctx == "kind" and len(set(self.kinds)) > 1:
            return _NO_KIND
        return _NO_LENGTH if self.args == "mem" else ""

    @property
    def rejected(self) -> dict[Mechanism, str]:
        """The message of every mechanism that has to refuse it."""
        # A library has a program for each kind, whatever the number of roots.
        loads: dict[Mechanism, list[str]] = {
            "multi_root": list(self.kinds),
            "fd_name": sorted(set(self.kinds)),
        }
        if self.not_by_name:
            del loads["fd_name"]
        found = {mechanism: self._refusal(kinds) for mechanism, kinds in loads.items()}
        return {mechanism: message for mechanism, message in found.items() if message}

    def _refusal(self, kinds: list[str]) -> str:
        """What the kernel says to roots of these kinds in one load; empty where it takes them."""
        group = [KINDS[kind] for kind in kinds if joins_groups(KINDS[kind].section)]
        if len(group) < 2:
            return ""
        if self.body == "timer" or any(kind.refused for kind in group):
            return "is not supported in a multi-root load"
        if self.ctx == "ambiguous" and len({kind.type for kind in group}) > 1:
            return "same insn cannot be used with different contexts: ctx access"
        return ""


def combinations(*, full: bool = False) -> list[Combination]:
    """Every pair of values of two factors at least once; ``full``: everything with everything.

    Raises UserError for a matrix that cannot be read.
    """
    matrix = _read()
    rows = _all(matrix) if full else _pairs(matrix)
    found: dict[str, Combination] = {}
    for row in rows:
        combination = _combination(matrix, row)
        found.setdefault(combination.name, combination)
    return sorted(found.values(), key=lambda combination: combination.name)


def _read() -> _Combinations:
    path = settings.resource("testcases/matrix.toml")
    try:
        matrix = msgspec.toml.decode(path.read_bytes(), type=_Combinations)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"{path}: {error}"
        raise UserError(msg) from None
    named = [*matrix.factors.get("first", []), *itertools.chain(*matrix.others.values())]
    if unknown := sorted(set(named) - set(KINDS)):
        msg = f"{path}: unknown root kind {', '.join(unknown)}"
        raise UserError(msg, hint=f"kinds: {', '.join(KINDS)}")
    return matrix


def _all(matrix: _Combinations) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*matrix.factors.values()):
        row = dict(zip(matrix.factors, values, strict=True))
        if _possible(matrix, row):
            yield row


def _pairs(matrix: _Combinations) -> list[dict[str, Any]]:
    from covertable import make, sorters

    possible = functools.partial(_possible, matrix)
    # A constraint is asked as soon as what it is about is known.
    constraints = [{"operator": "fn", "requires": keys, "evaluate": possible} for keys in _CONSTRAINED]
    found = make(matrix.factors, sorter=sorters.hash, salt=str(matrix.seed), constraints=constraints)
    rows = [{name: row[name] for name in matrix.factors} for row in found]
    _balance(matrix, rows)
    return rows


def _balance(matrix: _Combinations, rows: list[dict[str, Any]]) -> None:
    """Exchange values that no pair needs: most rows only have them because they must have one."""
    covered = Counter(pair for row in rows for pair in _pairs_of(row))
    for name in matrix.balanced:
        used = Counter(row[name] for row in rows)
        for row in rows:
            needed = [pair for pair in _pairs_of(row) if name in (pair[0], pair[2])]
            if any(covered[pair] == 1 for pair in needed):
                continue
            for value in sorted(matrix.factors[name], key=lambda value: used[value]):
                if used[value] >= used[row[name]]:
                    break
                changed = {**row, name: value}
                if _possible(matrix, changed):
                    covered.subtract(_pairs_of(row))
                    used.subtract([row[name]])
                    row[name] = value
                    covered.update(_pairs_of(row))
                    used.update([value])
                    break


def _pairs_of(row: Mapping[str, Any]) -> list[tuple[str, Any, str, Any]]:
    return [(a, row[a], b, row[b]) for a, b in itertools.combinations(row, 2)]


def _possible(matrix: _Combinations, row: Mapping[str, Any]) -> bool:
    """Whether a row can become a case, by what is known of it: the sooner a dead end is seen the better."""
    needs = _needs(matrix, row)
    if "first" in row and not needs <= KINDS[row["first"]].can:
        return False
    if row.get("others") in matrix.others and row.get("roots", 1) > 1:
        pool = matrix.others[row["others"]]
        if not any(needs <= KINDS[kind].can for kind in pool if kind != row.get("first")):
            return False
    # A packet is two arguments already, and there are five.
    return row.get("body") != "packet" or row.get("args") != "mem"


def _needs(matrix: _Combinations, row: Mapping[str, Any]) -> set[str]:
    """What every kind of root must be able to do, by what is known of the row."""
    return {matrix.needs[row[key]] for key in ("body", "ctx") if row.get(key) in matrix.needs}


def _combination(matrix: _Combinations, row: Mapping[str, Any]) -> Combination:
    needs = _needs(matrix, row)
    able = [kind for kind in _kinds(matrix, row) if needs <= KINDS[kind].can]
    kinds = tuple(able[: row["roots"]])
    since = matrix.since.get(row["body"], "")
    return Combination(row["body"], kinds, row["depth"], row["ctx"], row["args"], row["returns"], since)


def _kinds(matrix: _Combinations, row: Mapping[str, Any]) -> list[str]:
    """The first root, then others in turn, more than any case needs."""
    first, others = row["first"], row["others"]
    pool = [first] if others == "same" else [kind for kind in matrix.others[others] if kind != first]
    return [first, *itertools.islice(itertools.cycle(pool), 40)]
