"""-k expressions: their meaning, by an expression that was made from one, and their errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.errors import UserError
from bpfroots.programs.words import matcher

_NAME = "body/Loop-tc+xdp-depth1_none"
_WORDS = ("loop", "tc+xdp", "BODY/", "none", "1", "true", "kprobe", "notes", "android", "orc", "-", "[x]")

#: Text, the operator that binds least in it (0 or, 1 and, 2 none), and what it says of a name.
_Made = tuple[str, int, Callable[[str], bool]]


def _word(word: str) -> _Made:
    return word, 2, lambda name: word.lower() in name.lower()


def _inside(made: _Made, binding: int) -> str:
    return made[0] if made[1] >= binding else f"({made[0]})"


def _negated(made: _Made) -> _Made:
    return f"not {_inside(made, 2)}", 2, lambda name: not made[2](name)


def _joined(parts: tuple[_Made, _Made], operator: str) -> _Made:
    binding = ("or", "and").index(operator)
    text = f" {operator} ".join(_inside(part, binding) for part in parts)
    join = any if operator == "or" else all
    return text, binding, lambda name: join(part[2](name) for part in parts)


_expressions = st.recursive(
    st.sampled_from(_WORDS).map(_word),
    lambda inner: st.one_of(
        inner.map(_negated),
        st.builds(_joined, st.tuples(inner, inner), st.sampled_from(("or", "and"))),
    ),
)


@given(made=_expressions, spaces=st.sampled_from(("", " ", "\t ")))
def test_an_expression_says_what_it_was_made_to_say(made: _Made, spaces: str) -> None:
    text, _, truth = made
    for shown in (text, f"{spaces}{text}{spaces}", f"({spaces}{text})"):
        assert matcher(shown)(_NAME) == truth(_NAME)


def test_and_binds_closer_than_or_and_not_closest() -> None:
    for values in itertools.product((False, True), repeat=3):
        name = "".join(word for word, there in zip("xyz", values, strict=True) if there)
        x, y, z = values
        assert matcher("x or y and z")(name) == (x or (y and z))
        assert matcher("not x and y")(name) == ((not x) and y)
        assert matcher("not (x and y)")(name) == (not (x and y))
        assert matcher("not not x")(name) == x


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("a and", "the end at character 6, where a word, not, or ( should be"),
        ("and a", "and at character 1, where a word"),
        ("a b", "b at character 3, where and, or, or the end should be"),
        ("(a", "the end at character 3, where and, or, or ) should be"),
        ("a)", ") at character 2, where and, or, or the end should be"),
        ("()", ") at character 2, where a word"),
        ("not", "the end at character 4"),
        ("a or or b", "or at character 6"),
        (" ", "the end at character 2"),
        ("(" * 100_000, "nested too deeply"),
        ("not " * 100_000 + "a", "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(expression: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        matcher(expression)
    assert says in caught.value.message
