"""Whether the computer runs on its battery."""

from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.power import on_battery


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, False),
        ({"AC": {"type": "Mains\n", "online": "1\n"}}, False),
        ({"BAT0": {"type": "Battery\n", "status": "Discharging\n"}}, True),
        ({"BAT0": {"type": "Battery\n", "status": "Charging\n"}}, False),
        ({"BAT0": {"type": "Battery\n", "status": "Not charging\n"}}, False),
        ({"hid": {"type": "Battery\n", "status": "Discharging\n", "scope": "Device\n"}}, False),
        ({"BAT0": {"type": "Battery\n"}, "BAT1": {"type": "Battery\n", "status": "Discharging\n"}}, True),
    ],
    ids=["no supply", "mains", "discharging", "charging", "full", "a mouse", "the second"],
)
def test_on_battery(tmp_path: Path, supplies: dict[str, dict[str, str]], expected: bool) -> None:
    """Only a battery of the computer's own that gives current counts."""
    tree(tmp_path, **{"class": {"power_supply": supplies}})
    assert on_battery(tmp_path) is expected


def test_no_sysfs(tmp_path: Path) -> None:
    assert not on_battery(tmp_path / "none")
