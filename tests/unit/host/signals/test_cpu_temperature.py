"""The CPU's heat and power, from trees as /sys has them on several hosts."""

import shutil
from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.signals.cpu_temperature import PowerMeter, Throttle, find_sensors, read_temperature


def sensors(name: str, **temperatures: tuple[str, int]) -> Tree:
    """A device of hwmon: temp1=("Package id 0", 45)."""
    files = {"name": f"{name}\n"}
    for file, (label, degrees) in temperatures.items():
        files[f"{file}_input"] = f"{degrees * 1000}\n"
        if label:
            files[f"{file}_label"] = f"{label}\n"
    return files


INTEL = sensors("coretemp", temp1=("Package id 0", 45), temp2=("Core 0", 61), temp3=("Core 1", 44))
SECOND = sensors("coretemp", temp1=("Package id 1", 52), temp2=("Core 0", 50))
AMD = sensors("k10temp", temp1=("Tctl", 77), temp2=("Tdie", 50), temp3=("Tccd1", 48))
NEWER_AMD = sensors("k10temp", temp1=("Tctl", 66), temp3=("Tccd1", 58))
DISK = sensors("nvme", temp1=("Composite", 70))
PI = sensors("cpu_thermal", temp1=("", 48))
BOARD = sensors("acpitz", temp1=("", 28))


def zone(kind: str, milli: int) -> Tree:
    return {"type": f"{kind}\n", "temp": f"{milli}\n"}


@pytest.mark.parametrize(
    ("hwmon", "zones", "expected"),
    [
        ([INTEL, DISK], [], 45),
        ([BOARD, INTEL, SECOND], [], 52),
        ([AMD], [], 50),
        ([NEWER_AMD, DISK], [], 66),
        ([PI], [zone("cpu-thermal", 47_000)], 48),
        ([DISK], [zone("acpitz", 27_800), zone("x86_pkg_temp", 49_000)], 49),
        ([], [zone("cpu-0-0-usr", 51_000), zone("gpu-usr", 70_000), zone("soc-thermal", 53_000)], 53),
        ([], [zone("cpu_thermal", 0)], None),
        ([], [zone("CPU-therm", 127_000), zone("cpu1-thermal", 44_000)], 44),
        ([], [zone("cpu-thermal", -274_000)], None),
        ([BOARD, DISK], [zone("acpitz", 27_800), zone("iwlwifi_1", 40_000)], None),
        ([], [], None),
    ],
    ids=[
        *("Intel", "two sockets", "AMD", "newer AMD", "a Pi", "no driver", "a phone's chip", "reads 0"),
        *("reads 127", "reads nonsense", "none of the CPU", "a virtual machine"),
    ],
)
def test_temperature(tmp_path: Path, hwmon: list[Tree], zones: list[Tree], expected: float | None) -> None:
    """The hottest package by its own sensor, without those that can't be true."""
    devices = {f"hwmon{i}": device for i, device in enumerate(hwmon)}
    thermal = {f"thermal_zone{i}": each for i, each in enumerate(zones)}
    tree(tmp_path, **{"class": {"hwmon": devices, "thermal": thermal}})
    assert read_temperature(find_sensors(tmp_path)) == expected


def test_sensor_that_goes_away(tmp_path: Path) -> None:
    """A sensor that can't be read any more is unknown, and no error."""
    tree(tmp_path, **{"class": {"hwmon": {"hwmon0": INTEL}}})
    found = find_sensors(tmp_path)
    (tmp_path / "class/hwmon/hwmon0/temp1_input").unlink()
    assert found and read_temperature(found) is None


def cpus(*counts: int) -> Tree:
    """Two CPUs of each package, which has slowed down so often."""
    found: dict[str, Tree] = {}
    for package, count in enumerate(counts):
        for thread in (0, 1):
            found[f"cpu{2 * package + thread}"] = {
                "thermal_throttle": {"package_throttle_count": f"{count}\n"},
                "topology": {"physical_package_id": f"{package}\n"},
            }
    return {"devices": {"system": {"cpu": found}}}


def test_throttled_intel(tmp_path: Path) -> None:
    """It is true while a package's counter grows, and unknown before that can be seen."""
    tree(tmp_path, cpus(7, 3))
    throttle = Throttle(tmp_path)
    assert throttle.read() is None
    assert throttle.read() is False
    tree(tmp_path, cpus(7, 4))
    assert throttle.read() is True
    assert throttle.read() is False


def test_throttled_while_cpus_go_offline(tmp_path: Path) -> None:
    """The first of a package's CPUs tells, which stays when second threads are switched off; a package
    that comes back has not been throttled for that."""
    directory = tree(tmp_path, cpus(7, 3)) / "devices/system/cpu"
    throttle = Throttle(tmp_path)
    throttle.read()
    for cpu in ("cpu1", "cpu3"):
        shutil.rmtree(directory / cpu)
    assert throttle.read() is False
    (directory / "cpu2").rename(directory / "away")
    assert throttle.read() is False
    (directory / "away").rename(directory / "cpu2")
    assert throttle.read() is False
    (directory / "cpu0/thermal_throttle/package_throttle_count").write_text("8")
    assert throttle.read() is True


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [("cpufreq-cpu0", 3, True), ("Processor", 0, False), ("thermal-cpufreq-0", 1, True), ("Fan", 5, None)],
)
def test_throttled_elsewhere(tmp_path: Path, kind: str, state: int, expected: bool | None) -> None:
    """It is true while the kernel cools a CPU by slowing it down; a fan does not."""
    device = {"type": f"{kind}\n", "cur_state": f"{state}\n"}
    tree(tmp_path, **{"class": {"thermal": {"cooling_device0": device}}})
    assert Throttle(tmp_path).read() is expected


def rapl(*counters: int) -> Tree:
    zones: dict[str, Tree] = {"intel-rapl:0:0": {"name": "core\n", "energy_uj": "99\n"}}
    for number, counter in enumerate(counters):
        zones[f"intel-rapl:{number}"] = {"name": f"package-{number}\n", "energy_uj": f"{counter}\n"}
    return {"class": {"powercap": zones}}


def test_power(tmp_path: Path) -> None:
    """Watts of all packages between two looks; unknown at the first, and where a counter began
    again."""
    tree(tmp_path, rapl(1_000_000, 0))
    meter = PowerMeter(tmp_path)
    assert meter.read(10.0) is None
    tree(tmp_path, rapl(61_000_000, 40_000_000))
    assert meter.read(12.0) == pytest.approx(50.0)
    tree(tmp_path, rapl(5, 50_000_000))
    assert meter.read(14.0) is None
    tree(tmp_path, rapl(20_000_005, 50_000_000))
    assert meter.read(16.0) == pytest.approx(10.0)


def test_no_power(tmp_path: Path) -> None:
    """Without counters, or where they can't be read, it is unknown."""
    meter = PowerMeter(tmp_path)
    assert (meter.read(1.0), meter.read(2.0)) == (None, None)
