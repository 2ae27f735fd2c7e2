"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds after which a test gives up. How long a thing takes says nothing here: the machine may be
busy."""


def wait_for(what: str, true: Callable[[], T], timeout: float = PATIENCE, every: float = 0.05) -> T:
    """Poll until this holds, and return what it gave."""
    deadline = time.monotonic() + timeout
    while not (found := true()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout:g} s")
        time.sleep(every)
    return found
