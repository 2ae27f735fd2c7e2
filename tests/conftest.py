"""Applies to all tests, wherever and by whomever they are run."""

import os
import signal
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from docker.harness import Engine


if find_spec("hypothesis"):  # the hosts that scripts/test-host boots have none, and need none
    from hypothesis import HealthCheck, settings

    # Neither an example nor the making of one is too slow: how fast this machine is shows nothing.
    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


def pytest_configure() -> None:
    """Make nothing depend on what this process has inherited.

    In the background of a shell, or below nohup, signals are ignored, and so they are in all that
    is started here. With a handler that does nothing they are here, too, but not there.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    os.umask(0o022)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones: beside each other, the last to begin is what the others wait
    for."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure that says why: a skipped test has shown nothing
    (`scripts/test`)."""
    report = yield
    if report.skipped and os.environ.get("PLANCTON_TEST_ALL"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but all tests must run: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def private_engine() -> Iterator["Engine"]:
    """The session's dockerd, one for all folders, with the image that workers are made of."""
    from docker import harness  # here: most tests need no Engine

    with harness.private_engine() as engine:
        yield engine
