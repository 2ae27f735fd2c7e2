"""What no unit test does to the machine it runs on, nor takes from it."""

from pathlib import Path

import pytest

from plancton.config import repository_limits
from plancton.host import system_tools
from plancton.host.system_tools import ProgramError


@pytest.fixture(autouse=True)
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither nft nor tc is called: a supervisor that is root would set this machine's rules."""

    call = system_tools.call

    def refuse(command: list[str], package: str = "", text: str | None = None, seconds: float = 9.0) -> str:
        if command[0] not in ("nft", "tc", "ip"):
            return call(command, package, text, seconds)
        raise ProgramError(f"there is no {command[0]} here: install the package {package}")

    monkeypatch.setattr(system_tools, "call", refuse)


@pytest.fixture(autouse=True)
def no_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's own Plancton permits a repository is nothing to a test."""
    monkeypatch.setattr(repository_limits, "HOSTS", tmp_path / "none/allow.yaml")
