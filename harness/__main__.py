"""``python -m harness`` is ``bpfroots``."""

from harness.cli import main

main()
