"""``python -m harness`` is ``bpfroots``."""

from harness.start import main

main()
