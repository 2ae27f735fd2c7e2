"""The cap that keeps the CPU below `owner.max_temperature`. Pure.

The cap follows where the temperature is going, not only where it is: a package and its heatsink go
on getting warmer for a minute after more is computed. It is cut at once, by as much as the heat
above a room's temperature is too much, and grows slowly, ever more so the closer the limit is. That
is what keeps it from hunting: a fan that goes up and down is worse than one that runs.

Simulated packages, from a passive one to a server's, are in tests/unit/policy/test_heat_cap.py.
"""

import math

import msgspec

from plancton.model import Observation, Settings

MARGIN = 3.0
"""°C below the limit at which growth ends: sensors tell whole degrees, and waver by one."""
ROOM = 30.0
"""°C: what is above that is made by what the CPU does."""
LEAD = 12.0
"""Seconds for which the temperature is taken to go on as it does now."""
SMOOTHING = 15.0
"""Seconds over which that is averaged: a sensor's noise is no way that it goes."""
GROWTH = 0.0002
"""Part of all CPUs by which the cap grows each second, for each °C of what is left."""
MOST_LEFT = 30.0
"""°C: more that is left makes it grow no faster."""
MOST_CUT = 0.5
"""The cap is never cut by more than this part of it at once: a reading may be wrong."""
LEAST = 0.02
"""Part of all CPUs below which the cap does not go: what is too warm then is not the workers'."""
SETTLES = 4.0
"""Seconds between two cuts: what the last one has done has to be seen first."""
WAVERS = 3.0
"""°C by which a sensor may be off at a reading."""
STEADIES = 6.0
"""Seconds over which its readings are averaged."""
FALLS = -0.05
"""°C per second: one that falls faster is not cut again."""
NEAR = 10.0
"""°C below the limit from which on each reading counts."""


class Heat(msgspec.Struct, frozen=True):
    """``cap`` are CPUs (infinite: no cap). ``temperature`` and ``slope`` (°C, and °C per second) are
    averages until the reading at ``time``, and ``cut`` is when the cap was last cut."""

    cap: float = math.inf
    temperature: float | None = None
    slope: float = 0.0
    time: float = 0.0
    cut: float = -math.inf

    def after(self, seen: Observation, settings: Settings) -> "Heat":
        """With the temperature of this tick; one that is not known changes nothing."""
        limit, now = settings.max_temperature, seen.rules.temperature
        if limit is None:
            return UNHEATED
        if now is None:
            return self
        seconds = seen.time - self.time
        if self.temperature is None or not 0 < seconds < settings.gap:
            return Heat(self.cap, now, 0.0, seen.time, self.cut)
        read, average = self._averaged(self.temperature, now, seconds)
        ahead = average + max(0.0, LEAD * read.slope)
        if now > limit + WAVERS:  # too much for a sensor's noise
            ahead = max(ahead, now)
        goal = limit - MARGIN
        if ahead > goal + WAVERS / 2 and read.slope > FALLS and seen.time - self.cut >= SETTLES:
            return msgspec.structs.replace(read, cap=self._cut(ahead - goal, goal, seen), cut=seen.time)
        if ahead >= goal or self.cap == math.inf:
            return read
        cap = self.cap + GROWTH * min(MOST_LEFT, goal - ahead) * seen.capacity * seconds
        return msgspec.structs.replace(read, cap=math.inf if cap >= seen.capacity else cap)

    def _averaged(self, before: float, now: float, seconds: float) -> "tuple[Heat, float]":
        """With one more reading, and the average."""
        average = before + (1.0 - math.exp(-seconds / STEADIES)) * (now - before)
        part = 1.0 - math.exp(-seconds / SMOOTHING)
        slope = self.slope + part * ((average - before) / seconds - self.slope)
        return Heat(self.cap, average, slope, self.time + seconds, self.cut), average

    def _cut(self, over: float, goal: float, seen: Observation) -> float:
        """So much less, beginning with what the workers use."""
        used = min(self.cap, max(seen.donated or 0.0, LEAST * seen.capacity))
        part = min(MOST_CUT, over / max(10.0, goal + over - ROOM))
        return max(LEAST * seen.capacity, used * (1.0 - part))

    def left(self, seen: Observation, settings: Settings) -> float:
        """Seconds until the next reading is wanted."""
        limit = settings.max_temperature
        if limit is None or self.temperature is None or not seen.fleet.line:
            return math.inf
        return SETTLES if self.temperature > limit - NEAR or self.cap < math.inf else math.inf


UNHEATED = Heat()
