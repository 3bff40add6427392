"""Messages of different releases: which mean the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfroots.analysis.wording import meaning, same

_SAME = [
    # 5.15 and 6.1
    ("R1 invalid mem access 'inv'", "R1 invalid mem access 'scalar'"),
    # 6.1 and 6.12
    (
        "invalid variable-offset read from stack R1 var_off=(0x0; 0xff) size=4",
        "invalid variable-offset read from stack R1 var_off=(0x0; 0xff) off=-16 size=4",
    ),
    (
        "At program exit the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)",
        "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
    ),
    (
        "At program exit the register R0 has unknown scalar value should have been in (0x0; 0x1)",
        "At program exit the register R0 has unknown scalar value should have been in [0, 1]",
    ),
    (
        "bpf_timer cannot be accessed directly by load/store",
        "bpf_wq cannot be accessed directly by load/store",
    ),
    ("R1 must be referenced", "R1 must be referenced or trusted"),
    ("Caller passes invalid args into func#1", "Caller passes invalid args into func#1 ('helper')"),
    (
        "destructive kfunc calls require CAP_SYS_BOOT capabilities",
        "destructive kfunc calls require CAP_SYS_BOOT capability",
    ),
    (
        "R0 has wrong type; At subprogram exit the register R0 is not a scalar value (ctx)",
        "At subprogram exit the register R0 is not a scalar value (fp)",
    ),
    # 6.12 and 7.3
    (
        "Global function f() doesn't return scalar. Only those are supported.",
        "Global function f() return value not void or scalar. Only those are supported.",
    ),
    (
        "invalid access to packet, off=0 size=8, R1(id=0,off=0,r=0)",
        "invalid access to packet, off=0 size=8, R2(id=1,off=14,r=0)",
    ),
    (
        "R2 unbounded memory access, make sure to bounds check any such access",
        "arg#1 unbounded memory access, make sure to bounds check any such access",
    ),
    (
        "arg#0 arg#1 memory, len pair leads to invalid memory access",
        "arg#0 memory, len pair leads to invalid memory access",
    ),
    (
        "release kernel function bpf_obj_drop_impl expects refcounted PTR_TO_BTF_ID",
        "release kfunc bpf_obj_drop expects referenced PTR_TO_BTF_ID passed to R1",
    ),
    ("Cannot extend fentry/fexit", "Cannot extend fentry/fexit/fsession"),
    (
        "tail_call cannot be used inside bpf_spin_lock-ed region",
        "bpf_tail_call cannot be used inside bpf_spin_lock-ed region",
    ),
]

_DIFFERENT = [
    ("R1 invalid mem access 'scalar'", "R1 !read_ok"),
    (
        "invalid access to packet, off=0 size=8, R1(id=0,off=0,r=0)",
        "invalid access to map value, value_size=8 off=8 size=8",
    ),
    ("R1 type=scalar expected=fp", "R1 type=ctx expected=map_ptr"),
    ("tail_call would lead to reference leak", "tail_call cannot be used inside bpf_spin_lock-ed region"),
    ("min value is negative", "max value is outside of the allowed memory range"),
    ("", "R1 !read_ok"),
]


@pytest.mark.parametrize(("one", "other"), _SAME)
def test_two_releases_mean_the_same(one: str, other: str) -> None:
    assert same(one, other), (meaning(one), meaning(other))
    assert same(other, one)


@pytest.mark.parametrize(("one", "other"), _DIFFERENT)
def test_twin_another_meaning_is_another(one: str, other: str) -> None:
    assert not same(one, other), (meaning(one), meaning(other))


def test_an_explanation_more_is_no_other_meaning() -> None:
    assert same("R1 !read_ok", "R1 !read_ok; R1 was last written at insn 5")


@given(st.text(alphabet="R0123 abc=;'x-", max_size=40))
def test_a_message_means_itself(message: str) -> None:
    assert same(message, message)
