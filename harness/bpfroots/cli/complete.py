"""What a shell offers for the values of options and arguments."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from bpfroots.errors import BpfrootsError


def kernels(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names in kernels/, and paths."""
    from bpfroots.kernels import names

    try:
        known = [name for name in names() if name.startswith(incomplete)]
    except BpfrootsError:
        known = []
    return [*(CompletionItem(name) for name in known), CompletionItem(incomplete, type="file")]


def cases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of cases."""
    from bpfroots.programs.cases import all_cases

    try:
        return [CompletionItem(case.name) for case in all_cases() if case.name.startswith(incomplete)]
    except BpfrootsError:
        return []


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of run folders, the newest first."""
    from bpfroots.results.store import run_folders

    try:
        found = [folder.name for folder in run_folders()]
    except BpfrootsError:
        return []
    return [CompletionItem(name) for name in reversed(found) if name.startswith(incomplete)]
