"""Fixtures: a real supervisor on an Engine of its own, and Debian's servers beside it."""

from docker.conftest import engine, host, plancton, pytest_runtest_makereport

__all__ = ["engine", "host", "plancton", "pytest_runtest_makereport"]
