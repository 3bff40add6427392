"""One image for all roots, whatever their number: the figures of the family `scale` on patched."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

pytestmark = pytest.mark.guest

_DEADLINE = 300
_BODY = "bpf_prog_checksum"


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str], Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "run", "-k", "scale/", "--kernel", "patched", "--json"],
        capture_output=True,
        timeout=_DEADLINE,
        check=True,
    )
    return {(cell["case"], cell["mechanism"]): cell for cell in json.loads(done.stdout)["cells"]}


def _images(cell: Any) -> dict[str, Any]:
    """The cell's images by address: a shared one is listed by every root."""
    return {image["addr"]: image for root in cell["roots"] for image in root["jit"]["images"]}


@pytest.mark.parametrize("roots", [2, 4, 8])
def test_stubs_and_one_body(cells: dict[tuple[str, str], Any], roots: int) -> None:
    case = f"scale/roots-{roots}"
    copies, shared = (_images(cells[case, mechanism]) for mechanism in ("duplicate", "multi_root"))
    assert Counter(image["symbol"] for image in copies.values())[_BODY] == roots
    bodies = [image for image in shared.values() if image["symbol"] == _BODY]
    assert len(bodies) == 1
    assert len(shared) == roots + 1
    # What is gone is copies of the body, nothing else.
    saved = cells[case, "duplicate"]["cost"]["jit_bytes"] - cells[case, "multi_root"]["cost"]["jit_bytes"]
    assert (
        saved
        == sum(image["bytes"] for image in copies.values() if image["symbol"] == _BODY) - bodies[0]["bytes"]
    )
    assert all(cells[case, m]["cost"]["processed_insns"] > 0 for m in ("duplicate", "multi_root"))
