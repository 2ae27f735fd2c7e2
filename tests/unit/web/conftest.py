"""What these tests share."""

from pathlib import Path

import pytest
from helpers.web_page import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)
