"""What a bisection found: lines while it runs, the end for a terminal, a page, and the text of a mail."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console

from bpfroots.bisect.model import Bisection, Commit, Judgement
from bpfroots.escape import visible
from bpfroots.report import html, text

_PAGE, _MAIL, _DATA = "bisect.html", "regression.txt", "outcome.json"
_SOURCE_LINES = 120
_DIFF_LINES = 30


def line(judgement: Judgement, commit: Commit) -> str:
    """One commit, as soon as it is judged."""
    return f"{judgement.word:5} {commit.short} {commit.subject}: {judgement.why} ({judgement.seconds:.0f} s)"


def write(run_dir: Path, bisection: Bisection) -> tuple[Path, Path]:
    """The page, and the mail; outcome.json has what both are made of."""
    (run_dir / _DATA).write_bytes(msgspec.json.format(msgspec.json.encode(bisection)))
    mail_path = run_dir / _MAIL
    mail_path.write_text(mail(bisection))
    judged = [(judgement, bisection.commits[judgement.commit]) for judgement in bisection.found.judgements]
    context = {
        "b": bisection,
        "judged": judged,
        "summary": summary(bisection),
        "mail": mail(bisection),
        "title": _title(bisection),
    }
    return html.write_page(run_dir / "report" / _PAGE, "bisect.html.j2", **context), mail_path


def summary(bisection: Bisection) -> str:
    """How it was found: builds, runs, time, confidence."""
    found = bisection.found
    skipped = sum(judgement.word == "skip" for judgement in found.judgements)
    runs = sum(judgement.passes + judgement.failures for judgement in found.judgements)
    parts = [
        text.plural(found.commits, "commit"),
        f"{text.plural(found.builds, 'kernel')} built",
        f"{skipped} skipped",
        text.plural(runs, "run"),
    ]
    whole = "since it was resumed" if bisection.resumed else "in all"
    times = (
        f"{_duration(bisection.seconds)} for kernels and runs, {_duration(bisection.wall_seconds)} {whole}"
    )
    return f"{', '.join(parts)}; {times}; {_confidence(bisection)}"


def _confidence(bisection: Bisection) -> str:
    found = bisection.found
    remarks = []
    if found.rate < 0.95:
        remarks.append(f"a bad kernel fails in {100 * found.rate:.0f} % of its runs")
    if bisection.merges:
        remarks.append(f"as if {text.plural(bisection.merges, 'merge')} between the ends were none")
    return f"confidence {100 * found.confidence:.2f} %" + (f" ({'; '.join(remarks)})" if remarks else "")


def print_bisection(bisection: Bisection, out: Console) -> None:
    """The answer, as git says it, and the difference."""
    out.print(f"\n{_title(bisection)}")
    if len(bisection.suspects) > 1:
        for commit in bisection.suspects:
            out.print(f"  {commit.named}")
    for commit in bisection.suspects[:1] if bisection.change else ():
        out.print(f"  {commit.author}")
    if bisection.change:
        for name, (before, after) in bisection.change.values.items():
            out.print(f"  {name:18} {before or 'none'} -> {after or 'none'}")
        for what, lines in bisection.change.texts.items():
            out.print(f"  {what}: {len(lines)} lines of difference")
    out.print(f"  {summary(bisection)}")


def mail(bisection: Bisection) -> str:
    """A report of a regression, ready to be looked through and sent
    (Documentation/process/handling-regressions.rst); empty where the commit is not known."""
    if len(bisection.suspects) != 1:
        return ""
    (commit,) = bisection.suspects
    what = _what(bisection)
    lines = [
        f"To: {commit.author}",
        "Cc: bpf@vger.kernel.org, regressions@lists.linux.dev",
        f"Subject: [REGRESSION] {commit.subject}: {what}",
        "",
        "Hi,",
        "",
        f"since {commit.named}",
        f"{bisection.question} is not what it was: {what}.",
        "",
        *_changes(bisection),
        *_reproducer(bisection),
        f"Kernel: {bisection.release}, {bisection.compiler}",
        "Configuration: the attached file `config`",
        f"Bisected between {bisection.good.short} (good) and {bisection.bad.short} (bad):",
        f"{summary(bisection)}. The log for git bisect replay is attached.",
        "",
        f"#regzbot introduced: {commit.id}",
        "",
        "A fix would carry:",
        f"Fixes: {commit.named}",
    ]
    return visible("\n".join(lines) + "\n")


def _title(bisection: Bisection) -> str:
    if len(bisection.suspects) == 1:
        return f"first bad commit: {bisection.suspects[0].named}"
    return f"the first bad commit is one of {len(bisection.suspects)}: the others could not be tested"


def _what(bisection: Bisection) -> str:
    known = {judgement.commit: judgement for judgement in bisection.found.judgements}
    first = known[bisection.suspects[0].id]
    run = known.get(first.same_as, first)  # the kernel that says so, where it is the same
    return run.why.splitlines()[0] if run.why else "another result"


def _changes(bisection: Bisection) -> list[str]:
    if bisection.change is None:
        return []
    values = bisection.change.values.items()
    lines = [f"  {name}: {before or 'none'} -> {after or 'none'}" for name, (before, after) in values]
    for what, difference in bisection.change.texts.items():
        lines += ["", f"Difference in the {what}:", "", *(f"  {part}" for part in difference[:_DIFF_LINES])]
    return [*lines, ""]


def _reproducer(bisection: Bisection) -> list[str]:
    lines = [f"Reproducer: {bisection.reproduce}", ""] if bisection.reproduce else []
    source = bisection.source.splitlines()
    if source and len(source) <= _SOURCE_LINES:
        return [*lines, *(f"  {part}" for part in source), ""]
    return [*lines, "The program is attached.", ""] if source else lines


def _duration(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
