"""Which scheduler this host's processes have."""

from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.sched_ext import NAMELESS, other_scheduler


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({}, ""),
        ({"state": "disabled\n", "switch_all": "0\n"}, ""),
        ({"state": "enabled\n", "switch_all": "1\n", "root": {"ops": "lavd\n"}}, "lavd"),
        ({"state": "enabling\n", "root": {"ops": "rusty\n"}}, "rusty"),
        ({"state": "enabled\n", "switch_all": "0\n", "root": {"ops": "mine\n"}}, ""),
        ({"state": "enabled\n", "switch_all": "1\n"}, NAMELESS),
        ({"state": "disabling\n", "switch_all": "1\n"}, ""),
        ({"state": "enabled\n", "root": {"ops": "\x1b[31m" + "x" * 500}}, "x" * 59),
    ],
)
def test_whose(tmp_path: Path, found: Tree, name: str) -> None:
    """Another one counts while it has all processes; a kernel without sched_ext has its own."""
    tree(tmp_path, kernel={"sched_ext": found} if found else {})
    assert other_scheduler(tmp_path) == name
