"""Whether this computer runs on its battery (Documentation/ABI/testing/sysfs-class-power)."""

from pathlib import Path

from plancton.files import read_knob

SYS = Path("/sys")


def on_battery(sys: Path = SYS) -> bool:
    """Whether a battery of the computer's own discharges; a mouse's has the scope "Device"."""
    return any(
        read_knob(supply / "status") == "Discharging"
        and read_knob(supply / "type") == "Battery"
        and read_knob(supply / "scope") != "Device"
        for supply in (sys / "class/power_supply").glob("*")
    )
