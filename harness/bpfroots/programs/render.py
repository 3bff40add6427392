"""Case + form → C source."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfroots.errors import UserError
from bpfroots.programs.cases import Case, Form, template_directories
from bpfroots.programs.protocol import Mechanism

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True)
class _RenderedRoot:
    """A root as the templates see it. ``slot`` is its index in its type's prog array."""

    index: int
    name: str
    type: str
    section: str
    ctx: str
    ret: int
    tracing: bool
    probe: str
    slot: int

    @property
    def group(self) -> str:
        return self.type


@dataclass(frozen=True)
class _Group:
    """Roots of one program type: they may share a prog array."""

    name: str
    roots: list[_RenderedRoot]


_FORMS: dict[Mechanism, Form] = {
    "tail_call": "tail",
    "duplicate": "subprog",
    "multi_root": "subprog",
    "fd_name": "caller",
}


def form_of(mechanism: Mechanism) -> Form:
    """The source form a mechanism loads."""
    return _FORMS[mechanism]


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_directories()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  (C, not HTML)
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _roots(case: Case) -> list[_RenderedRoot]:
    roots: list[_RenderedRoot] = []
    for index, (name, kind) in enumerate(zip(case.root_names, case.kinds, strict=True)):
        slot = sum(root.type == kind.type for root in roots)
        roots.append(
            _RenderedRoot(
                index, name, kind.type, kind.section, kind.ctx, kind.ret, kind.tracing, kind.probe, slot
            )
        )
    return roots


def render(case: Case, form: Form) -> str:
    """The C source of a case. Raises UserError for a template that does not render."""
    import jinja2

    roots = _roots(case)
    types = dict.fromkeys(root.type for root in roots)
    groups = [_Group(type_, [root for root in roots if root.type == type_]) for type_ in types]
    body = f"{case.template}.bpf.c.j2"
    try:
        return (
            _environment()
            .get_template("frame.bpf.c.j2")
            .render(case=case, form=form, roots=roots, groups=groups, body=body)
        )
    except jinja2.TemplateError as error:
        where = (
            f"{error.filename or body}:{error.lineno}"
            if isinstance(error, jinja2.TemplateSyntaxError)
            else body
        )
        msg = f"case {case.name}: {where}: {error.message}"
        raise UserError(msg) from None
