"""The computer's batteries (Documentation/ABI/testing/sysfs-class-power)."""

from collections.abc import Iterator
from pathlib import Path

from plancton.files import read_knob, read_number

SYS = Path("/sys")
KINDS = frozenset({"Battery", "UPS"})
MOST = 150
"""Percent. A worn battery may hold more than its own idea of full (117 was seen); firmware that knows
nothing says 255, for example."""


def on_battery(sys: Path = SYS) -> bool:
    """Whether a battery of the computer's own discharges."""
    return any(read_knob(supply / "status") == "Discharging" for supply in _batteries(sys))


def read_charge(sys: Path = SYS) -> float | None:
    """How full they all are together, in percent; None where there is none, or none tells.

    Of two the larger counts for more, as far as they tell what they hold.
    """
    full = now = 0.0
    for supply in _batteries(sys):
        percent = read_number(supply / "capacity")
        size = read_number(supply / "energy_full") or read_number(supply / "charge_full") or 1
        if percent is not None and 0 <= percent <= MOST and size > 0:
            full, now = full + size, now + size * min(percent, 100)
    return now / full if full else None


def _batteries(sys: Path) -> Iterator[Path]:
    """Not those of a mouse, a headset, or a UPS that is a USB device: the kernel says that such a one
    discharges whenever it is not full (drivers/hid/hid-input.c), and its scope is "Device"."""
    for supply in (sys / "class/power_supply").glob("*"):
        kind, scope, present = (read_knob(supply / name) for name in ("type", "scope", "present"))
        if kind in KINDS and scope != "Device" and present != "0":
            yield supply
