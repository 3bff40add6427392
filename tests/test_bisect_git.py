"""Git bisects the fake kernel tree, which is really built; what its kernels would say is read from them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from bpfroots.bisect import expect, trees
from bpfroots.bisect import kernel as building
from bpfroots.bisect.commits import CommitHistory
from bpfroots.bisect.model import Found, Judgement, add_judgement, read_judgements
from bpfroots.bisect.predicate import Predicate, PredicateRunner
from bpfroots.bisect.run import Kernels
from bpfroots.bisect.search import Search
from bpfroots.errors import KernelError, UserError
from bpfroots.kernels import Kernel, Request
from bpfroots.progress import Progress
from bpfroots.results.model import Cell
from bpfroots.results.store import RunStore
from tests.kernel_project import Project, Tree, diff, project

_CODE = "return -22"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        (made.root / "results").mkdir()
        made.fragment("base", "CONFIG_BPF=y\n")
        made.ensure("baseline")
        yield made


class Reader:
    """Asks a kernel by looking into it: it accepts what it should not where it says so."""

    def __init__(self, interrupt_after: int = 1000) -> None:
        self.store = RunStore.create("bisect", ["bpfroots"])
        self.asked: list[str] = []
        self._left = interrupt_after

    def configured(self, wanted: Request) -> Request:
        return wanted

    def prepare(self, wanted: Request) -> str:  # noqa: ARG002
        return ""

    def ask(self, kernel: Kernel, number: int = 1) -> Cell:  # noqa: ARG002
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        assert kernel.image.vmlinux is not None
        self.asked.append(kernel.name)
        bad = b"loosened" in kernel.image.vmlinux.read_bytes()
        verdict = "accept" if bad else "reject"
        return Cell("c", kernel.name, "duplicate", outcome="pass", verdict=verdict)  # type: ignore[arg-type]


def _history(tree: Tree, commits: int, loosened: int, broken: int = 0) -> list[str]:
    """Ids of ``commits`` commits above the first one, which is number 0."""
    ids = [tree.git("rev-parse", "HEAD")]
    path = tree.path / "kernel/verifier.c"
    for number in range(1, commits + 1):
        text = path.read_text()
        if number == loosened:
            text += 'const char loosened[] = "loosened";\n'
        if number == broken:
            text += "statik int broken;\n"
        if number == broken + 1:
            text = text.replace("statik", "static")
        path.write_text(f"{text}int change_{number}(void) {{ return {number}; }}\n")
        ids.append(tree.commit(f"change {number}"))
    return ids


def _bisect(
    fake: Project, wanted: trees.Wanted, reader: Reader, known: Sequence[Judgement] = ()
) -> tuple[Found, str]:
    predicate = Predicate("c", None, (expect.parse("verdict!=accept"),))
    with trees.opened(wanted, Progress(fake.said)) as (history, good, bad):
        config = building.fragments(building.Recipe(), selftest=False)
        tester = Kernels(history, config, cast("PredicateRunner", reader), Progress(fake.said))

        def note(judgement: Judgement) -> None:
            add_judgement(reader.store.path, judgement)

        search = Search(
            history, tester, predicate, (good, bad), wanted=0.99, most=100, known=known, note=note
        )
        return search.run(), history.log()


def _state(tree: Tree) -> list[str]:
    return [
        tree.git("status", "--porcelain"),
        tree.git("rev-parse", "HEAD"),
        tree.git("for-each-ref"),
        tree.git("worktree", "list"),
        tree.git("rev-parse", "--abbrev-ref", "HEAD"),
    ]


def test_finds_it_and_leaves_the_tree_alone(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    ids = _history(tree, 12, loosened=5, broken=6)
    tree.git("checkout", "-q", ids[3])
    before = _state(tree)
    reader = Reader()
    found, log = _bisect(fake, trees.Wanted(str(tree.path), ids[0], ids[12]), reader)
    assert found.suspects == [ids[5]]
    assert _state(tree) == before
    skipped = [j.commit for j in found.judgements if j.word == "skip"]
    assert skipped == [ids[6]]
    assert found.builds <= math.ceil(math.log2(12)) + 2 + len(skipped)
    assert re.search(r"^# skip: ", log, re.MULTILINE)

    tree.git("checkout", "-q", "-f", ids[12])
    (tmp_path / "bisect.log").write_text(log)
    replayed = tree.git("bisect", "replay", str(tmp_path / "bisect.log"))
    assert f"{ids[5]} is the first bad commit" in replayed


class _OfTree(Reader):
    """What it asks comes from the tree, from commit to commit another thing; ``without`` have none."""

    def __init__(self, without: Sequence[str] = ()) -> None:
        super().__init__()
        self._without = without

    def prepare(self, wanted: Request) -> str:
        if wanted.name in {commit[:12] for commit in self._without}:
            msg = f"the tree of {wanted.name} has no test test_progs:align"
            raise KernelError(msg)
        return wanted.name


def test_a_commit_whose_tree_has_no_such_test_is_skipped(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    ids = _history(tree, 8, loosened=3)
    wanted = trees.Wanted(str(tree.path), ids[0], ids[8])
    found, _ = _bisect(fake, wanted, _OfTree(without=[ids[4]]))
    assert found.suspects == [ids[3]]
    skipped = {judgement.commit: judgement.why for judgement in found.judgements if judgement.word == "skip"}
    assert skipped == {ids[4]: f"the tree of {ids[4][:12]} has no test test_progs:align"}
    with pytest.raises(
        UserError, match=f"good end {ids[0][:12]} cannot be tested: .* no test test_progs:align"
    ):
        _bisect(fake, wanted, _OfTree(without=[ids[0]]))


def test_an_equal_kernel_with_another_test_is_run(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    ids = _history(tree, 2, loosened=2)
    (tree.path / "README").write_text("changes no code\n")
    ids.append(tree.commit("change 3"))
    wanted = trees.Wanted(str(tree.path), ids[0], ids[3])
    reader, same = _OfTree(), Reader()
    assert _bisect(fake, wanted, reader)[0].suspects == _bisect(fake, wanted, same)[0].suspects == [ids[2]]
    assert ids[2][:12] in reader.asked
    assert ids[2][:12] not in same.asked


@pytest.mark.parametrize("skipped", [{20}, set(range(15, 26))], ids=len)
def test_a_skipped_commit_costs_no_step_but_its_own(tmp_path: Path, skipped: set[int]) -> None:
    """Whatever the ids of the commits are, by which git breaks ties and jumps away from what is skipped."""
    tree = Tree(tmp_path / "tree")
    ids = _history(tree, 40, loosened=0)
    history = CommitHistory(tree.path)
    for first in (1, 14, 19, 20, 21, 27, 40):
        history.start(ids[0], ids[40])
        tested = []
        while not history.suspects():
            number = ids.index(history.to_test())
            assert number not in tested
            tested.append(number)
            history.mark("skip" if number in skipped else "bad" if number >= first else "good", ids[number])
        assert ids[first] in history.suspects()
        assert len([n for n in tested if n not in skipped]) <= math.ceil(math.log2(40))


def test_goes_on_where_it_was_broken_off(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    ids = _history(tree, 12, loosened=5)
    wanted = trees.Wanted(str(tree.path), ids[0], ids[12])
    first = Reader(interrupt_after=8)
    with pytest.raises(KeyboardInterrupt):
        _bisect(fake, wanted, first)
    known = read_judgements(first.store.path)
    assert [j.word for j in known[:2]] == ["good", "bad"]
    # A kill in the midst of a line: that commit was never judged.
    with (first.store.path / "judgements.jsonl").open("a") as file:
        file.write('{"commit": "1234')
    assert read_judgements(first.store.path) == known

    second = Reader()
    found, _ = _bisect(fake, wanted, second, known)
    assert found.suspects == [ids[5]]
    assert not {j.commit[:12] for j in known[1:] if j.word == "bad"}.intersection(second.asked)
    add_judgement(first.store.path, Judgement(ids[1], "good"))
    assert read_judgements(first.store.path) == [*known, Judgement(ids[1], "good")]


def test_a_merged_branch(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    base = tree.git("rev-parse", "HEAD")
    tree.git("checkout", "-q", "-b", "side")
    side = _history(tree, 3, loosened=2)
    tree.git("checkout", "-q", "--detach", base)
    (tree.path / "lib/sort.c").write_text((tree.path / "lib/sort.c").read_text() + "int other;\n")
    tree.commit("on the other side")
    tree.git("merge", "-q", "-m", "merge", "side")
    found, _ = _bisect(fake, trees.Wanted(str(tree.path), base, "HEAD"), Reader())
    assert found.suspects == [side[2]]
    assert CommitHistory(tree.path).merges(base, "HEAD") == 1
    assert CommitHistory(tree.path).merges(base, side[3]) == 0


def test_ends_without_a_common_commit(fake: Project, tmp_path: Path) -> None:
    """Before a work tree is made, or anything is built."""
    tree = Tree(tmp_path / "tree")
    first = tree.git("rev-parse", "HEAD")
    tree.git("checkout", "-q", "--orphan", "other")
    other = tree.commit("another history")
    assert other != first
    before = _state(tree)
    for good, bad in ((first, other), (other, first)):
        with pytest.raises(
            UserError, match=f"{good[:12]} and the bad end {bad[:12]} have no commit in common"
        ):
            _bisect(fake, trees.Wanted(str(tree.path), good, bad), Reader())
    assert _state(tree) == before
    assert list((fake.cache / "bpfroots/bisect").rglob("linux")) == []


def test_ends_on_two_branches(fake: Project, tmp_path: Path) -> None:
    """Where they part is tested as well, and is good: the first bad commit is on the bad end's side."""
    tree = Tree(tmp_path / "tree")
    base = tree.git("rev-parse", "HEAD")
    tree.git("checkout", "-q", "-b", "side")
    side = _history(tree, 3, loosened=2)
    tree.git("checkout", "-q", "--detach", base)
    good = tree.edit("lib/sort.c", "a < b", "a <= b")
    reader = Reader()
    found, _ = _bisect(fake, trees.Wanted(str(tree.path), good, side[3]), reader)
    assert found.suspects == [side[2]]
    assert base[:12] in reader.asked


def test_which_patch_of_a_series(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    text = (tree.path / "kernel/verifier.c").read_text()
    steps = [text, f"{text}int one;\n", f'{text}int one;\nconst char loosened[] = "loosened";\n']
    mails = [_mail(n, diff("kernel/verifier.c", *steps[n - 1 : n + 1])) for n in (1, 2)]
    series = fake.series("mine", ("0001-one.patch", mails[0]), ("0002-two.patch", mails[1]))
    before = _state(tree)
    found, _ = _bisect(fake, trees.Wanted(str(tree.path), series=str(series)), Reader())
    assert _state(tree) == before
    assert CommitHistory(tree.path).commit(found.suspects[0]).subject == "change 2"
    again, _ = _bisect(fake, trees.Wanted(str(tree.path), series=str(series)), Reader())
    assert again.suspects == found.suspects

    fake.define("patched", 'base = "baseline"\nseries = "mine"\n')
    named, _ = _bisect(fake, trees.Wanted(series="mine"), Reader())
    assert len(named.suspects) == 1
    assert named.commits == 2


def test_a_series_that_is_no_kernels(fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox somewhere, the second patch first, with CRLF; on a tree and on baseline's source."""
    tree = Tree(tmp_path / "tree")
    text = (tree.path / "kernel/verifier.c").read_text()
    steps = [text, f"{text}int one;\n", f'{text}int one;\nconst char loosened[] = "loosened";\n']
    mails = [_mail(n, diff("kernel/verifier.c", *steps[n - 1 : n + 1])) for n in (2, 1)]
    numbered = [mail.replace("[PATCH]", f"[PATCH {n}/2]") for n, mail in zip((2, 1), mails, strict=True)]
    thread = tmp_path / "my thread.mbox"
    thread.write_bytes("".join(numbered).replace("\n", "\r\n").encode())
    monkeypatch.chdir(tmp_path)
    for linux in ("", str(tree.path)):
        series = trees.absolute("my thread.mbox", linux=bool(linux))
        assert series == str(thread)
        reader = Reader()
        found, _ = _bisect(fake, trees.Wanted(linux, series=series), reader)
        assert found.commits == 2
        assert reader.asked[1][:12] == found.suspects[0][:12]
    assert list((fake.cache / "bpfroots/bisect").rglob("linux")) == []  # no source tree for each file

    thread.write_text(numbered[0])
    (tmp_path / "one").mkdir()
    (tmp_path / "one/0002.patch").write_text(numbered[0])
    before = _state(tree)
    for linux in ("", str(tree.path)):
        reader = Reader()
        with pytest.raises(UserError, match="one: 1/2 is missing"):
            _bisect(fake, trees.Wanted(linux, series=str(tmp_path / "one")), reader)
        assert reader.asked == []
    assert _state(tree) == before


def test_a_series_of_a_kernel_wins_over_a_file(
    fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.series("mine")
    fake.define("patched", 'base = "baseline"\nseries = "mine"\n')
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert trees.absolute("mine", linux=False) == "mine"
    assert trees.absolute("./mine", linux=False) == str(tmp_path / "mine")
    assert trees.absolute("mine", linux=True) == str(tmp_path / "mine")
    assert trees.absolute("nowhere", linux=False) == "nowhere"


def _mail(number: int, text: str) -> str:
    head, _, rest = text.partition("Subject:")
    mail = f"{head}From: A <a@example.org>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\nSubject:{rest}"
    return mail.replace("kernel/verifier.c\n", f"change {number}\n", 1)


def test_what_cannot_be_bisected(fake: Project, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    ids = _history(tree, 3, loosened=2)
    path = str(tree.path)
    for wanted, words in (
        (trees.Wanted(path, ids[3], ids[0]), "wrong order: the bad one is an ancestor"),
        (trees.Wanted(path, ids[3], ids[3]), "are one commit"),
        (trees.Wanted(path, ids[0], ids[1]), "the ends do not differ"),
        (trees.Wanted(path, ids[2], ids[3]), "is not good: accept"),
        (trees.Wanted(path, "v9.9", ids[3]), "no revision v9.9"),
        (trees.Wanted(path, ids[0]), "without --good and --bad"),
        (trees.Wanted(), "nothing to bisect"),
        (trees.Wanted(str(tmp_path / "nowhere"), ids[0], ids[1]), "no git work tree"),
        (trees.Wanted(series="nobodys"), "no kernel in kernels/ has that series"),
    ):
        with pytest.raises(UserError, match=words):
            _bisect(fake, wanted, Reader())
    fake.define("bad", "config = [")
    with pytest.raises(UserError, match="no kernel in kernels/ has that series") as caught:
        _bisect(fake, trees.Wanted(series="nobodys"), Reader())
    assert caught.value.detail.startswith("kernels/bad.toml: not TOML")
    series = fake.series("odd", ("0001.patch", _mail(1, diff("kernel/verifier.c", "a\n", "b\n"))))
    with pytest.raises(KernelError, match="does not apply"):
        _bisect(fake, trees.Wanted(path, series=str(series)), Reader())
