"""What people and other tools read of a run."""

from harness.report.html import write_reports

__all__ = ["write_reports"]
