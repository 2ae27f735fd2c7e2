"""What NetworkManager says of the network, by a busctl of the test's."""

from pathlib import Path

import pytest

from plancton.host.signals.metered import ask_metered, runs_network_manager


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("u 1", True),
        ("u 2", False),
        ("u 3", True),
        ("u 4", False),
        ("u 0", None),
        ("", None),
        ("s yes", None),
    ],
)
def test_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: bool | None) -> None:
    """Yes and no count, also where it guesses; what it does not know is unknown."""
    (tmp_path / "busctl").write_text(f"#!/bin/sh\necho {said}\n")
    (tmp_path / "busctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_metered() is expected


def test_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without busctl, or where it fails, nothing is known."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_metered() is None
    (tmp_path / "busctl").write_text("#!/bin/sh\necho 'u 1'; exit 1\n")
    (tmp_path / "busctl").chmod(0o755)
    assert ask_metered() is None


def test_whether_it_runs(tmp_path: Path) -> None:
    """It is asked where it runs only: to ask would start it."""
    assert not runs_network_manager(tmp_path)
    (tmp_path / "NetworkManager").mkdir()
    assert runs_network_manager(tmp_path)
