"""systemd units for a nightly job: a service that does one night, and a timer that starts it."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2

from bpfroots import settings
from bpfroots.errors import InfraError


def write(directory: Path, name: str, config: Path, at: str) -> list[Path]:
    """Write ``bpfroots-NAME.service`` and ``.timer`` for the job in the file ``config``; ``at`` is systemd's
    OnCalendar. Returns the files. Raises InfraError where they cannot be written."""
    unit = f"bpfroots-{name}"
    environment = jinja2.Environment(  # noqa: S701  (units, not HTML)
        loader=jinja2.PackageLoader(__package__), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters.update(unit=_specifiers, word=_word)
    values = {
        "name": unit,
        "config": str(config.resolve()),
        "root": str(settings.project() or Path.cwd()),
        "python": sys.executable,
        "at": at,
    }
    written = []
    for kind in ("service", "timer"):
        path = directory / f"{unit}.{kind}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(environment.get_template(f"{kind}.j2").render(values))
        except OSError as error:
            msg = f"{path}: {error.strerror}"
            raise InfraError(msg, hint="~/.config/systemd/user needs no root") from None
        written.append(path)
    return written


def _specifiers(text: str) -> str:
    """ "%" begins a specifier in a unit (systemd.unit(5))."""
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """One word of a command line (systemd.service(5), command lines)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_specifiers(escaped)}"'
