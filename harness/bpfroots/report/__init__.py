"""What people and other tools read of a run."""

from bpfroots.report.html import write_reports
from bpfroots.report.trend import write as write_trend

__all__ = ["write_reports", "write_trend"]
