"""A series patch by patch, on the fake kernel tree: what does not build, boot or adds warnings is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.errors import BootError, KernelError, UserError
from bpfroots.jobs.check_series import build_each
from bpfroots.kernels import Definition, Kernel, build, is_built, resolve
from bpfroots.kernels.check import Checked
from bpfroots.progress import Progress
from tests.kernel_project import FAKE, Project, diff, patch, project

_PATCHED = 'base = "baseline"\nseries = "change"\nprovides = ["multi_root"]\n'
_FINE = ("0001-fine.patch", patch("kernel/verifier.c", "return -22", "return -1022"))
_CORE = (FAKE / "kernel/core.c").read_text()
_WARNS = _CORE.replace("return insn;", "int unused;\n\treturn insn;")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        made.define("patched", _PATCHED)
        yield made


def _definition() -> Definition:
    request = resolve("patched")
    assert isinstance(request, Definition)
    return request


def _check(*names: str, dies: str = "") -> list[Checked]:
    def boot(kernel: Kernel) -> float:
        if kernel.name == dies:
            msg = f"{kernel.name} never reached user space"
            raise BootError(msg)
        return 3.5

    checked = [Checked(name, "") for name in names]
    return list(build_each(_definition(), checked, boot, Progress(quiet=True)))


def test_each_patch_is_built_and_booted(fake: Project) -> None:
    core = ("0002-core.patch", patch("kernel/core.c", "return insn", "return insn + 1"))
    fake.series("change", _FINE, core)
    checked = _check(_FINE[0], core[0])
    assert all(found.ok and found.built and found.boot_seconds == 3.5 for found in checked)
    assert is_built(resolve("patched@1"))
    assert fake.compiled("patched@") == ["kernel/core.o"]


def test_a_new_warning_belongs_to_its_patch(fake: Project) -> None:
    warns = ("0002-warns.patch", diff("kernel/core.c", _CORE, _WARNS))
    third = _WARNS.replace("return insn;", "return insn + 1;")
    fake.series("change", _FINE, warns, ("0003-later.patch", diff("kernel/core.c", _WARNS, third)))
    checked = _check(_FINE[0], warns[0], "0003-later.patch")
    assert [found.ok for found in checked] == [True, False, True]
    assert checked[1].warnings == ["kernel/core.c: unused variable 'unused' [-Wunused-variable]"]


def test_a_patch_that_the_next_one_fixes(fake: Project) -> None:
    broken = _CORE.replace("return insn;", "return nowhere;")
    fixed = _CORE.replace("return insn;", "return 1;")
    fake.series(
        "change",
        _FINE,
        ("2.patch", diff("kernel/core.c", _CORE, broken)),
        ("3.patch", diff("kernel/core.c", broken, fixed)),
    )
    checked = _check(_FINE[0], "2.patch", "3.patch")
    assert [found.ok for found in checked] == [True, False, False]
    assert "nowhere" in checked[1].broken
    assert checked[2].warnings == ["kernel/core.c: unused parameter 'insn' [-Wunused-parameter]"]


def test_a_patch_that_does_not_boot(fake: Project) -> None:
    fake.series("change", _FINE, ("2.patch", patch("lib/sort.c", "a < b", "a <= b")))
    checked = _check(_FINE[0], "2.patch", dies="patched@1")
    assert [found.ok for found in checked] == [False, True]
    assert checked[0].broken == "patched@1 never reached user space"


def test_a_patch_is_said_before_the_next_one_is_built(fake: Project) -> None:
    fake.series("change", _FINE, ("2.patch", patch("lib/sort.c", "a < b", "a <= b")))
    checked = [Checked(_FINE[0], ""), Checked("2.patch", "")]
    each = build_each(_definition(), checked, lambda _kernel: 3.5, Progress(quiet=True))
    assert next(each).patch == _FINE[0]
    assert not is_built(resolve("patched@2"))
    assert next(each).patch == "2.patch"


def test_again_from_the_start_where_a_patch_added_a_file(fake: Project) -> None:
    """The object of the new file is still there when the kernel without any patch is looked at."""
    added = diff("kernel/extra.c", "", "int extra;\n").replace("--- a/kernel/extra.c", "--- /dev/null")
    extra = ("1.patch", added + patch("Makefile", "lib/sort.o", "lib/sort.o kernel/extra.o"))
    fake.series("change", extra)
    assert [found.ok for found in _check("1.patch")] == [True]
    assert "kernel/extra.o" in fake.compiled("patched@")
    fake.series("change", extra, _FINE)
    assert [found.ok for found in _check("1.patch", _FINE[0])] == [True, True]


def test_the_first_patches_are_a_kernel_of_their_own(fake: Project) -> None:
    fake.series("change", _FINE, ("2.patch", patch("lib/sort.c", "a < b", "a <= b")))
    kernel = fake.ensure("patched@1")
    assert kernel.name == "patched@1"
    assert kernel.provides == frozenset()
    assert kernel.source is not None
    assert "-1022" in (kernel.source / "kernel/verifier.c").read_text()
    assert "a < b" in (kernel.source / "lib/sort.c").read_text()
    with pytest.raises(UserError, match="series change has 2 patches, not 3"):
        fake.ensure("patched@3")
    with pytest.raises(UserError, match=r"baseline@1: kernel baseline has no series of its own"):
        resolve("baseline@1")


def test_warnings_leave_objects_alone(fake: Project) -> None:
    fake.series("change", ("1.patch", diff("kernel/core.c", _CORE, _WARNS)))
    fake.ensure("patched")
    output = fake.cache / "bpfroots/build/patched/linux/build"
    before = (output / "kernel/core.o").stat()
    found = build.warnings(
        build.plan(_definition(), Progress(quiet=True)), ["kernel/core.c", "no/such.c"], Progress(quiet=True)
    )
    assert [(w.file, w.text) for w in found] == [
        ("kernel/core.c", "unused variable 'unused' [-Wunused-variable]")
    ]
    assert (output / "kernel/core.o").stat().st_mtime_ns == before.st_mtime_ns


def test_fuzz_is_said_and_taken_for_a_build_but_not_for_sending(fake: Project) -> None:
    stale = patch("kernel/verifier.c", "return -13", "return -14").replace(
        " int check_mem_access(int off)", " int check_mem_access(int offset)"
    )
    fake.series("change", ("0001-mem.patch", stale))
    kernel = fake.ensure("patched")
    assert kernel.source is not None
    assert "return -14" in (kernel.source / "kernel/verifier.c").read_text()
    said = fake.said.getvalue()
    assert "patch 1 of 1 needs fuzz: 0001-mem.patch: kernel/verifier.c: Hunk #1 succeeded" in said
    from bpfroots.kernels import check

    with pytest.raises(KernelError, match=r"patch 1 of 1 does not apply: 0001-mem\.patch"):
        check.check(_definition(), Progress(quiet=True))
