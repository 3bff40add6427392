"""The command line, as a user runs it: exit codes, one line each, never a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bpfroots.cli import cli

_DEADLINE = 120


def _bpfroots(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpfroots", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=_DEADLINE,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
    )


def _one_error(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    assert done.stdout == ""


def test_it_is_called_bpfroots_however_it_was_started() -> None:
    assert _bpfroots("run", "--help").stdout.startswith("Usage: bpfroots run ")
    assert "try: bpfroots run --help" in _bpfroots("run", "--nonsense").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_it(shell: str) -> None:
    done = _bpfroots(_BPFROOTS_COMPLETE=f"{shell}_source")
    assert done.returncode == 0, done.stderr
    assert f"_BPFROOTS_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("words", "found"), [("bpfroots ker", "plain,kernel"), ("bpfroots kernel show --js", "plain,--json")]
)
def test_what_a_shell_is_told(words: str, found: str) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = _bpfroots(_BPFROOTS_COMPLETE="bash_complete", **asked)
    assert (done.returncode, done.stdout.split()) == (0, [found]), done.stderr


def test_unknown_mechanism() -> None:
    _one_error(_bpfroots("run", "--mechanism", "telepathy"), 2, "'telepathy' is not one of 'tail_call'")


def test_unknown_option_and_command() -> None:
    _one_error(_bpfroots("run", "--nonsense"), 2, "--nonsense")
    _one_error(_bpfroots("nonsense"), 2, "nonsense")


def test_no_such_case() -> None:
    _one_error(_bpfroots("run", "-k", "no-such-case"), 2, "matches no case")


def test_unknown_kernel() -> None:
    _one_error(_bpfroots("run", "--kernel", "baselin", "-k", "example"), 2, "baseline")


def test_truncated_elf(tmp_path: Path) -> None:
    path = tmp_path / "x.bpf.o"
    path.write_bytes(b"\x7fELF\x02\x01\x01")
    _one_error(_bpfroots("load", path), 2, "truncated or damaged ELF")


def test_missing_object(tmp_path: Path) -> None:
    _one_error(_bpfroots("load", tmp_path / "none.bpf.o"), 2, "No such file")


def test_load_has_no_tail_call_form(tmp_path: Path) -> None:
    path = tmp_path / "x.bpf.c"
    path.write_text("")
    _one_error(_bpfroots("load", path, "--mechanism", "tail_call"), 2, "tail-call form")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("", "no such program"),
        ('#!/bin/sh\nexec clang-19 "$@"\n', "not an executable file"),
        ('#!/bin/sh\nexec true "$@"\n', "not a clang: its --version prints 'true (GNU coreutils)"),
        ('#!/bin/sh\nexec gcc "$@"\n', "not a clang: its --version prints 'gcc "),
        (
            # As a clang that was built without the target.
            '#!/bin/sh\ncase $* in *bpf*) echo "error: unable to create target: bpf" >&2; exit 1;; esac\n'
            'exec clang-19 "$@"\n',
            "does not compile for BPF: error: unable to create target: bpf",
        ),
    ],
)
def test_a_clang_that_is_none_is_named_before_anything_is_built(
    script: str, says: str, tmp_path: Path
) -> None:
    clang, path = tmp_path / "clang", tmp_path / "x.bpf.c"
    path.write_text("")
    if script:
        clang.write_text(script)
        clang.chmod(0o644 if says.startswith("not an exec") else 0o755)
    done = _bpfroots("load", path, CLANG=str(clang), XDG_CACHE_HOME=str(tmp_path / "cache"))
    _one_error(done, 4, f"bpfroots: CLANG={clang}: {says}")
    assert len(done.stderr.splitlines()) == 2
    checks = json.loads(_bpfroots("doctor", "--json", CLANG=str(clang)).stdout)["checks"]
    (check,) = [check for check in checks if check["name"] == "clang"]
    assert (check["ok"], check["detail"].startswith(f"CLANG={clang}: {says}")) == (False, True)


def test_a_clang_by_another_name_is_one(tmp_path: Path) -> None:
    clang = tmp_path / "my-clang"
    clang.write_text('#!/bin/sh\nexec clang-19 "$@"\n')
    clang.chmod(0o755)
    checks = json.loads(_bpfroots("doctor", "--json", CLANG=str(clang)).stdout)["checks"]
    (check,) = [check for check in checks if check["name"] == "clang"]
    assert check["ok"]
    assert str(clang) in check["detail"]


def test_no_runs_yet(tmp_path: Path) -> None:
    for name in ("kernels", "testcases", "results"):
        (tmp_path / name).mkdir()
    _one_error(_bpfroots("compare", BPFROOTS_ROOT=str(tmp_path)), 2, "no runs yet")


def test_cases_json_is_one_document() -> None:
    done = _bpfroots("cases", "-k", "deep_chain", "--json")
    assert done.returncode == 0
    cases = json.loads(done.stdout)
    assert [case["name"] for case in cases] == ["body/deep_chain-kprobe+tracepoint", "body/deep_chain-tc+xdp"]
    assert cases[0]["family"] == "body"
    assert cases[0]["roots"] == ["kprobe", "tracepoint"]
    assert cases[0]["mechanisms"]["duplicate"] == {"expect": "accept", "message": "", "xfail": ""}
    assert "tail_call" not in cases[0]["mechanisms"]
    assert "return value" in cases[0]["not_expressible"]["tail_call"]


def test_cases_for_a_person() -> None:
    done = _bpfroots("cases")
    assert done.returncode == 0
    assert "example/kprobe+tracepoint+cgroup_skb" in done.stdout


def test_doctor_json() -> None:
    done = _bpfroots("doctor", "--json")
    found = json.loads(done.stdout)
    assert set(found) == {"ok", "accelerator", "checks"}
    assert set(found["accelerator"]["kvm"]) == {"usable", "reason"}
    assert all({"name", "ok", "detail", "fix"} <= set(check) for check in found["checks"])
    assert done.returncode == (0 if found["ok"] else 4)


def test_doctor_names_what_is_missing_and_how_to_mend_it(tmp_path: Path) -> None:
    done = _bpfroots("doctor", "--json", PATH=str(tmp_path))
    assert done.returncode == 4
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "clang-19" in checks["packages"]["detail"]
    assert checks["packages"]["fix"] == "bpfroots setup"


_EXAMINE = "bpfroots.jobs.doctor:examine"


@pytest.mark.parametrize(
    ("stage", "error", "code", "says"),
    [
        (_EXAMINE, "UserError('no such case')", 2, "bpfroots: no such case"),
        (_EXAMINE, "KernelError('it does not build')", 3, "bpfroots: it does not build"),
        (_EXAMINE, "InfraError('no QEMU')", 4, "bpfroots: no QEMU"),
        (_EXAMINE, "GuestLost('QEMU died of SIGKILL')", 4, "bpfroots: QEMU died of SIGKILL"),
        (_EXAMINE, "GuestCrash('Kernel panic')", 1, "bpfroots: Kernel panic"),
        (_EXAMINE, "OSError(28, 'No space left', '/cache')", 4, "bpfroots: /cache: No space left"),
        (_EXAMINE, "RuntimeError('not foreseen')", 4, "RuntimeError: not foreseen"),
        (_EXAMINE, "KeyboardInterrupt()", 130, "bpfroots: interrupted"),
        ("bpfroots.cli.host", "RuntimeError('not foreseen')", 4, "RuntimeError: not foreseen"),
        ("bpfroots.cli.host", "KeyboardInterrupt()", 130, "bpfroots: interrupted"),
    ],
)
def test_a_traceback_is_asked_for_and_costs_no_exit_code(
    stage: str, error: str, code: int, says: str
) -> None:
    fault = {"FAULT": stage, "FAULT_ERROR": error, "PYTHONPATH": f"{Path(__file__).parent / 'faults'}"}
    plain, debug = _bpfroots("doctor", **fault), _bpfroots("doctor", BPFROOTS_DEBUG="1", **fault)
    assert (plain.returncode, debug.returncode) == (code, code), debug.stderr
    assert "Traceback" not in plain.stderr
    assert ("Traceback" in debug.stderr) == (code != 130)
    assert says in debug.stderr


def _interrupted(*command: str, stage: str) -> str:
    """What a command says that is interrupted where it calls ``stage``."""
    fault = {"FAULT": stage, "FAULT_ERROR": "KeyboardInterrupt()"}
    done = _bpfroots(*command, PYTHONPATH=f"{Path(__file__).parent / 'faults'}", **fault)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    return done.stderr.strip()


def test_an_interrupt_says_what_is_kept_where_anything_is() -> None:
    kept = "kept      what is compiled; the same command continues from there"
    build = _interrupted("kernel", "build", "baseline", stage="bpfroots.kernels:ensure")
    assert build.split("\n\n") == [kept, "bpfroots: interrupted"]
    assert _interrupted("doctor", stage="bpfroots.jobs.doctor:examine") == "bpfroots: interrupted"
    assert _interrupted("bench", stage="bpfroots.bench:run") == "bpfroots: interrupted"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "no such command 'nonsense'\n  try: bpfroots --help"),
        (["kernel", "nonsense"], "no such command 'nonsense'\n  try: bpfroots kernel --help"),
        (["load"], "missing argument 'OBJ...'\n  try: bpfroots load --help"),
        (
            ["run", "-j", "0"],
            "invalid value for '-j': 0 is not in the range x>=1\n  try: bpfroots run --help",
        ),
        (["shell", "--kernel"], "option '--kernel' requires an argument\n  try: bpfroots --help"),
        (["report", "a", "b"], "got unexpected extra argument (b)\n  try: bpfroots report --help"),
    ],
)
def test_usage_errors_have_the_form_of_all_others(words: list[str], says: str) -> None:
    done = _bpfroots(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"bpfroots: {says}\n")


def test_a_group_without_a_command_prints_its_help() -> None:
    done = _bpfroots("kernel")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: bpfroots kernel ")


def _contexts(command: click.Command, parent: click.Context | None = None) -> Iterator[click.Context]:
    settings = {"terminal_width": 80, **command.context_settings}
    ctx = click.Context(command, info_name=command.name, parent=parent, **settings)
    yield ctx
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below
            yield from _contexts(below, ctx)


@pytest.mark.parametrize("ctx", list(_contexts(cli)), ids=lambda ctx: ctx.command_path)
def test_help_is_complete_at_80_columns(ctx: click.Context) -> None:
    text = ctx.get_help()
    assert text.startswith("Usage: ")
    assert all(len(line) <= 80 for line in text.splitlines())
    # What click cuts off in a list of commands.
    assert not re.search(r"^  .*\w\.\.\.$", text, re.M)


@pytest.mark.parametrize("ctx", list(_contexts(cli)), ids=lambda ctx: ctx.command_path)
def test_help_says_what_an_option_is_without_being_given(ctx: click.Context) -> None:
    for param in ctx.command.params:
        if not isinstance(param, click.Option) or param.hidden:
            continue
        record = param.get_help_record(ctx)
        assert record
        name, text = record
        if isinstance(param.type, click.Choice):
            assert all(choice in name for choice in param.type.choices), name
        assert "RANGE" not in name, name
        given = param.get_default(ctx)
        if isinstance(given, str | int | float | Path) and given and not param.is_flag and not param.count:
            assert "default: " in text, name


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["uname", "-r"], ("uname", "-r")),
        (["--kernel", "patched", "ls", "--kernel", "-la"], ("ls", "--kernel", "-la")),
        (["--kernel", "patched", "--", "uname", "-r"], ("uname", "-r")),
        (["--gdb", "--", "--gdb"], ("--gdb",)),
        ([], ()),
    ],
)
def test_options_of_shell_end_where_the_command_begins(words: list[str], command: tuple[str, ...]) -> None:
    from bpfroots.cli.shell import shell

    assert shell.make_context("shell", list(words)).params["command"] == command


def test_an_option_before_the_command_is_still_checked() -> None:
    _one_error(_bpfroots("shell", "-r", "uname"), 2, "no such option '-r'")
