"""How warm the CPU is, whether it slows down for that, and what power it takes.

Documentation/hwmon, Documentation/ABI/testing/sysfs-class-thermal and
Documentation/power/powercap/powercap.rst. These files belong to the CPU: to read one takes microseconds.
"""

import re
from pathlib import Path

from plancton.files import read_knob, read_number

LABELS: dict[str, tuple[str, ...]] = {
    "coretemp": ("Package id", "Physical id"),
    "k10temp": ("Tdie", "Tctl"),
    "zenpower": ("Tdie", "Tctl"),
    "k8temp": (),
    "via_cputemp": (),
    "cpu_thermal": (),
}
"""The drivers of CPUs' sensors, and which labels are the package's, the best first: AMD's Tctl may
be some degrees above the truth, which is Tdie."""
_ZONE = re.compile(r"x86_pkg_temp|(^|[^a-z])(cpu|soc|package)", re.IGNORECASE)
COLDEST, HOTTEST = 1.0, 126.0
"""Degrees. Sensors that are off, broken or none read 0, 127 or 128, or less than nothing."""


def find_sensors(sys: Path) -> list[Path]:
    """The files with the CPU packages' temperatures: hwmon's, else those of thermal zones."""
    found = list[Path]()
    for device in sorted((sys / "class/hwmon").glob("hwmon*")):
        name = read_knob(device / "name")
        if name in LABELS:
            found += _of_package(sorted(device.glob("temp*_input")), LABELS[name])
    if found:
        return found
    zones = sorted((sys / "class/thermal").glob("thermal_zone*"))
    return [zone / "temp" for zone in zones if _ZONE.search(read_knob(zone / "type") or "")]


def _of_package(inputs: list[Path], labels: tuple[str, ...]) -> list[Path]:
    """Those with the best label that any has; all of them where none has one."""
    said = {file: read_knob(file.with_name(file.name.replace("_input", "_label"))) or "" for file in inputs}
    for label in labels:
        if chosen := [file for file, text in said.items() if text.startswith(label)]:
            return chosen
    return inputs


def read_temperature(sensors: list[Path]) -> float | None:
    """Degrees Celsius of the hottest package; None where no sensor reads what a CPU can be."""
    read = map(read_number, sensors)
    celsius = [milli / 1000 for milli in read if milli is not None and COLDEST < milli / 1000 < HOTTEST]
    return max(celsius, default=None)


class Throttle:
    """Whether the CPU runs slower because of its heat: Intel's counters grow (thermal_throttle), or
    the kernel has a cooling device at work that slows a CPU (elsewhere)."""

    def __init__(self, sys: Path) -> None:
        cpus = (sys / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
        last_first = sorted(cpus, key=lambda each: (len(each.parent.name), each), reverse=True)
        # The first of a package tells: others are second threads, which may be switched off.
        of_package = {read_knob(each.parent / "topology/physical_package_id"): each for each in last_first}
        self._counters = [each / "package_throttle_count" for each in of_package.values()]
        devices = sorted((sys / "class/thermal").glob("cooling_device*"))
        kinds = {each: read_knob(each / "type") or "" for each in devices}
        slows = [each for each, kind in kinds.items() if kind == "Processor" or "cpufreq" in kind]
        self._coolers = [each / "cur_state" for each in slows]
        self._before = dict[Path, int]()

    def read(self) -> bool | None:
        """Whether it did since the last call; None where that can't be known, or yet."""
        counts, states = _numbers(self._counters), _numbers(self._coolers).values()
        before, self._before = self._before, counts
        if any(state > 0 for state in states):
            return True
        known = before.keys() & counts.keys()
        if not known:
            return False if states and not counts else None
        return any(counts[each] > before[each] for each in known)


class PowerMeter:
    """The power that the CPU packages take, by their counters of energy (RAPL), which only root can
    read on most kernels."""

    def __init__(self, sys: Path) -> None:
        zones = sorted((sys / "class/powercap").glob("intel-rapl:*"))
        packages = [zone for zone in zones if (read_knob(zone / "name") or "").startswith("package")]
        self._counters = [zone / "energy_uj" for zone in packages]
        self._before: tuple[float, list[int]] | None = None

    def read(self, now: float) -> float | None:
        """Watts since the last call; None where they can't be read, or yet."""
        before, counts = self._before, list(_numbers(self._counters).values())
        self._before = (now, counts) if len(counts) == len(self._counters) > 0 else None
        if before is None or self._before is None or now <= before[0]:
            return None
        used = [new - old for old, new in zip(before[1], counts, strict=True)]
        if min(used) < 0:  # a counter has begun again
            return None
        return sum(used) / 1e6 / (now - before[0])


def _numbers(files: list[Path]) -> dict[Path, int]:
    """Of those that can be read."""
    return {file: number for file in files if (number := read_number(file)) is not None}
