"""What all workers together may use, when the owner wants less than all that is idle. Pure.

- `owner.cpu_cap` is a number or a rule. A lower cap is in force at once; a higher one when nothing
  lower has been asked for during `owner.pause_hold`, so that a signal that comes and goes costs no
  more than a few writes a minute.
- `owner.max_temperature` makes a cap of its own (heat_cap.py).

The lower of the two holds: the kernel keeps the workers to it (the slice's cpu.max), and no more of
them run than it feeds.
"""

import math

import msgspec

from plancton.model import Capped, Fleet, Observation, Settings
from plancton.policy.heat_cap import UNHEATED, Heat
from plancton.policy.owner_rules import LEAST_HOLD

DEAD_BAND = 0.02
"""Smaller changes, as parts of all CPUs, are not worth a write."""


class CpuCap(msgspec.Struct, frozen=True):
    """``asked`` is what is in force of `owner.cpu_cap` (infinite: all). Since ``since``
    (CLOCK_MONOTONIC) more has been asked for, at least ``least``. ``heat`` is the cap for the
    temperature, and ``in_force`` what came of both."""

    asked: float = math.inf
    least: float = math.inf
    since: float | None = None
    heat: Heat = UNHEATED
    in_force: Capped | None = None

    @property
    def cpus(self) -> float | None:
        return self.in_force.cpus if self.in_force else None

    def after(self, seen: Observation, settings: Settings) -> "CpuCap":
        """With what is asked for at this tick."""
        if seen.rules.cap is None and settings.max_temperature is None and self == UNCAPPED:
            return self
        new = self._asking(math.inf if seen.rules.cap is None else seen.rules.cap, seen, settings)
        heat = new.heat.after(seen, settings)
        return msgspec.structs.replace(new, heat=heat, in_force=new._together(heat, seen, settings))

    def _asking(self, asked: float, seen: Observation, settings: Settings) -> "CpuCap":
        if asked <= self.asked:
            near = self.asked - asked < DEAD_BAND * seen.capacity
            kept = self.asked if near else asked
            return msgspec.structs.replace(self, asked=kept, least=math.inf, since=None)
        since, least = seen.time if self.since is None else self.since, min(self.least, asked)
        if seen.time - since < max(LEAST_HOLD, settings.pause_hold):
            return msgspec.structs.replace(self, least=least, since=since)
        return msgspec.structs.replace(self, asked=least, least=math.inf, since=None)

    def _together(self, heat: Heat, seen: Observation, settings: Settings) -> Capped | None:
        """The lower one, unless that is what is in force, nearly."""
        if min(self.asked, heat.cap) >= seen.capacity:
            return None
        if self.asked <= heat.cap:
            return Capped(round(self.asked, 2), "owner.cpu_cap")
        cpus, before = round(heat.cap, 2), self.in_force
        if before and before.by_heat and abs(cpus - before.cpus) < DEAD_BAND * seen.capacity:
            return before
        return Capped(cpus, f"so that the CPU stays below {settings.max_temperature:g} °C", by_heat=True)

    def left(self, seen: Observation, settings: Settings) -> float:
        """Seconds until it may change by itself."""
        if self.since is None:
            return self.heat.left(seen, settings)
        return self.since + max(LEAST_HOLD, settings.pause_hold) - seen.time


UNCAPPED = CpuCap()


def slice_limit(cap: float, fleet: Fleet, settings: Settings) -> float:
    """The slice's own limit: the cap, or the least that the kernel takes with all workers that are
    there and one that is started."""
    return cap if settings.nested_quotas else max(cap, fleet.largest, settings.worker_cpus)
