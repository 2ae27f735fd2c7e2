"""A Chromium, Debian's, which Selenium drives; no screen is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.chromium import Browser, started
from helpers.web_page import Home


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """In the state of a new one; what it complains about fails the test."""
    chromium.reset()
    yield chromium
    complaints = chromium.complaints()
    assert not complaints, complaints


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)
