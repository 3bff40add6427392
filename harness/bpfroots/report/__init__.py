"""What people and other tools read of a run."""

from bpfroots.report.html import write_reports

__all__ = ["write_reports"]
