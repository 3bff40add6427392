"""Run folders of earlier versions: what they have, in the fields that there are today.

Only here is anything read out of the words of an earlier version. `model.SCHEMA` says what each has.
"""

from __future__ import annotations

from typing import Any


def run(found: dict[str, Any]) -> None:
    """run.json as it is written today."""
    if found.get("schema", 3) < 3:
        what = (found.get("request") or {}).get("what", {})
        what["only"] = [_key(kernel, cell) for kernel, cell in what.get("only", ())]


def _key(kernel: str, cell: str) -> tuple[str, str, str]:
    case, _, mechanism = cell.rpartition("#")
    return case, mechanism, kernel
