"""Ready-made settings for kinds of hosts: what `plancton init --profile` writes."""

from collections.abc import Mapping
from typing import NamedTuple


class Setting(NamedTuple):
    """A value, and who needs it."""

    value: object
    why: str


PROFILES: Mapping[str, Mapping[str, Setting]] = {
    "laptop": {
        "owner.pause_when": Setting(
            'on_battery or running("zoom", "webex")',
            "Silent and cool on battery and during video calls: workers keep their memory and wait.",
        ),
        "owner.leave_when": Setting(
            "metered or (on_battery and battery < 40)",
            "Workers go where the network is paid by the megabyte, or when the battery has to last.",
        ),
        "owner.cpu_cap": Setting(
            '"50%" if sessions else "100%"',
            "Half of the CPU while somebody is logged in, so that the fan stays slow.",
        ),
        "owner.max_temperature": Setting(80, "Workers use less CPU when it gets hotter than this."),
        "owner.reserve_memory": Setting("25%", "Room for a browser that opens."),
    },
    "desktop": {
        "owner.pause_when": Setting(
            'running("wineserver", "gamescope-wl", "zoom", "obs")',
            "No stutter in games, calls and recordings. `ps -e` shows the names of your programs.",
        ),
        "owner.cpu_cap": Setting(
            '"50%" if idle_seconds < 600 else "100%"',
            "Half of the CPU while somebody types or moves the mouse, all of it ten minutes later.",
        ),
        "owner.max_temperature": Setting(80, "Workers use less CPU when it gets hotter than this."),
        "owner.reserve_memory": Setting("20%", "Room for a program that opens."),
    },
    "server": {
        "owner.leave_when": Setting(
            "owner_memory_pressure > 20", "Workers go when the services themselves wait for memory."
        ),
        "owner.reserve_memory": Setting("20%", "Room for the page cache and for a peak of the services."),
        "owner.reserve_disk": Setting("10%", "Room for logs and data that grow overnight."),
    },
    "lab": {
        "owner.leave_when": Setting("sessions > 0", "A machine at which somebody sits is theirs alone."),
        "owner.hours": Setting(
            "19:00-08:00, sat, sun", "Silence while there are classes, also at machines that nobody uses."
        ),
    },
}


def settings_of(profile: str) -> Mapping[str, Setting]:
    """Raises ValueError for an unknown one."""
    if profile not in PROFILES:
        raise ValueError(f"{profile[:40]!r} is none of {', '.join(PROFILES)}")
    return PROFILES[profile]
