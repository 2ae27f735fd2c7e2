"""How long the owner's processes wait."""

from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.signals.pressure import owner_groups, read_pressure

SLICES = ("plancton", "plancton.slice")


def group(some: float) -> Tree:
    some_line = f"some avg10={some:.2f} avg60=9.00 avg300=9.00 total=1\n"
    full_line = "full avg10=8.00 avg60=9.00 avg300=9.00 total=1\n"
    return {"cgroup.procs": "", "memory.pressure": some_line + full_line}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"user.slice": group(12.5), "system.slice": group(3), "plancton.slice": group(99)}, 12.5),
        ({"docker": group(0), "plancton": group(99)}, 0.0),
        ({"plancton": group(99)}, None),
        ({"user.slice": {"cgroup.procs": "", "memory.pressure": "broken"}}, None),
        ({"user.slice": {"cgroup.procs": ""}}, None),
        ({}, None),
    ],
)
def test_pressure(tmp_path: Path, groups: dict[str, Tree], expected: float | None) -> None:
    """The one that waits most counts, and never the workers."""
    tree(tmp_path, groups, {"memory.pressure": "some avg10=99.00 avg60=0 avg300=0 total=0\n"})
    assert read_pressure(owner_groups(tmp_path, SLICES), "memory") == expected


def test_no_tree(tmp_path: Path) -> None:
    """Without a tree there is nothing to read."""
    assert owner_groups(tmp_path / "none", SLICES) == []
