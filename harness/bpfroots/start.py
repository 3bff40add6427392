"""Where the command begins, with nothing but the standard library: `bisect step` must not end in a code that
git takes for a verdict unless one was reached, whatever fails, the import of everything else included."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from bpfroots import exitcodes

#: Set by bin/bpfroots: the code it takes for "bad", because Python itself may end with 1.
_BAD = "BPFROOTS_BAD"


def main() -> None:
    """Entry point of `bpfroots` and `python -m bpfroots`."""
    if _words(sys.argv[1:])[:2] == ["bisect", "step"]:
        _end(_step())
    try:
        from bpfroots.cli import main as cli

        cli()
    except KeyboardInterrupt:  # before there is a command that could be interrupted
        _say("bpfroots: interrupted")
        sys.exit(exitcodes.INTERRUPTED)
    except Exception as error:
        _report(error)
        sys.exit(exitcodes.INFRA)


def _words(arguments: list[str]) -> list[str]:
    """What is no option before a command, or its value: bin/bpfroots has the same."""
    pairs = zip(["", *arguments], arguments, strict=False)
    return [word for before, word in pairs if before != "--log-file" and not word.startswith("-")]


def _step() -> int:
    bad = int(os.environ.pop(_BAD, "1"))
    try:
        from bpfroots.cli import main as cli

        cli()
    except exitcodes.StepVerdict as verdict:
        return bad if verdict.code == exitcodes.BAD else int(verdict.code or exitcodes.GOOD)
    except SystemExit as end:
        return exitcodes.of_step(end.code)
    except KeyboardInterrupt:
        return exitcodes.INTERRUPTED
    except BaseException as error:
        _report(error)
        return exitcodes.STEP_BUG
    return exitcodes.of_step(exitcodes.OK)


def _report(error: BaseException) -> None:
    """A fault that had no line of its own."""
    if os.environ.get("BPFROOTS_DEBUG"):
        import traceback

        traceback.print_exc()
    else:
        _say(f"bpfroots: {type(error).__name__}: {error}\n  try: BPFROOTS_DEBUG=1 for the traceback")


def _say(text: str) -> None:
    # As bpfroots.escape, whose import could fail as well.
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    print(shown, file=sys.stderr)  # noqa: T201


def _end(code: int) -> NoReturn:
    """Leave without what Python does at its end, which ends with 120 where stdout cannot be flushed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
