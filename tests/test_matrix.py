"""Generated cases: every pair is there, names say what is in them, and the same file gives the same bytes."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from typing import Any

import pytest

from bpfroots.programs import cases, matrix
from bpfroots.programs.matrix import Combination
from bpfroots.programs.render import render

_GENERATED = cases.select("gen/")
_DIGEST = """
import hashlib
from bpfroots.programs import cases
from bpfroots.programs.render import render
text = "".join(case.name + render(case, "subprog") for case in cases.select("gen/"))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_there_are_hundreds_of_them() -> None:
    assert len(_GENERATED) >= 200


def test_every_pair_that_is_possible_is_there() -> None:
    found = matrix._read()
    rows = list(matrix._pairs(found))
    covered = {pair for row in rows for pair in matrix._pairs_of(row)}
    for (a, first), (b, second) in itertools.combinations(found.factors.items(), 2):
        for one, other in itertools.product(first, second):
            if matrix._possible(found, {a: one, b: other}):
                key = (a, one, b, other)
                assert key in covered or (b, other, a, one) in covered or not _reachable(found, key)


def _reachable(found: Any, pair: tuple[str, Any, str, Any]) -> bool:
    """Whether any whole row has this pair: three factors can exclude each other where no two do."""
    fixed = {pair[0]: pair[1], pair[2]: pair[3]}
    relevant = {name: found.factors[name] for name in ("first", "body", "others", "roots", "ctx", "args")}
    options = [[fixed[name]] if name in fixed else values for name, values in relevant.items()]
    return any(
        matrix._possible(found, dict(zip(relevant, values, strict=True)))
        for values in itertools.product(*options)
    )


def test_values_that_no_pair_needs_are_balanced() -> None:
    roots = [len(case.kinds) for case in _GENERATED]
    assert min(map(roots.count, set(roots))) * 2 > max(map(roots.count, set(roots)))


def test_a_name_is_all_there_is_to_a_case() -> None:
    names = [case.name for case in _GENERATED]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) < 200 for name in names)
    sources = {hashlib.sha256(render(case, "subprog").encode()).hexdigest() for case in _GENERATED}
    assert len(sources) == len(names)


def test_equal_bytes_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


@pytest.mark.parametrize(
    ("kinds", "more", "message"),
    [
        (("kprobe", "tc"), {}, ""),
        (("kprobe", "tc"), {"ctx": "ambiguous"}, "different contexts"),
        (("kprobe", "kretprobe"), {"ctx": "ambiguous"}, ""),
        (("kprobe",), {"ctx": "ambiguous"}, ""),
        (("sk_lookup",), {}, ""),
        (("tc", "sk_lookup"), {}, "is not supported in a multi-root load"),
        (("fentry", "sk_lookup"), {}, ""),
        (("fentry", "tc", "kprobe"), {}, ""),
        (("tc", "xdp"), {"body": "timer"}, "is not supported in a multi-root load"),
    ],
)
def test_what_multi_root_has_to_refuse(kinds: tuple[str, ...], more: dict[str, str], message: str) -> None:
    given = {"body": "array", "depth": 1, "ctx": "none", "args": "scalars", "returns": "nothing", **more}
    rejected = Combination(kinds=kinds, **given).rejected  # type: ignore[arg-type]
    assert bool(rejected) == bool(message)
    assert message in rejected.get("multi_root", "")
