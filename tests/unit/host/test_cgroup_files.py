"""The slice's knobs, whatever their files hold."""

from pathlib import Path

import pytest

from plancton.host.cgroup_files import Knob, memory_ceiling

STRANGE = ["", "x", "-1", "\xff\xfe", "\0", "\u0663", "9" * 5000, "1 2", "1.5"]


@pytest.mark.parametrize("text", STRANGE)
def test_strange_knob(tmp_path: Path, text: str) -> None:
    """What can't be understood does not hold what is wanted."""
    (tmp_path / "cpu.max").write_bytes(text.encode("latin-1", errors="replace"))
    assert not Knob(tmp_path / "cpu.max", "max 100000").holds()


@pytest.mark.parametrize("text", [*STRANGE, None, "max"])
def test_strange_ceiling(text: str | None) -> None:
    """A limit that can't be understood is none."""
    assert memory_ceiling(text) is None
