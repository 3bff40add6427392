"""The reader of testcases/insn: what it says of output that is not as it should be."""

from __future__ import annotations

from testcases.insn_suite import parse


def test_checks_belong_to_their_group() -> None:
    said = parse("group a\nok A1\n# a remark\nnot ok A2: errno 0\ngroup b\nok B1\ndone 3\n")
    assert said.groups == {"a": ["ok A1", "not ok A2: errno 0"], "b": ["ok B1"]}
    assert said.announced == 3
    assert len(said.checks) == 3


def test_a_program_that_died_announces_nothing() -> None:
    assert parse("group a\nok A1\n").announced is None
