"""What all tests share, and at the end a line for each reason not to test: a missing browser is no success."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

# before anything imports torch: with another number of threads it sums in another order, and there are processes enough
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("any machine", deadline=None)  # how long an example takes is for the machine's load to say
settings.load_profile("any machine")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a folder in a bucket of a real S3 server, whose credentials the environment has meanwhile."""
    from tests.service.servers import s3_server

    with s3_server() as (url, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged of a name that is not UTF-8 has to travel to the process that reports, too."""
    report = yield
    report.sections = [(head, text.encode(errors="backslashreplace").decode()) for head, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, tests in reasons.items():
        terminalreporter.write_line(f"skipped {tests}: {reason}")
