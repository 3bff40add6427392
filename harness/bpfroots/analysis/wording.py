"""What a verifier's message means, whichever kernel words it.

Between releases messages change their wording (a register becomes an argument, an offset gets a sign, a
sentence gets a name) far more often than their meaning: 58 of the 487 messages of kernel/bpf of 6.1 are not
in 6.12, and 235 of the 655 of 6.12 are not in 7.3. So two kernels are compared by meaning. The rules are from
the format strings of verbose() in 6.1.192, 6.12.117 and 7.3.4.
"""

from __future__ import annotations

import re

# A tnum: value and mask. It has a semicolon of its own.
_TNUM = re.compile(r"\(0x[0-9a-f]+; 0x[0-9a-f]+\)")
# In this order. Names and numbers first, so that the rest need not know them.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # kernel/bpf/verifier.c, struct bpf_reg_type names: "inv" until 5.17.
        (r"\binv\b", "scalar"),
        (r"'[^']*'", "'*'"),
        # Where a value is: "R1", "arg#0", "args#0", "arg0", "*fp-8".
        (r"\b(?:R\d+(?: pointer)?|args?#?\d+|stack arg#?\d+)(?!\w)", "ARG"),
        (r"\[[^\]]*\]", "[*]"),
        (r"\b(?:func|insn|root)#\d+(?: \('\*'\))?", "FUNC"),
        (r"\b[su](?:min|max)(?:32)?=[-\w]+ ?", ""),
        (r"\b(\w+)=(?:\[\*\]|[-+#]?(?:0x[0-9a-f]+|\d+)\b)", r"\1=N"),
        (r"[-+]?\b(?:0x[0-9a-f]+|\d+)\b", "N"),
        # check_stack_access_within_bounds() tells the offset as well, since 6.2.
        (r"var_off=N off=N", "var_off=N"),
        # verbose_invalid_scalar(): since 6.9 with the range that is there.
        (r"has (?:value \[\*\] |unknown scalar value )?should have been in", "should have been in"),
        (r"^In async callback the register", "At async callback return the register"),
        (r"is not a known value \([^)]*\)", "is not a known value"),
        (r"is not a scalar value \([^)]*\)", "is not a known value"),
        (r"\bfentry/fexit/fsession\b", "fentry/fexit"),
        (r"\bFENTRY/FEXIT/FSESSION\b", "FENTRY/FEXIT"),
        (r"^FENTRY/FEXIT program can only", "Tracing program can only"),
        (r"doesn't return scalar\. Only those", "return value not void or scalar. Only those"),
        (r"^(?:bpf_spin_lock|bpf_timer) cannot be accessed directly", "* cannot be accessed directly"),
        (r"^\S+ cannot be accessed directly", "* cannot be accessed directly"),
        (
            r"^(?:(?:bpf_)?tail_call|bpf_throw|BPF_LD_\[\*\]|BPF_EXIT\b.*?) (cannot be used|would lead)",
            r"* \1",
        ),
        (r"\bcapabilit(?:y|ies)\b", "capability"),
        (r"expects refcounted PTR_TO_BTF_ID", "expects referenced PTR_TO_BTF_ID"),
        (r"\brelease (?:kernel function|kfunc|helper) \S+", "release function"),
        (r"(expects referenced PTR_TO_BTF_ID) passed to ARG", r"\1"),
        (r"^kernel func(?:tion)? (\S+)", r"kernel func \1"),
        (r"\brcu_read_lock region\b", "RCU read-side critical section"),
        (r"^ARG ARG memory, len pair", "ARG memory, len pair"),
        (r"must be referenced(?: or trusted)?$", "must be referenced or trusted"),
        (r"when passed to release func(?: or trusted arg to kfunc)?$", "when passed to release func"),
        (r"(expected for bpf_\w+_drop)_impl\(\)", r"\1()"),
        (r"^unknown func \S+", "program of this type cannot use helper"),
        (r"^program of this type cannot use helper \S+", "program of this type cannot use helper"),
    )
)


def meaning(message: str) -> frozenset[str]:
    """The sentences of a message without names, numbers and places, in one wording for all releases.

    ``message`` is what `verifier_log.message` gives: sentences separated by "; ".
    """
    found = set()
    for sentence in _TNUM.sub("[*]", message).split("; "):
        plain = sentence.strip().rstrip(".")
        for pattern, replacement in _RULES:
            plain = pattern.sub(replacement, plain)
        if plain := " ".join(plain.split()):
            found.add(plain)
    return frozenset(found)


def same(one: str, other: str) -> bool:
    """Do two messages mean the same? One of them may say more: later releases explain what earlier ones only
    named. Two messages that are empty mean the same, one that is empty and another do not."""
    left, right = meaning(one), meaning(other)
    if not left or not right:
        return left == right
    return left <= right or right <= left
