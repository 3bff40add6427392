"""Kernels with a series, with the real tools on a fake tree that takes a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import resolve
from tests.kernel_project import (
    BASELINE,
    CTX,
    FAKE,
    PATCHED,
    Project,
    diff,
    patch,
    project,
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


def test_patched_compiles_what_the_series_changes(fake: Project) -> None:
    fake.series("change", ("0001-ctx.patch", patch(*CTX)))
    fake.define("patched", PATCHED)
    base = fake.ensure("baseline")
    kernel = fake.ensure("patched")
    assert fake.compiled("patched") == ["kernel/verifier.o"]
    assert kernel.provides == {"multi_root"}
    assert kernel.append == ("quiet",)
    assert kernel.key != base.key
    assert kernel.image.path.read_bytes() != base.image.path.read_bytes()
    assert kernel.source is not None
    assert "-1022" in (kernel.source / "kernel/verifier.c").read_text()
    assert base.source is not None
    assert "-1022" not in (base.source / "kernel/verifier.c").read_text()


def test_an_edit_of_one_patch_compiles_one_object(fake: Project) -> None:
    core = ("0002-core.patch", patch("kernel/core.c", "return insn", "return insn + 1"))
    fake.series("change", ("0001-ctx.patch", patch(*CTX)), core)
    fake.define("patched", PATCHED)
    fake.ensure("patched")
    assert len(fake.compiled("patched")) == 4

    fake.series("change", ("0001-ctx.patch", patch(CTX[0], CTX[1], "return -2022")), core)
    fake.ensure("patched")
    assert fake.compiled("patched") == ["kernel/verifier.o"]
    assert "1 source file changed" in fake.said.getvalue()

    # A patch that goes away takes its change along, though the old file is older than the object.
    fake.series("change", core)
    kernel = fake.ensure("patched")
    assert fake.compiled("patched") == ["kernel/verifier.o"]
    assert kernel.source is not None
    assert (kernel.source / "kernel/verifier.c").read_text() == (FAKE / "kernel/verifier.c").read_text()


def test_incremental_and_cold_give_the_same_bytes(
    fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.define("patched", PATCHED)
    fake.series("change", ("0001.patch", patch("lib/sort.c", "a < b", "a <= b")))
    fake.ensure("patched")
    fake.series("change", ("0001.patch", patch(*CTX)))
    incremental = fake.ensure("patched")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cold = fake.ensure("patched")
    assert cold.key == incremental.key
    assert cold.image.path.read_bytes() == incremental.image.path.read_bytes()


def test_series_adds_renames_and_deletes_files(fake: Project) -> None:
    text = diff("kernel/extra.c", "", "int extra;\n").replace("--- a/kernel/extra.c", "--- /dev/null")
    gone = (FAKE / "Kbuild").read_text()
    delete = diff("Kbuild", gone, "").replace("+++ b/Kbuild", "+++ /dev/null")
    rename = "diff --git a/lib/sort.c b/lib/order.c\nsimilarity index 100%\n"
    rename += "rename from lib/sort.c\nrename to lib/order.c\n"
    makefile = patch("Makefile", "lib/sort.o", "lib/order.o")
    fake.series("change", ("1.patch", text), ("2.patch", rename), ("3.patch", makefile))
    fake.define("patched", PATCHED)
    kernel = fake.ensure("patched")
    assert kernel.source is not None
    assert (kernel.source / "kernel/extra.c").read_text() == "int extra;\n"
    assert not (kernel.source / "lib/sort.c").exists()
    assert "lib/order.o" in fake.compiled("patched")
    fake.series("change", ("1.patch", text), ("2.patch", rename), ("3.patch", makefile), ("4.patch", delete))
    fake.ensure("patched")
    assert not (kernel.source / "Kbuild").exists()


def test_a_series_as_a_mail_program_saved_it(fake: Project) -> None:
    fake.series("change", ("0001-ctx.patch", patch(*CTX)))
    fake.define("patched", PATCHED)
    plain = fake.ensure("patched")
    (fake.root / "kernels/patches/change/0001-ctx.patch").write_bytes(
        patch(*CTX).replace("\n", "\r\n").encode()
    )
    crlf = fake.ensure("patched")
    assert plain.source is not None
    assert "-1022" in (plain.source / "kernel/verifier.c").read_text()
    assert "\r" not in (plain.source / "kernel/verifier.c").read_text()
    assert crlf.image.path.read_bytes() == plain.image.path.read_bytes()
    assert fake.compiled("patched") == []


def test_a_series_on_top_of_the_series_of_the_base(fake: Project) -> None:
    old, new = "return -13", "return -77"
    fake.series("change", ("0001-first.patch", patch("kernel/verifier.c", old, new)))
    fake.series(
        "more", ("0001-second.patch", patch("kernel/verifier.c", old, "return -78").replace(old, new))
    )
    fake.define("patched", PATCHED)
    fake.define("more", 'base = "patched"\nseries = "more"\n')
    kernel = fake.ensure("more")
    assert kernel.source is not None
    text = (kernel.source / "kernel/verifier.c").read_text()
    assert "return -78" in text
    assert new not in text
    fake.define("more", 'base = "baseline"\nseries = "more"\n')
    with pytest.raises(KernelError, match=r"patch 1 of 1 does not apply: 0001-second\.patch"):
        fake.ensure("more")


def test_several_series_of_one_kernel(fake: Project) -> None:
    old, new = "return -13", "return -77"
    fake.series("change", ("0001-first.patch", patch("kernel/verifier.c", old, new)))
    fake.series(
        "more", ("0001-second.patch", patch("kernel/verifier.c", old, "return -78").replace(old, new))
    )
    fake.define("patched", 'base = "baseline"\nseries = ["change", "more"]\n')

    def text(name: str) -> str:
        kernel = fake.ensure(name)
        assert kernel.source is not None
        return (kernel.source / "kernel/verifier.c").read_text()

    assert "return -78" in text("patched")
    assert new in text("patched@1")
    assert "return -78" in text("patched@2")
    with pytest.raises(UserError, match=r"series change\+more has 2 patches, not 3"):
        fake.ensure("patched@3")
    fake.define("more", 'base = "patched"\n')
    with pytest.raises(UserError, match="kernel more has no series of its own"):
        resolve("more@1")
    fake.define("patched", 'base = "baseline"\nseries = ["more", "change"]\n')
    with pytest.raises(KernelError, match=r"patch 1 of 2 does not apply: 0001-second\.patch"):
        fake.ensure("patched")


def test_patch_that_does_not_apply(fake: Project) -> None:
    stale = patch("kernel/verifier.c", "return -13", "return -14").replace(
        "-\t\treturn -13", "-\t\treturn -99"
    )
    fake.series("change", ("0001-ctx.patch", patch(*CTX)), ("0002-mem.patch", stale))
    fake.define("patched", PATCHED)
    with pytest.raises(KernelError) as caught:
        fake.ensure("patched")
    assert caught.value.message == "patch 2 of 2 does not apply: 0002-mem.patch"
    assert "kernel/verifier.c:10: hunk 1 of 1 rejected" in caught.value.detail
    kept = next(line for line in caught.value.detail.splitlines() if line.startswith("kept in "))
    assert "return -99" in Path(kept.removeprefix("kept in ")).read_text()
    assert caught.value.exit_code == 3


def test_vanished_symbols_are_named_with_the_reason(fake: Project) -> None:
    fake.fragment("base", "CONFIG_BPF_JIT=y\nCONFIG_NO_SUCH=y\nCONFIG_PRINTK=n\nCONFIG_BPF=y\n")
    fake.fragment("later", "CONFIG_BPF=n\n")
    fake.define("baseline", BASELINE.format(version="x").replace('["base"]', '["base", "later"]'))
    with pytest.raises(KernelError) as caught:
        fake.ensure("baseline")
    lines = caught.value.detail.splitlines()
    assert lines == [
        "base.config:1: CONFIG_BPF_JIT=y became n: dependencies not met: BPF",
        "base.config:2: CONFIG_NO_SUCH=y became n: not in this kernel's Kconfig",
        "base.config:3: CONFIG_PRINTK=n became y: overridden by another symbol (select, or a choice)",
    ]
    assert "CONFIG_BPF_JIT=y (base.config:1) did not survive and 2 more" in caught.value.message
