"""A series of four one-line patches on the real kernel: `ab` names what each of them changes.

Builds up to four kernels, from baseline's objects: only with BPFROOTS_AB=1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif("BPFROOTS_AB" not in os.environ, reason="builds up to four kernels: BPFROOTS_AB=1"),
]

_SERIES = Path(__file__).parent / "ab"
_PROGRAMS = [Path(__file__).parent / "bisect" / f"{name}.bpf.c" for name in ("neg", "loop", "sign", "splat")]
_WHITE_SPACE, _LOOSENS, _SLOWS, _ENCODES = sorted(path.name for path in _SERIES.iterdir())


def _ab(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "bpfroots", "ab", "--json", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def test_what_each_patch_changes() -> None:
    code, found = _ab("--series", _SERIES, "--per-patch", *_PROGRAMS)
    changes = {change["program"]: change for change in found["changes"]}
    whats = {name: {one["what"]: one for one in change["differences"]} for name, change in changes.items()}
    assert set(changes) == {"neg", "loop", "sign"}
    assert (whats["neg"]["verdict"]["a"], whats["neg"]["verdict"]["b"]) == ("reject", "accept")
    assert whats["loop"]["insns"]["b"] > 5 * whats["loop"]["insns"]["a"]
    assert whats["sign"]["jit"]["b"] == whats["sign"]["jit"]["a"] + 1
    assert "insns" not in whats["sign"]
    patches = {
        name: {one["first_patch"] for one in listed.values() if "first_patch" in one}
        for name, listed in whats.items()
    }
    assert patches == {"neg": {_LOOSENS}, "loop": {_SLOWS, _ENCODES}, "sign": {_SLOWS, _ENCODES}}
    assert whats["loop"]["insns"]["first_patch"] == _SLOWS
    assert whats["sign"]["jit"]["first_patch"] == _ENCODES
    # What is newly accepted, and what takes more work, is no new reject.
    assert code == 0


def test_the_same_is_an_error_where_it_is_asked_for() -> None:
    code, found = _ab("--series", _SERIES, "--fail-on", "insns>5%", *_PROGRAMS)
    assert code == 1
    assert list(found["failing"]) == ["insns>5%"]
    assert len(found["failing"]["insns>5%"]) == 1


def test_twin_white_space_is_no_difference() -> None:
    code, found = _ab("--series", _SERIES / _WHITE_SPACE, *_PROGRAMS)
    assert (code, found["changes"]) == (0, [])
    assert found["counts"]["verdict"] == {"compared": 4, "differ": 0}


def test_the_other_way_round_it_is_a_regression(tmp_path: Path) -> None:
    code, found = _ab("--kernel", f"baseline+{_SERIES}", "--kernel", "baseline", *_PROGRAMS)
    assert code == 1
    assert [change["program"] for change in found["changes"] if change["kind"] == "reject"] == ["neg"]
    expected = tmp_path / "expect.toml"
    expected.write_text('[[reject]]\nprogram = "neg"\nmessage = "BPF_NEG uses reserved fields"\n')
    code, _ = _ab("--kernel", f"baseline+{_SERIES}", "--kernel", "baseline", "--expect", expected, *_PROGRAMS)
    assert code == 0
