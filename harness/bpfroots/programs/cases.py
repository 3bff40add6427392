"""Cases: what testcases/cases/*.toml defines, and the cells that follow from it.

A case is a shared body, roots that use it, inputs and expectations. It renders to the
forms in which the mechanisms can express it (render.py).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from bpfroots import settings
from bpfroots.errors import UserError
from bpfroots.kernels.kconfig import value_of
from bpfroots.kernels.version import within
from bpfroots.programs import matrix, packets, words
from bpfroots.programs.protocol import (
    MECHANISMS,
    Attach,
    Detach,
    Mechanism,
    ReadMaps,
    Step,
    TestRun,
    Verdict,
)
from bpfroots.programs.roots import KINDS, RootKind

Form = Literal["subprog", "tail", "library", "caller"]

#: The family whose cases are generated, and their template.
GENERATED = "gen"


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a mechanism should say to a case. ``message``: a substring of the decisive log line. ``xfail``: a
    known fault, because of which kernels that have the mechanism do otherwise; empty where none is known.
    ``since`` and ``before``: the versions of Linux that say so; empty for no limit."""

    verdict: Verdict = "accept"
    message: str = ""
    xfail: str = ""
    since: str = ""
    before: str = ""


class _Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[case]] of a family file."""

    name: str
    roots: list[str]
    template: str = ""
    params: dict[str, Any] = {}
    constant_index: bool = False
    linkage: Literal["static", "global"] = "static"
    not_as_tail_call: str = ""
    not_by_name: str = ""
    equal: tuple[str, ...] = ("results",)
    expect_hits: Literal["exact", "some"] = "exact"
    expect: Mapping[Mechanism, Expectation | tuple[Expectation, ...]] = {}
    options: tuple[str, ...] = ()
    since: str = ""


class _Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: list[_Definition]
    template: str = ""


class Case(msgspec.Struct, frozen=True):
    """A case as the rest of the harness sees it.

    ``equal`` names the maps whose contents must be the same under every mechanism.
    ``not_as_tail_call`` and ``not_by_name`` of its definition say why no tail call, and no call of a function
    that was verified by its BTF, can express it; empty where one can. ``options`` and ``since`` are what it
    needs of a kernel beyond what its roots need.
    """

    family: str
    definition: _Definition
    template: str

    @property
    def name(self) -> str:
        return f"{self.family}/{self.definition.name}"

    @property
    def short(self) -> str:
        """Its name within its family."""
        return self.definition.name

    @property
    def kinds(self) -> list[RootKind]:
        return [KINDS[root] for root in self.definition.roots]

    @property
    def root_names(self) -> list[str]:
        """Program names: on_KIND, numbered where a kind comes twice. (A bare `tc` is its section.)"""
        names = self.definition.roots
        return [
            f"on_{name}" if names.count(name) == 1 else f"on_{name}{names[:index].count(name)}"
            for index, name in enumerate(names)
        ]

    @property
    def params(self) -> dict[str, Any]:
        return self.definition.params

    @property
    def constant_index(self) -> bool:
        return self.definition.constant_index

    @property
    def linkage(self) -> str:
        """Words before the shared function: a global one is verified by itself, from its BTF signature.

        A hidden one is static to libbpf (mark_btf_static) and the kernel, but not to the compiler, which
        would otherwise adapt its arguments and result to the callers: so it is one code under all mechanisms.
        """
        return "__hidden __noinline" if self.definition.linkage == "static" else "__noinline"

    @property
    def equal(self) -> tuple[str, ...]:
        return self.definition.equal

    def not_expressible(self, mechanism: Mechanism) -> str:
        """Why this mechanism cannot express the case; empty where it can."""
        reasons = {"tail_call": self.definition.not_as_tail_call, "fd_name": self.definition.not_by_name}
        return reasons.get(mechanism, "")

    def expectation(self, mechanism: Mechanism, release: str = "") -> Expectation:
        """What a kernel of this ``release`` should say; without one, the newest. Where nothing is said of it,
        that is accept."""
        several = self._expectations(mechanism)
        return next((one for one in several if within(release, one.since, one.before)), Expectation())

    def _expectations(self, mechanism: Mechanism) -> tuple[Expectation, ...]:
        said = self.definition.expect.get(mechanism, ())
        return said if isinstance(said, tuple) else (said,)

    def missing_in(self, release: str, options: Mapping[str, str] | None) -> str:
        """What a kernel does not have that the case needs; empty where it has all, or its ``options`` (those
        of its configuration) are not known."""
        if not within(release, self.definition.since, ""):
            return f"Linux {self.definition.since}"
        needed = [*(option for kind in self.kinds for option in kind.options), *self.definition.options]
        absent = [option for option in needed if options and value_of(options, option) == "n"]
        return f"CONFIG_{absent[0]}" if absent else ""

    def describe(self) -> dict[str, Any]:
        """The case as ``bpfroots cases --json`` shows it."""
        skipped = {m: skip_reason(m, why) for m in MECHANISMS if (why := self.not_expressible(m))}
        expected = {m: self.expectation(m) for m in MECHANISMS if m not in skipped}
        return {
            "name": self.name,
            "family": self.family,
            "roots": [kind.type for kind in self.kinds],
            "mechanisms": {
                m: {
                    "expect": said.verdict,
                    "message": said.message,
                    "xfail": said.xfail,
                    **self._versions(m),
                }
                for m, said in expected.items()
            },
            "not_expressible": skipped,
        }

    def _versions(self, mechanism: Mechanism) -> dict[str, Any]:
        """What versions of Linux say, where that is not the same."""
        several = self._expectations(mechanism)
        limited = any(one.since or one.before for one in several)
        return {"versions": msgspec.to_builtins(several)} if limited else {}

    def steps(self) -> list[Step]:
        """Attach every root, make every event happen, detach; then test runs; then read the maps."""
        pairs = list(zip(self.root_names, self.kinds, strict=True))
        attached = [name for index, (name, _) in enumerate(pairs) if self._is_attached(index)]
        attach: list[Step] = [Attach(root=name) for name in attached]
        triggers = {kind.trigger.kind: kind.trigger for _, kind in pairs}
        detach: list[Step] = [Detach(root=name) for name in attached]
        runs: list[Step] = [
            TestRun(root=name, data=data.hex())
            for name, kind in pairs
            if kind.test_run
            for data in packets.PACKETS.values()
        ]
        return [*attach, *triggers.values(), *detach, *runs, ReadMaps()]

    def _is_attached(self, index: int) -> bool:
        """Whether root ``index`` is attached; it has test runs alone where its kind is taken already."""
        kind = self.kinds[index]
        return not (kind.once and kind in self.kinds[:index])

    def hits_wrong(self, hits: list[int]) -> str:
        """Whether every root ran as often as it was triggered; a sentence where one did not."""
        for index, (name, kind) in enumerate(zip(self.root_names, self.kinds, strict=True)):
            expected = kind.trigger.count if self._is_attached(index) else 0
            expected += len(packets.PACKETS) if kind.test_run else 0
            exact = kind.exact and self.definition.expect_hits == "exact"
            if hits[index] != expected if exact else hits[index] == 0:
                wanted = str(expected) if exact else "some"
                return f"root {name} ran {hits[index]} times, expected {wanted}"
        return ""


_FORMS: dict[Mechanism, str] = {"tail_call": "a tail call", "fd_name": "a call by name"}


def skip_reason(mechanism: Mechanism, why: str) -> str:
    """`Case.not_expressible` as a sentence."""
    return f"not expressible as {_FORMS[mechanism]}: {why}"


def _load_family(path: Path) -> list[Case]:
    try:
        family = msgspec.toml.decode(path.read_bytes(), type=_Family)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"{path}: {error}"
        raise UserError(msg) from None
    cases = []
    for definition in family.case:
        template = definition.template or family.template
        unknown = [root for root in definition.roots if root not in KINDS]
        if unknown or not definition.roots:
            msg = f"{path}: case {definition.name}: unknown root kind {', '.join(unknown) or '(none)'}"
            raise UserError(msg, hint=f"kinds: {', '.join(KINDS)}")
        places = template_directories()
        if not any((place / f"{template}.bpf.c.j2").is_file() for place in places):
            msg = f"{path}: case {definition.name}: no template {template!r} in {places[0]}"
            raise UserError(msg)
        cases.append(Case(path.stem, definition, template))
    return cases


def template_directories() -> list[Path]:
    """Where templates are, those of the project first."""
    return [base / "testcases" / "templates" for base in settings.bases()]


def _generated(*, full: bool) -> list[Case]:
    """The family `gen`: what testcases/matrix.toml varies."""
    cases = []
    for found in matrix.combinations(full=full):
        refused = {m: Expectation("reject", text) for m, text in found.rejected.items()}
        definition = _Definition(
            name=found.name,
            roots=list(found.kinds),
            params=msgspec.to_builtins(found),
            not_as_tail_call=found.not_as_tail_call,
            not_by_name=found.not_by_name,
            since=found.since,
            # What a root has summed up that ran some number of times is some number.
            equal=("results",) if all(KINDS[kind].exact for kind in found.kinds) else (),
            expect=refused,
        )
        cases.append(Case(GENERATED, definition, GENERATED))
    return cases


@functools.cache
def all_cases(*, full: bool = False) -> tuple[Case, ...]:
    """Every case under testcases/cases/, sorted by family, then those that are generated; ``full``: of
    those every combination. Raises UserError for a bad definition."""
    files = settings.resources("testcases/cases", "*.toml")
    cases = tuple(case for path in files for case in _load_family(path))
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            msg = f"case {name} is defined twice"
            raise UserError(msg)
    return cases + tuple(_generated(full=full))


def select(expression: str | None, *, full: bool = False) -> list[Case]:
    """Cases whose name matches a ``-k`` expression (pytest's words: and, or, not, parentheses)."""
    if not expression:
        return list(all_cases(full=full))
    matches = words.matcher(expression)
    chosen = [case for case in all_cases(full=full) if matches(case.name)]
    if not chosen:
        msg = f"-k {expression!r} matches no case"
        raise UserError(msg, hint="bpfroots cases")
    return chosen


def mechanisms(chosen: Iterable[str]) -> list[Mechanism]:
    """Checked mechanism names; all of them where none is given."""
    result: list[Mechanism] = []
    for name in chosen:
        if name not in MECHANISMS:
            msg = f"unknown mechanism {name!r}"
            raise UserError(msg, hint=f"one of {', '.join(MECHANISMS)}")
        result.append(name)
    return result or list(MECHANISMS)
