"""A test of the kernel's own tree as what a bisection asks: its name, its result, and trees without it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from bpfroots import cache
from bpfroots.bisect import expect, own_tree, predicate
from bpfroots.bisect.own_tree import Asked, _require, _sources, _step, _worst
from bpfroots.errors import KernelError, UserError, Where
from bpfroots.images import Image
from bpfroots.kernels import BootImage, Definition, Kernel, selftests, spec
from bpfroots.machine import Accel
from bpfroots.progress import Progress
from bpfroots.results.model import Step
from bpfroots.results.selftests import Subtest, Tested
from bpfroots.results.store import RunStore
from bpfroots.selftest import modules, progs_build, progs_site


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("test_progs:align", Asked("test_progs", "align")),
        ("test_progs:btf_dump/btf_dump: syntax", Asked("test_progs", "btf_dump", "btf_dump: syntax")),
        ("test_maps:map_percpu_stats", Asked("test_maps", "map_percpu_stats")),
        ("test_verifier:calls: basic sanity", Asked("test_verifier", "calls: basic sanity")),
        ("test_verifier:a/b", Asked("test_verifier", "a/b")),
        ("calls: basic sanity", Asked("test_verifier", "calls: basic sanity")),
        ("unpriv", Asked("test_verifier", "unpriv")),
    ],
)
def test_names(text: str, asked: Asked) -> None:
    assert own_tree.parse(text) == asked
    assert asked.own_tree == (asked.program != "test_verifier")


@pytest.mark.parametrize("text", ["test_progs:", "test_maps:/x", "test_verifier:"])
def test_no_name(text: str) -> None:
    with pytest.raises(UserError, match="no test is named"):
        own_tree.parse(text)


def _kernel(name: str = "0123456789ab") -> Definition:
    return Definition(name=name, source=spec.Checkout("/linux"), config=())


def test_a_tree_without_the_test_is_skipped_and_says_why() -> None:
    asked = Asked("test_progs", "tailcall")
    with pytest.raises(KernelError, match="tree of 0123456789ab has no test test_progs:tailcall") as raised:
        _require(asked, _kernel(), ["align", "tailcalls"])
    assert raised.value.hint == "--selftest test_progs:tailcalls"
    _require(asked, _kernel(), ["align", "tailcall"])


_FAILED = Tested(
    "align",
    "fail",
    "mov: test_mov:FAIL:load unexpected error: -22",
    subtests=[Subtest("mov", "fail", "test_mov:FAIL:load unexpected error: -22"), Subtest("shift", "pass")],
)


def _judged(tested: Tested, subtest: str = "", expected: str = "pass", signature: str = "") -> expect.Judged:
    step = _step(tested, subtest, Step(case="selftest/x", kernel="k", outcome="pass"))
    return expect.judge([expect.parse(expected)], step, signature)


def test_a_test_that_fails_is_bad_and_one_that_passes_is_good() -> None:
    assert _judged(_FAILED).word == "bad"
    assert _judged(Tested("align", "pass")).word == "good"


def test_only_the_subtest_counts_that_was_asked_for() -> None:
    assert _judged(_FAILED, "mov")[::2] == ("bad", "test_mov:FAIL:load unexpected error: -22")
    assert _judged(_FAILED, "shift").word == "good"


def test_another_failure_says_nothing() -> None:
    signature = _judged(_FAILED, "mov").signature
    again = Tested(
        "align", "fail", subtests=[Subtest("mov", "fail", "test_mov:FAIL:load unexpected error: -7")]
    )
    other = Tested("align", "fail", subtests=[Subtest("mov", "fail", "test_mov:FAIL:attach")])
    assert _judged(again, "mov", signature=signature).word == "bad"
    assert _judged(other, "mov", signature=signature).word == "other"


@pytest.mark.parametrize(
    "tested",
    [
        Tested("align", "skip", "not built: x.c:1: no type"),
        Tested("align", "timeout", "align not finished within 480 s"),
        Tested("align", "guest_crash", "panic: boom", console=Where("console/k-1.log", 7)),
        Tested("align", "fail", "test_progs ended with status 139: no message"),
    ],
    ids=lambda tested: tested.outcome,
)
def test_a_subtest_that_did_not_run_says_nothing(tested: Tested) -> None:
    assert _judged(tested, "mov").word == "other"


def test_a_splat_is_bad_where_kernels_have_to_stay_clean() -> None:
    crashed = Tested("align", "guest_crash", "WARNING in x")
    assert _judged(crashed, expected="clean").word == "bad"
    assert _judged(Tested("align", "fail"), expected="clean").word == "good"


def test_what_goes_wrong_after_a_test_is_no_pass() -> None:
    passed, after = Tested("align", "pass"), Tested("exit after align", "guest_crash", "WARNING in x")
    assert _worst([passed, after]) is after
    assert _worst([passed]) is passed


def test_a_predicate_has_its_test() -> None:
    asked = predicate.understand(predicate.PredicateOptions(selftest="test_progs:align/mov"))
    assert asked.selftest == Asked("test_progs", "align", "mov")
    assert asked.case == "selftest/test_progs:align/mov"
    with pytest.raises(UserError, match="a selftest only tells"):
        predicate.understand(predicate.PredicateOptions(selftest="test_progs:align", expect=("accept",)))


def test_tests_of_one_tree_for_all_commits() -> None:
    asked = predicate.PredicateOptions(selftest="test_maps:sk_storage_map", tests_from="v7.3")
    assert predicate.understand(asked).tests_from == "v7.3"
    with pytest.raises(UserError, match="--tests-from is for tests of test_progs and test_maps"):
        predicate.understand(predicate.PredicateOptions(selftest="calls: basic", tests_from="v7.3"))


def test_a_tree_for_all_commits_has_to_have_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = tmp_path / selftests.DIRECTORY / "prog_tests"
    tests.mkdir(parents=True)
    (tests / "align.c").write_text("void test_align(void)\n{\n}\n")
    monkeypatch.setattr("bpfroots.kernels.resolve", lambda _: _kernel("v7.3"))
    monkeypatch.setattr("bpfroots.kernels.tools_source", lambda *_: (tmp_path, "digest"))
    found = _sources(Asked("test_progs", "align"), "v7.3", Progress(quiet=True))
    assert (found.tree, found.digest) == (tmp_path, "digest")
    with pytest.raises(UserError, match=r"--tests-from .* has no test test_progs:alig"):
        _sources(Asked("test_progs", "alig"), "v7.3", Progress(quiet=True))


def test_what_was_built_for_a_kernel_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tree, "cache_root", lambda: tmp_path)
    runner = own_tree.OwnTree(
        *(Asked("test_progs", "align"), cast("RunStore", None), Accel("tcg", "", 1.0), Progress(quiet=True)),
        as_is=True,
        tests_from="",
    )
    places = [("selftests", "program"), ("selftests", modules.cache_key(_built("a"))), ("layers", "image")]
    for where, key in places:
        cache.Cache(tmp_path, where).get(key, lambda out: (out / "x").touch())
    kept = cache.Cache(tmp_path, "selftests").get("other", lambda out: (out / "x").touch())
    image = Image(Path("image"), "image")
    report = progs_build.Report("clang", [], {})
    files = tmp_path / "selftests/program/files"
    runner._sites["a"] = progs_site.Site(_built("a"), image, report, image, files)
    runner.discard(_built("b"))
    assert all(cache.Cache(tmp_path, where).peek(key) for where, key in places)
    runner.discard(_built("a"))
    assert not any(cache.Cache(tmp_path, where).peek(key) for where, key in places)
    assert kept.is_dir()


def _built(name: str) -> Kernel:
    return Kernel(name, name, f"key-{name}", "7.3.4", BootImage(Path("bzImage")))
