"""Whether a supervisor stays as it began, from what was read of it over hours. Pure."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

from cost.figure import Figure
from plancton.daemon.logs import LARGEST
from plancton.model import Header, Settings, Tick
from plancton.policy.decide import decide
from plancton.policy.state import State
from plancton.policy.tick_interval import next_tick, stretched

SETTLED = 600.0
"""Seconds after which it has allocated what it goes on to use; a third of a shorter run."""
CERTAIN = 3600.0
"""A shorter run's slope is less certain: one page more for a worker more may be all of it."""
MOST_POINTS = 120
"""The slope is of that many medians at most: it takes the square of them."""
SLOPE = 0.5


class Reading(NamedTuple):
    """The supervisor's process at one moment; ``rss`` and what of it is no file's,
    ``anonymous``, in MiB, ``log`` in bytes."""

    time: float
    rss: float
    anonymous: float
    descriptors: int
    threads: int
    log: int


class Late(NamedTuple):
    """A tick, how many seconds after it was due it came, and for how many of them the machine let
    nobody, or not this process, go on."""

    time: float
    seconds: float
    excused: float

    @property
    def own(self) -> float:
        return max(0.0, self.seconds - self.excused)


class DueTicks:
    """Says how late each tick of a recording came: the policy's own rule tells when it was due."""

    def __init__(self, calm: float) -> None:
        self._calm = calm
        self._settings, self._state = Settings(), State()
        self._due: float | None = None

    def late(self, line: Header | Tick) -> float | None:
        """Seconds, 0 if it came early; None for the first tick."""
        if isinstance(line, Header):
            self._settings = line.settings
            if not line.continued:
                self._state, self._due = State(), None
            return None
        seen, due = line.observation, self._due
        decision, self._state = decide(seen, self._state, self._settings)
        self._due = seen.time + next_tick(
            seen, decision, self._state, self._settings, self._calm, stretched(self._calm)
        )
        return None if due is None else max(0.0, seen.time - due)


def judge(readings: Sequence[Reading], ticks: Sequence[Late], seconds: float) -> Iterator[Figure]:
    """All figures of a run of this many seconds, next to their budgets."""
    settled = readings[0].time + min(SETTLED, seconds / 3)
    later = [each for each in readings if each.time >= settled]
    less = "" if seconds >= CERTAIN else " (a short run: less certain)"
    for name, series in (
        ("RSS", [(each.time, each.rss) for each in later]),
        ("anonymous memory", [(each.time, each.anonymous) for each in later]),
    ):
        found = 3600 * slope(series)
        way = "rises" if found > 0 else "falls"
        yield Figure(f"{name} {way} by, per hour{less}", abs(found), SLOPE, "MiB")
    yield Figure("descriptors more than after the start", growth([r.descriptors for r in later]), 0, "")
    yield Figure("threads more than after the start", growth([r.threads for r in later]), 0, "")
    # What fills it is moved aside, and the one before that goes.
    most = max(each.log for each in readings) / (1 << 20)
    yield Figure("its log", most, (2 * LARGEST + (1 << 16)) / (1 << 20), "MiB")
    worst = max(ticks, key=lambda each: each.own, default=Late(0.0, 0.0, 0.0))
    yield Figure(f"the latest of {len(ticks)} ticks, less what the machine kept it", worst.own, 1.0, "s")


def slope(series: Sequence[tuple[float, float]]) -> float:
    """Units per second: the median of the slopes between all pairs (Theil and Sen), so that one
    odd reading means nothing."""
    points = _medians(series)
    return median([(b - a) / (end - start) for (start, a), (end, b) in combinations(points, 2)] or [0.0])


def _medians(series: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = max(1, -(-len(series) // MOST_POINTS))
    groups = [series[at : at + size] for at in range(0, len(series), size)]
    return [(median(t for t, _ in each), median(v for _, v in each)) for each in groups]


def growth(series: Sequence[int]) -> int:
    """By how much the lowest tenth of the last third is above that of the first: workers come and go,
    and with them what is kept for each, but what is open without them is the same unless something
    is left open. Not the least: while a dockerd restarts, its connections are closed as well."""
    third = max(1, len(series) // 3)
    first, last = (sorted(part) for part in (series[:third], series[-third:]))
    return max(0, last[third // 10] - first[third // 10])
