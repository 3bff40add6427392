"""Series as people have them: whatever git am takes, in whatever form, makes the tree that git am makes."""

from __future__ import annotations

import email
import email.policy
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfroots.errors import UserError
from bpfroots.kernels import Definition, mail, resolve, series, source
from bpfroots.kernels.mail import Mail
from bpfroots.kernels.thread import in_order
from bpfroots.progress import Progress
from tests.kernel_project import Project, Tree, patch, project

_FORMS_OF_6_12 = Path(__file__).parent / "series"
_AUTHOR = "Jörg Müller-Łuć, M.D. <joerg@example.org>"
# Longer than a line of a mail may be, with what quoted-printable and mailboxes have to escape.
_LONG = f"int long_line; /* {'=3D from ' * 200} */\n"
_MESSAGE = "From a line that begins like a mailbox's\n\nBody with ünïcode.\n\nReported-by: S <s@example.org>"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path / "fake", monkeypatch) as made:
        yield made


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Three commits on "base": they change a file, add one, and rename one."""
    made = Tree(tmp_path / "tree")
    made.git("tag", "base")
    for number, edit in enumerate((_change, _add, _rename), 1):
        edit(made)
        made.git("add", "-A", "-f")
        made.git("commit", "-q", f"--author={_AUTHOR}", "-m", f"bpf: [core] step {number}\n\n{_MESSAGE}")
    return made


def _change(tree: Tree) -> None:
    file = tree.path / "kernel/verifier.c"
    file.write_text(file.read_text().replace("return -22", "return -1"))


def _add(tree: Tree) -> None:
    (tree.path / "kernel/added.c").write_text(_LONG + "From here on: no newline at the end")


def _rename(tree: Tree) -> None:
    tree.git("mv", "lib/sort.c", "lib/order.c")


def _format(tree: Tree, out: Path, *options: str) -> list[Path]:
    tree.git("format-patch", "-q", "--cover-letter", *options, "-o", str(out), "base")
    return sorted(out.glob("*.patch"))


# -- every form


def _crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


def _encoded(encoding: str) -> Callable[[bytes], bytes]:
    def encode(content: bytes) -> bytes:
        parsed = email.message_from_bytes(content, policy=email.policy.SMTP.clone(linesep="\n"))
        body = parsed.get_payload(decode=True)
        assert isinstance(body, bytes)
        parsed.set_content(body.decode(), cte=encoding)
        return bytes(parsed)

    return encode


def _attached(content: bytes) -> bytes:
    """Attached, as mail programs do that would fold lines."""
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    body = parsed.get_payload(decode=True)
    assert isinstance(body, bytes)
    message, _, patch = body.decode().partition("---\n")
    made = email.message.EmailMessage()
    for name in ("From", "Subject", "Date"):
        made[name] = parsed[name]
    made.set_content(message)
    made.add_attachment(f"---\n{patch}", subtype="x-patch", cte="base64", filename="x.patch")
    return bytes(made)


def _directory(patches: list[Path], out: Path, change: Callable[[bytes], bytes]) -> Path:
    for file in patches:
        (out / file.name).write_bytes(change(file.read_bytes()))
    return out


def _mbox(patches: list[Path], out: Path) -> Path:
    """A mailbox of the thread, the newest mail first."""
    path = out / "thread.mbox"
    path.write_bytes(b"".join(patch.read_bytes() for patch in reversed(patches)))
    return path


def _mboxrd(patches: list[Path], out: Path) -> Path:
    """As lore.kernel.org gives it."""
    path = out / "t.mbox"
    with path.open("wb") as file:
        for patch in reversed(patches):
            _, _, content = patch.read_bytes().partition(b"\n")
            escaped = re.sub(rb"^(>*From )", rb">\1", content, flags=re.MULTILINE)
            file.write(b"From mboxrd@z Thu Jan  1 00:00:00 1970\n" + escaped + b"\n")
    return path


_FORMS: dict[str, Callable[[list[Path], Path], Path]] = {
    "plain": lambda patches, out: _directory(patches, out, lambda content: content),
    "crlf": lambda patches, out: _directory(patches, out, _crlf),
    "quoted-printable": lambda patches, out: _directory(patches, out, _encoded("quoted-printable")),
    "base64": lambda patches, out: _directory(patches, out, _encoded("base64")),
    "base64 of crlf": lambda patches, out: _directory(patches, out, lambda c: _encoded("base64")(_crlf(c))),
    "attached": lambda patches, out: _directory(patches, out, _attached),
    "mbox": _mbox,
    "mboxrd": _mboxrd,
    "mbox of crlf": lambda patches, out: _directory([_mbox(patches, out)], out, _crlf) / "thread.mbox",
}


@pytest.mark.parametrize("listed", [False, True], ids=["found", "listed"])
@pytest.mark.parametrize("form", _FORMS)
def test_every_form_is_what_git_am_makes_of_it(
    form: str, listed: bool, tree: Tree, fake: Project, tmp_path: Path
) -> None:
    patches = _format(tree, tmp_path / "patches")
    (tmp_path / "form").mkdir()
    path = _FORMS[form](patches, tmp_path / "form")
    if listed and path.is_dir():
        (path / "series").write_text("".join(f"{patch.name}\n" for patch in patches[1:]))
    found = series.read([path]).patches
    assert len(found) == 3
    assert all(mail.is_plain(patch.read_bytes()) for patch in found)

    ours = _applied(tree, found)
    assert ours == tree.git("log", "--format=%T %an <%ae> %at %B", "base..master")
    # What a kernel is built from.
    (tmp_path / "work").mkdir()
    origin = tmp_path / "origin"
    tree.git("worktree", "add", "-q", str(origin), "base")
    touched = series.apply(series.read([path]), origin, tmp_path / "work", "base")
    assert {"kernel/verifier.c", "kernel/added.c", "lib/sort.c", "lib/order.c"} <= touched
    for file in ("kernel/verifier.c", "kernel/added.c", "lib/order.c"):
        assert (tmp_path / "work/tree" / file).read_bytes() == (tree.path / file).read_bytes()
    assert not (tmp_path / "work/tree/lib/sort.c").exists()


def _applied(tree: Tree, patches: tuple[Path, ...]) -> str:
    tree.git("branch", "-M", "master")
    tree.git("checkout", "-q", "-b", "ours", "base")
    tree.git("am", "-q", *map(str, patches))
    said = tree.git("log", "--format=%T %an <%ae> %at %B", "base..ours")
    tree.git("checkout", "-q", "master")
    return said


def test_twin_a_changed_line_is_another_tree(tree: Tree, fake: Project, tmp_path: Path) -> None:
    patches = _format(tree, tmp_path)
    patches[1].write_text(patches[1].read_text().replace("return -1;", "return -2;"))
    ours = _applied(tree, series.read([tmp_path]).patches)
    assert ours != tree.git("log", "--format=%T %an <%ae> %at %B", "base..master")


def test_a_plain_diff_stays_as_it_is(fake: Project, tmp_path: Path) -> None:
    """Without headers, as of `git diff`; with CRLF it is plain afterwards."""
    plain = patch("kernel/core.c", "return insn", "return insn + 1").partition("---\n")[2].encode()
    assert plain.startswith(b"--- a/kernel/core.c\n")
    for content in (plain, _crlf(plain)):
        (tmp_path / "one.diff").write_bytes(content)
        (found,) = series.read([tmp_path / "one.diff"]).patches
        assert found.read_bytes() == plain
    (tmp_path / "series").write_text("one.diff\n")
    (tmp_path / "one.diff").write_bytes(plain)
    assert series.read([tmp_path]).patches == (tmp_path / "one.diff",)


def test_a_file_with_crlf_of_its_own_keeps_them(fake: Project, tmp_path: Path) -> None:
    """git format-patch of such a file has LF in headers and context, CRLF in what is of the file."""
    text = patch("kernel/core.c", "return insn", "return insn + 1").replace(";\n", ";\r\n")
    directory = tmp_path / "listed"
    directory.mkdir()
    (directory / "1.patch").write_bytes(text.encode())
    (directory / "series").write_text("1.patch\n")
    assert series.read([directory]).patches == (directory / "1.patch",)


# -- which mails of a thread


def _mail(subject: str, patch: str = "---\ndiff --git a/x b/x\n") -> Mail:
    return Mail("A <a@example.org>", "", subject, b"", patch.encode())


def _ordered(*subjects: str) -> list[str]:
    return [one.title for one in in_order([_mail(subject) for subject in subjects], "thread")]


_COVER = _mail("[PATCH v2 0/2] bpf: all of it", "---\n kernel/x.c | 2 +-\n")


def test_numbers_give_the_order() -> None:
    assert _ordered("[PATCH 2/3] two", "[PATCH 3/3] three", "[PATCH 1/3] one") == ["one", "two", "three"]
    many = [f"[PATCH bpf-next v4 {n:02}/12] {n}" for n in range(12, 0, -1)]
    assert _ordered(*many) == [str(n) for n in range(1, 13)]
    assert _ordered("[RFC PATCH v2 2/2] two", "[RFC][PATCH][v2][1/2] one") == ["one", "two"]


def test_without_numbers_the_order_is_the_files() -> None:
    assert _ordered("[PATCH] b", "[PATCH] a", "c") == ["b", "a", "c"]
    assert _ordered("[PATCH] b", "[PATCH v2] b2") == ["b2"]


def test_replies_and_covers_are_left_out() -> None:
    """A reply may have a diff: what its author would rather see."""
    patches = [_mail("[PATCH v2 2/2] two"), _mail("[PATCH v2 1/2] one")]
    talk = [_mail("Re: [PATCH v2 1/2] one"), _mail("RE: [PATCH v2 2/2] two"), _mail("Applied", "thanks\n")]
    assert [one.title for one in in_order([*talk, _COVER, *patches], "thread")] == ["one", "two"]


def test_the_newest_version_wins() -> None:
    old = [f"[PATCH {n}/3] old {n}" for n in (1, 2, 3)]
    newer = [f"[PATCH v10 {n}/2] newer {n}" for n in (2, 1)]
    between = ["[PATCH v9 1/2] v9", "[PATCH v9 2/2] v9"]
    assert _ordered(*old, *newer, *between) == ["newer 1", "newer 2"]


def test_one_mail_that_came_by_two_ways_is_one() -> None:
    assert _ordered("[PATCH 1/2] one", "[PATCH 2/2] two", "[PATCH 1/2] one") == ["one", "two"]


@pytest.mark.parametrize(
    ("subjects", "says"),
    [
        (["[PATCH 1/3] one", "[PATCH 3/3] three"], "thread: 2/3 is missing"),
        (["[PATCH v2 2/4] two", "[PATCH v2 4/4] four"], "thread: 1/4, 3/4 are missing"),
        # A part of a newer version is no series, nor is it one with the rest of the older version.
        (["[PATCH 1/2] one", "[PATCH 2/2] two", "[PATCH v2 2/2] two"], "thread: 1/2 is missing"),
        (["[PATCH 1/2] one", "[PATCH 2/2] two", "[PATCH v2 0/2] cover"], "thread: 1/2, 2/2 are missing"),
        (
            ["[PATCH 1/2] one", "[PATCH 2/2] two", "[PATCH 2/2] other"],
            "of several series: .*two.* and .*other",
        ),
        (
            ["[PATCH 1/2] one", "[PATCH 2/3] two"],
            r"of several series: '\[PATCH 1/2\] one' and '\[PATCH 2/3\] two'",
        ),
        (
            ["[PATCH 1/2] one", "[PATCH 2/2] two", "[PATCH] and"],
            "'\\[PATCH\\] and' has no number, and others have",
        ),
        (["Re: [PATCH 1/1] one"], "thread: no patch in it"),
        ([], "thread: no patch in it"),
    ],
)
def test_what_is_no_series(subjects: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        _ordered(*subjects)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_what_is_there_is_listed_where_something_is_missing() -> None:
    with pytest.raises(UserError) as caught:
        _ordered("[PATCH 3/4] three", "[PATCH 1/4] one")
    assert caught.value.detail == "there is [PATCH 1/4] one\nthere is [PATCH 3/4] three"


def test_a_patch_that_is_given_alone_needs_no_others(tree: Tree, fake: Project, tmp_path: Path) -> None:
    second = _format(tree, tmp_path / "all")[2]
    (alone,) = series.read([second]).patches
    assert alone.name == second.name
    (tmp_path / "one").mkdir()
    shutil.copy(second, tmp_path / "one")
    with pytest.raises(UserError, match=r"one: 1/3, 3/3 are missing") as caught:
        series.read([tmp_path / "one"])
    assert caught.value.detail == "there is [PATCH 2/3] bpf: [core] step 2"
    assert "file `series`" in caught.value.hint


def test_what_is_no_mail_at_all(fake: Project, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("patches\n")
    for path, says in (
        (tmp_path / "nowhere", "nowhere: no such series"),
        (tmp_path / "README", "README: no patch in it"),
        (tmp_path, "no file `series`, and no patches"),
    ):
        with pytest.raises(UserError, match=says):
            series.read([path])
    (tmp_path / "0001.patch").touch()
    with pytest.raises(UserError, match=r"0001\.patch: no mail, mailbox or patch"):
        series.read([tmp_path])


# -- a series as people had it, five times, for the kernel of baseline


def _overlay(path: Path, work: Path) -> dict[str, bytes]:
    definition = resolve("lts")
    assert isinstance(definition, Definition)
    progress = Progress(quiet=True)
    work.mkdir()
    touched = series.apply(
        series.read([path]), source.unpacked(source.locate(definition, progress), progress), work, ""
    )
    return {name: (work / "tree" / name).read_bytes() for name in touched}


def test_five_forms_of_one_series_give_one_tree(tmp_path: Path) -> None:
    forms = sorted(_FORMS_OF_6_12.iterdir())
    assert len(forms) == 5
    overlays = [_overlay(form, tmp_path / form.name) for form in forms]
    assert all(overlay == overlays[0] for overlay in overlays)
    assert b"no dice for a socket filter" in overlays[0]["kernel/bpf/verifier.c"]
    names = [[mail.read(one)[0].title for one in series.read([form]).patches] for form in forms]
    assert all(one == names[0] for one in names)
    assert names[0][1] == "bpf: Refuse random numbers to socket filters"
