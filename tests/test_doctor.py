"""What `doctor` says of a machine on which something is not as it should be, seen as a user sees it."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bpfroots import settings
from bpfroots.errors import BpfrootsError, InfraError, UserError
from bpfroots.jobs import doctor
from tests import ROOT

_DEADLINE = 120


def _examine(prefix: list[str] | None = None, /, **environment: str | None) -> dict[str, Any]:
    """The checks of `doctor --json` by name; a variable that is None is not set."""
    command = [*(prefix or []), sys.executable, "-m", "bpfroots", "doctor", "--json"]
    inherited = {name: value for name, value in os.environ.items() if name not in environment}
    set_ = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_DEADLINE, env=inherited | set_, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 4)
    return {check["name"]: check for check in found["checks"]}


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"XDG_CACHE_HOME": "cache"}, "XDG_CACHE_HOME=cache: not an absolute path"),
        ({"XDG_CACHE_HOME": "/dev/null"}, "XDG_CACHE_HOME=/dev/null: /dev/null/bpfroots cannot be created: "),
        # /sys is a file system that takes no new directories.
        ({"XDG_CACHE_HOME": "/sys"}, "XDG_CACHE_HOME=/sys: /sys/bpfroots cannot be created: "),
        ({"XDG_CACHE_HOME": None, "HOME": "home"}, "HOME=home: not an absolute path"),
        ({"XDG_CACHE_HOME": None, "HOME": "/dev/null"}, "HOME=/dev/null: /dev/null/.cache/bpfroots cannot "),
        ({"XDG_CACHE_HOME": "", "HOME": "/sys"}, "HOME=/sys: /sys/.cache/bpfroots cannot be created: "),
    ],
)
def test_a_cache_that_cannot_be_is_named_by_its_variable(
    environment: dict[str, str | None], says: str
) -> None:
    checks = _examine(**environment)
    assert not checks["cache"]["ok"]
    assert checks["cache"]["detail"].startswith(says)
    assert "XDG_CACHE_HOME" in checks["cache"]["fix"]
    # The others are looked at all the same.
    assert checks["clang"]["ok"]
    assert "accelerator" in checks


@pytest.mark.parametrize(
    ("value", "error"), [("cache", UserError), ("/dev/null", InfraError), ("/sys", InfraError)]
)
def test_every_command_says_it_in_one_line(
    value: str, error: type[BpfrootsError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    with pytest.raises(error, match=f"^XDG_CACHE_HOME={value}: ") as caught:
        settings.cache_root()
    assert caught.value.hint


def test_without_home_the_user_has_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for unset in (None, ""):
        monkeypatch.delenv("HOME") if unset is None else monkeypatch.setenv("HOME", unset)
        shown, base = settings._cache_home()
        assert base.is_absolute()
        assert shown == f"home directory {base.parent} (HOME is not set)"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("ro", "cannot be written to: Read-only file system"),
        ("noexec", "cannot run a program: Permission denied"),
        ("nr_inodes=3", "cannot write a file: No space left on device"),
        ("size=100m", ""),
    ],
)
def test_places_are_tried(options: str, says: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    words = shlex.quote(str(place))
    # What is mounted before it is read-only is there to be found.
    mount = f"mount -t tmpfs bpfroots {words} && mkdir {words}/bpfroots && mount -o remount,{options} {words}"
    namespace = ["unshare", "-m", "sh", "-c"]
    if subprocess.run([*namespace, mount], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    prefix = [*namespace, f'{mount} && exec "$@"', "sh"]
    check = _examine(prefix, XDG_CACHE_HOME=str(place))["cache"]
    assert not check["ok"]
    # The last one is only small, and that is said after everything has worked.
    assert check["detail"].startswith(f"{place}/bpfroots{f': {says}' if says else ', 0 GiB free'}")


def test_a_place_that_has_all_is_left_as_it_was(tmp_path: Path) -> None:
    check = doctor._place("cache", tmp_path, [*doctor._KEEPING, *doctor._BUILDING], "")
    assert check.ok, check
    assert list(tmp_path.iterdir()) == []


def test_results_is_tried_as_well(tmp_path: Path) -> None:
    for name in ("kernels", "testcases"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "results").touch()
    check = _examine(BPFROOTS_ROOT=str(tmp_path))["results"]
    assert not check["ok"]
    assert check["detail"] == f"{tmp_path}/results: cannot be written to: File exists"


def test_a_cache_path_that_kbuild_does_not_take(tmp_path: Path) -> None:
    check = _examine(XDG_CACHE_HOME=str(tmp_path / "my cache"))["cache"]
    assert not check["ok"]
    assert "spaces or colons" in check["detail"]


def test_locks_that_keep_no_one_out_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a network file system without a lock server."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert doctor._failure(tmp_path, doctor._KEEPING) == "cannot lock a file (flock): it is granted twice"


def test_names_that_differ_in_case_alone_are_seen(tmp_path: Path) -> None:
    (tmp_path / "xt_MARK.h").touch()
    assert "are one" in doctor._failure(tmp_path, doctor._BUILDING[-1:])
