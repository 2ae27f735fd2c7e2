"""The computer's batteries, from trees as /sys has them on several hosts."""

from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.signals.battery import on_battery, read_charge


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
        ({"BAT0": {"type": "Battery\n", "status": "Discharging\n", "present": "0\n"}}, False),
        ({"ups": {"type": "UPS\n", "status": "Discharging\n"}}, True),
        ({"ups": {"type": "UPS\n", "status": "Full\n"}}, False),
    ],
    ids=[
        *("no supply", "mains", "discharging", "charging", "full", "a mouse", "the second", "an empty bay"),
        *("a UPS at work", "a UPS"),
    ],
)
def test_on_battery(tmp_path: Path, supplies: dict[str, dict[str, str]], expected: bool) -> None:
    """Only a battery of the computer's own that gives current counts."""
    tree(tmp_path, **{"class": {"power_supply": supplies}})
    assert on_battery(tmp_path) is expected


def test_no_sysfs(tmp_path: Path) -> None:
    assert not on_battery(tmp_path / "none") and read_charge(tmp_path / "none") is None


BATTERY = {"type": "Battery\n", "status": "Discharging\n", "present": "1\n"}


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({"AC": {"type": "Mains\n", "online": "1\n"}}, None),
        ({"BAT0": {**BATTERY, "capacity": "62\n", "energy_full": "50000000\n"}}, 62),
        (
            {
                "BAT0": {**BATTERY, "capacity": "100\n", "energy_full": "20000000\n"},
                "BAT1": {**BATTERY, "capacity": "40\n", "energy_full": "60000000\n"},
            },
            55,
        ),
        ({"BAT0": {**BATTERY, "capacity": "30\n"}, "BAT1": {**BATTERY, "capacity": "50\n"}}, 40),
        ({"BAT0": {**BATTERY, "capacity": "103\n"}}, 100),
        ({"BAT0": {**BATTERY, "capacity": "117\n"}, "BAT1": {**BATTERY, "capacity": "50\n"}}, 75),
        ({"BAT0": {**BATTERY, "capacity": "255\n"}}, None),
        ({"BAT0": {**BATTERY, "capacity": "-1\n"}}, None),
        ({"BAT0": BATTERY}, None),
        ({"hid-0003:051D:0002-battery": {**BATTERY, "capacity": "100\n", "scope": "Device\n"}}, None),
    ],
    ids=[
        *("a desktop", "a laptop", "two", "two of unknown size", "more than full", "one of them", "nonsense"),
        *("less", "none told", "a USB UPS"),
    ],
)
def test_charge(tmp_path: Path, supplies: dict[str, dict[str, str]], expected: float | None) -> None:
    """All the computer's own batteries together, each by its size; unknown without one."""
    tree(tmp_path, **{"class": {"power_supply": supplies}})
    charge = read_charge(tmp_path)
    assert charge is None if expected is None else charge == pytest.approx(expected)
