"""Kernels as users name them, in real guests: two of one name, and what a definition must not cost others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bpfroots import kernels
from bpfroots.jobs.kit import Kit
from bpfroots.programs import compile as compiling
from tests import ROOT

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]

_SOURCE = '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\nSEC("socket") int f(void *ctx) { return 0; }\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """This project, with kernels and results of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(ROOT / "kernels", folder / "kernels")
    for name in ("testcases", "images"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "results").mkdir()
    (folder / "f.bpf.c").write_text(_SOURCE)
    return folder


def _bpfroots(root: Path, *arguments: str | Path) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "BPFROOTS_ROOT": str(root)},
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_broken_definition_costs_the_others_nothing(root: Path) -> None:
    (root / "kernels/bad.toml").write_text("config = [\n")
    code, found, stderr = _bpfroots(root, "load", root / "f.bpf.c", "--kernel", "baseline")
    assert code == 0, stderr
    assert [cell["verdict"] for cell in found["cells"]] == ["accept"]
    code, _, stderr = _bpfroots(root, "load", root / "f.bpf.c", "--kernel", "bad")
    assert code == 2
    assert "bpfroots: kernels/bad.toml: not TOML" in stderr


def test_only_what_is_compiled_needs_baseline(kit: Kit, root: Path) -> None:
    """An object needs no types. Here no baseline can be built, and it would take minutes elsewhere."""
    (root / "kernels/config/none.config").write_text("CONFIG_NO_SUCH_OPTION=y\n")
    (root / "kernels/baseline.toml").write_text('base = "v7.3"\nconfig = ["guest", "none"]\n')
    built = compiling.compile_source(kit.toolchain, kit.objects, _SOURCE.encode(), "f.bpf.c")
    shutil.copyfile(built, root / "f.bpf.o")
    (kernel,) = kit.kernels
    code, found, stderr = _bpfroots(root, "load", root / "f.bpf.o", "--kernel", kernel.image.path)
    assert code == 0, stderr
    assert [cell["verdict"] for cell in found["cells"]] == ["accept"]
    code, _, stderr = _bpfroots(root, "load", root / "f.bpf.c", "--kernel", kernel.image.path)
    assert code == 3
    assert "CONFIG_NO_SUCH_OPTION" in stderr


def test_two_kernels_of_one_file_name_both_run(root: Path, tmp_path: Path) -> None:
    """Before, the second one got the first one's verdict. Only one of them knows the mechanism."""
    arguments: list[str | Path] = []
    for name in ("baseline", "patched"):
        kernel = kernels.ensure(kernels.resolve(name))
        (tmp_path / name).mkdir()
        shutil.copyfile(kernel.image.path, tmp_path / name / "bzImage")
        arguments += ["--kernel", tmp_path / name / "bzImage"]
    arguments += ["--mechanism", "multi_root", "-k", "example/kprobe+cgroup_skb"]
    code, found, stderr = _bpfroots(root, "run", *arguments)
    assert code == 0, stderr
    outcomes = {cell["kernel"]: cell["outcome"] for cell in found["cells"]}
    assert outcomes == {"baseline-bzImage": "unsupported", "patched-bzImage": "pass"}
    folder = Path(found["path"])
    infos = json.loads((folder / "run.json").read_text())["kernels"]
    assert [info["argument"] for info in infos] == [
        str(tmp_path / n / "bzImage") for n in ("baseline", "patched")
    ]
    assert infos[0]["key"] != infos[1]["key"]
    consoles = {path.name.rpartition("-")[0] for path in (folder / "console").iterdir()}
    assert consoles == {"baseline-bzImage", "patched-bzImage"}
    # The same arguments, the same names: nothing is left to be done.
    code, again, stderr = _bpfroots(root, "run", "--resume", found["run"])
    assert code == 0, stderr
    assert again["cells"] == found["cells"]
