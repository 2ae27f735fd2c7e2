"""A skipped test has shown nothing: `scripts/test` sets PLANCTON_TEST_ALL, and a skip is a failure."""

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure that says why it would have been skipped."""
    report = yield
    if report.skipped and os.environ.get("PLANCTON_TEST_ALL"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but all tests must run: {report.longrepr}"
    return report
