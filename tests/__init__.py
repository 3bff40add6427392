"""Tests of the harness itself."""

from pathlib import Path

#: The checkout.
ROOT = Path(__file__).resolve().parent.parent
