"""What a night has come to: results/RUN/night.json, from which an interrupted one is resumed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bpfroots.errors import UserError
from bpfroots.results.store import replace_whole

_NAME = "night.json"


class WorkFailure(msgspec.Struct, frozen=True):
    """A part of a night that could not be done: ``what`` it was, why, and the exit code that is for that.

    ``of_night``: what the night found is not whole without it.
    """

    what: str
    message: str
    exit_code: int
    of_night: bool = True


class NightRecord(msgspec.Struct):
    """``done`` are the parts of work that came to their end, by number, each with its exit code."""

    config: str
    done: dict[int, int] = {}
    failures: list[WorkFailure] = []

    def save(self, run: Path) -> None:
        replace_whole(run / _NAME, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def load(run: Path) -> NightRecord:
    """Raises UserError where the folder is no night's."""
    try:
        return msgspec.json.decode((run / _NAME).read_bytes(), type=NightRecord)
    except (OSError, msgspec.MsgspecError) as error:
        msg = f"{run / _NAME}: {error}"
        raise UserError(msg, hint="start a new night, without --resume") from None
