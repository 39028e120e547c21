"""What was not tested, and why, in a line for each reason at the end: a missing browser must not look like success."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # how long an example takes is for the machine's load to say
settings.load_profile("any machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, tests in reasons.items():
        terminalreporter.write_line(f"skipped {tests}: {reason}")
