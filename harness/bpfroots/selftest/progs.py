"""What a test of test_progs that came to its end is worth."""

from __future__ import annotations

from bpfroots.results.model import Outcome
from bpfroots.results.selftests import Subtest, Tested
from bpfroots.selftest import progs_output

_OUTCOMES: dict[progs_output.Status, Outcome] = {"ok": "pass", "skip": "skip", "fail": "fail"}


def judged(test: progs_output.Test, seconds: float) -> Tested:
    """What a test that came to its end is worth."""
    subtests = [
        Subtest(one.name, _OUTCOMES[one.status], progs_output.why(one.lines)) for one in test.subtests
    ]
    failed = next((one for one in subtests if one.outcome == "fail"), None)
    reason = progs_output.why(test.lines) or (f"{failed.name}: {failed.reason}" if failed else "")
    return Tested(
        test.name,
        _OUTCOMES[test.status],
        reason if test.status == "fail" else test.note if test.status == "skip" else "",
        round(seconds, 2),
        subtests,
    )
