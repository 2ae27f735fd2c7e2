"""The cap for the temperature, on simulated packages: from a passive one to a server's."""

import math
import random
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from unit.policy.ticks import workers

from plancton.model import Fleet, Observation, OwnerRules, Settings
from plancton.policy.cpu_cap import UNCAPPED
from plancton.policy.heat_cap import LEAST, MARGIN, UNHEATED, Heat

LIMIT = 75.0
SETTINGS = Settings(max_temperature=LIMIT, gap=20.0)


class Package(NamedTuple):
    """°C that full load adds: within ``quick`` seconds by the die, within ``slow`` by what cools
    it; the sensor wavers by ``noise`` and tells whole degrees."""

    cpus: float
    die: float
    sink: float
    quick: float
    slow: float
    noise: float = 0.7


PACKAGES = {
    "laptop": Package(8, 25.0, 40.0, 2.0, 40.0),
    "desktop": Package(16, 20.0, 30.0, 1.5, 90.0),
    "passive": Package(4, 10.0, 55.0, 3.0, 300.0),
    "server": Package(64, 12.0, 35.0, 1.0, 60.0, 1.5),
    "small": Package(2, 30.0, 25.0, 2.0, 30.0),
}


class Moment(NamedTuple):
    """What was so at one reading."""

    time: float
    temperature: float
    cap: float
    used: float


def run(
    package: Package,
    owner: dict[float, float],
    seconds: float = 3600.0,
    every: float = 4.0,
    sensor: float = 4.0,
) -> list[Moment]:
    """Workers take all that the owner (their part of the CPUs from a time on) and the cap leave.
    There is a tick ``every`` this many seconds, and the ``sensor`` is read that often at most."""
    chance, cap, moments = random.Random(1), UNCAPPED, list[Moment]()
    told = told_at = 0.0
    die = sink = 0.0
    time, used = 1_000.0, package.cpus
    busy = 0.0
    while time < 1_000.0 + seconds:
        busy = [part for since, part in owner.items() if since <= time - 1_000.0][-1]
        used = min(package.cpus * (1.0 - busy), cap.cpus or math.inf)
        part = busy + used / package.cpus
        steps = round(every / 0.5)
        for _ in range(steps):
            die += (part * package.die - die) * (1 - math.exp(-0.5 / package.quick))
            sink += (part * package.sink - sink) * (1 - math.exp(-0.5 / package.slow))
        time += every
        truth = 32.0 + die + sink
        if time - told_at >= sensor:
            told, told_at = round(truth + chance.gauss(0, package.noise)), time
        seen = Observation(
            time, time, package.cpus, every, owner=busy * package.cpus, donated=used,
            rules=OwnerRules(temperature=told),
            fleet=Fleet.of(workers(1)),
        )  # fmt: skip
        cap = cap.after(seen, SETTINGS)
        moments.append(Moment(time - 1_000.0, truth, cap.cpus or math.inf, used))
    return moments


def best(package: Package, busy: float) -> float:
    """CPUs that workers can use for ever just at the end of growth."""
    part = (LIMIT - MARGIN - 32.0) / (package.die + package.sink)
    return max(0.0, min(1.0 - busy, part - busy)) * package.cpus


@pytest.mark.parametrize("every", [1.0, 4.0, 5.0])
@pytest.mark.parametrize("busy", [0.0, 0.3])
@pytest.mark.parametrize("name", PACKAGES)
def test_stays_below(name: str, busy: float, every: float) -> None:
    """After it was cut the package stays below the limit, all that can be used is, and the cap does
    not hunt: it goes up and down by a few percent, and is seldom written."""
    package = PACKAGES[name]
    moments = run(package, {0.0: busy}, every=every)
    later = [m for m in moments if m.time > 900]
    assert max(m.temperature for m in later) <= LIMIT, max(m.temperature for m in later)
    used = sum(m.used for m in later) / len(later)
    assert used >= 0.9 * best(package, busy), (used, best(package, busy))
    changes = [b.time for a, b in pairwise(later) if a.cap != b.cap]
    assert max((sum(t <= each < t + 60 for each in changes) for t in changes), default=0) <= 6, changes
    caps = [min(m.cap, package.cpus) / package.cpus for m in later]
    assert max(caps) - min(caps) <= 0.15, (min(caps), max(caps))


@pytest.mark.parametrize("name", PACKAGES)
def test_cut_at_once(name: str) -> None:
    """It is never too warm by more than a sensor wavers when all CPUs are donated to a cool
    package."""
    for every in (1.0, 5.0):
        moments = run(PACKAGES[name], {0.0: 0.0}, every=every)
        assert max(m.temperature for m in moments) < LIMIT + 1


@pytest.mark.parametrize("name", PACKAGES)
def test_an_owner_who_comes_and_goes(name: str) -> None:
    """When the owner's own load heats it the workers give way, and come back when it is gone."""
    package = PACKAGES[name]
    moments = run(package, {0.0: 0.0, 1_200.0: 0.6, 2_400.0: 0.0}, seconds=5_400)
    used = [sum(m.used for m in moments if a < m.time < a + 300) for a in (800, 2_000, 4_800)]
    assert used[1] < used[0] and used[2] > 0.85 * used[0], used
    alone = 32.0 + 0.6 * (package.die + package.sink)
    assert max(m.temperature for m in moments if m.time > 1_500) <= max(LIMIT, alone) + 1


def test_cold_enough() -> None:
    """Where the limit is never reached there is no cap."""
    cool = Package(8, 10.0, 15.0, 2.0, 40.0)
    assert all(m.cap == math.inf for m in run(cool, {0.0: 0.0}))


def seen(time: float, temperature: float | None, donated: float = 4.0) -> Observation:
    rules = OwnerRules(temperature=temperature)
    return Observation(time, time, 4.0, 1.0, owner=0.0, donated=donated, rules=rules)


def test_odd_readings() -> None:
    """One wrong reading cuts no more than half; an unknown one changes nothing; a gap is no slope;
    too warm by itself, a host keeps a little for its workers."""
    heat = Heat(3.0).after(seen(1.0, 60.0), SETTINGS)
    assert heat.after(seen(2.0, None), SETTINGS) is heat
    assert heat.after(seen(2.0, 110.0), SETTINGS).cap >= 1.5
    assert heat.after(seen(500.0, 74.0), SETTINGS).cap == 3.0
    for second in range(5, 500):
        heat = heat.after(seen(float(second), 99.0, donated=0.0), SETTINGS)
    assert heat.cap == pytest.approx(LEAST * 4.0)
    assert heat.after(seen(501.0, 99.0), Settings()) == UNHEATED


PAGE = (Path(__file__).parents[3] / "docs" / "owner.md").read_text()
MINUTES = (0.1, 0.5, 1, 2, 5, 10, 20, 20.5, 21, 22, 25, 39, 41, 45, 50, 60)


def test_recording_in_the_docs() -> None:
    """The table in docs/owner.md is what the simulated laptop does when its owner comes for twenty
    minutes."""
    moments = run(PACKAGES["laptop"], {0.0: 0.0, 1_200.0: 0.5, 2_400.0: 0.0}, seconds=3_700, every=2.0)
    for minute in MINUTES:
        at = next(m for m in moments if m.time >= 60 * minute)
        owner = "50 %" if 20 < minute <= 40 else "–"
        cap = f"{at.cap / 8:.0%}".replace("%", " %") if at.cap < 8 else "–"
        row = f"| {minute:g} | {owner} | {cap} | {at.used / 8:.0%} | {at.temperature:.0f} °C |"
        assert row.replace("%", " %").replace("  %", " %") in PAGE, row.replace("%", " %").replace(
            "  %", " %"
        )
