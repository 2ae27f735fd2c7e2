"""The host that `plancton top` measures in these tests."""

from pathlib import Path

import pytest
from unit.commands.top.examples import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)
