"""``python -m bpfroots`` is ``bpfroots``."""

from bpfroots.start import main

main()
