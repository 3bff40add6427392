"""Forty small commits on the kernel that baseline is made of, some of which do harm; each to one C file.

`python -m tests.linux_history TREE` makes it by hand.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bpfroots.kernels import resolve, source
from bpfroots.kernels.spec import Definition
from bpfroots.progress import Progress

COMMITS = 40
VERIFIER, STATES, CORE = "kernel/bpf/verifier.c", "kernel/bpf/states.c", "kernel/bpf/core.c"
JIT = "arch/x86/net/bpf_jit_comp.c"


@dataclass(frozen=True)
class Harm:
    """Commit ``number`` replaces text in a file; a commit ``repaired`` later takes that back."""

    number: int
    file: str
    before: str
    after: str
    repaired: int = 0


_FIRST = "\t/* no program is valid */\n\tif (ARRAY_SIZE(bpf_verifier_ops) == 0)\n"

HARM = {
    "encodes": Harm(
        7,
        JIT,
        "\t\t\tEMIT2(0xF7, add_1reg(0xD8, dst_reg));\n",
        "\t\t\tEMIT2(0xF7, add_1reg(0xD8, dst_reg));\n\t\t\tEMIT1(0x90);\n",
    ),
    "breaks boot": Harm(
        9,
        CORE,
        "pure_initcall(bpf_jit_charge_init);\n",
        "pure_initcall(bpf_jit_charge_init);\n"
        'static int __init no_boot(void)\n{\n\tpanic("no boot today");\n}\nlate_initcall(no_boot);\n',
        repaired=10,
    ),
    "loosens": Harm(
        13,
        VERIFIER,
        '\t\t    insn->off != 0 || insn->imm != 0) {\n\t\t\tverbose(env, "BPF_NEG uses',
        '\t\t    insn->off != 0) {\n\t\t\tverbose(env, "BPF_NEG uses',
    ),
    "breaks the build": Harm(20, VERIFIER, "static ", "statik ", repaired=21),
    "slows": Harm(
        27,
        STATES,
        "env->insn_processed - env->prev_insn_processed >= 8)",
        "env->insn_processed - env->prev_insn_processed >= 100000)",
    ),
    "splats": Harm(30, VERIFIER, _FIRST, f'\tWARN_ON(!strncmp((*prog)->aux->name, "splat", 5));\n{_FIRST}'),
    "is flaky": Harm(
        33,
        VERIFIER,
        _FIRST,
        '\tif (!strncmp((*prog)->aux->name, "flaky", 5) && get_random_u32_below(10) < 3)\n'
        f"\t\treturn -EINVAL;\n{_FIRST}",
    ),
}


def make(tree: Path) -> dict[str, str]:
    """A git repository in ``tree``: the id of every commit that does harm, of ``good`` and of ``bad``."""
    baseline = resolve("baseline")
    assert isinstance(baseline, Definition)
    progress = Progress()
    origin = source.unpacked(source.locate(baseline, progress), progress)
    tree.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{origin}/.", tree], check=True)
    git = _git(tree)
    git("init", "-q")
    git("config", "user.name", "A Developer")
    git("config", "user.email", "developer@example.org")
    git("add", "-A", "-f")
    git("commit", "-q", "-m", "linux")
    found = {"good": git("rev-parse", "HEAD")}
    for number in range(1, COMMITS + 1):
        what = _edit(tree, number)
        git("commit", "-q", "-a", "-m", f"bpf: change {number}{' ' + what if what else ''}")
        if what in HARM:
            found[what] = git("rev-parse", "HEAD")
    found["bad"] = git("rev-parse", "HEAD")
    return found


def _git(tree: Path) -> Callable[..., str]:
    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", tree, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return git


def _edit(tree: Path, number: int) -> str:
    """The change of one commit; what harm it does, where it does."""
    for what, harm in HARM.items():
        if number in (harm.number, harm.repaired):
            before, after = (harm.before, harm.after) if number == harm.number else (harm.after, harm.before)
            path = tree / harm.file
            text = path.read_text()
            assert before in text, what
            path.write_text(text.replace(before, after, 1))
            return what if number == harm.number else f"repairs what {what}"
    path = tree / VERIFIER
    text = path.read_text()
    note = f"/* Note {number}. */\n"
    # At the top every line moves, and with it what WARN_ON records; at the end the kernel stays the same.
    at_the_end = number % 4 == 0
    path.write_text(f"{text}{note}" if at_the_end else f"{note}{text}")
    return "changes no code" if at_the_end else ""


if __name__ == "__main__":
    for name, commit in make(Path(sys.argv[1])).items():
        sys.stdout.write(f"{name}: {commit}\n")
