"""Whether the owner waits for CPU while workers get some, so that theirs must be capped
(`yield.cap: auto`). Pure.

To the kernel a CPU that runs a worker is never idle, so it does not at once fetch one of the
owner's processes that wait elsewhere: an owner with many short ones loses a seventh of the CPU
(docs/yielding.md). Only CPU that is really idle helps, at the cost of harvest: so it is kept idle
while this goes on, and not otherwise.

While the cap is in force nothing tells whether it is still needed. So it ends when the owner uses
much less than when it began, and otherwise now and then, to see: that costs the owner two seconds.
"""

import math

import msgspec

from plancton.model import Observation

WAITS = 0.05
"""The owner waits when somebody of theirs does for this part of the time. A busy owner whose
processes last waits 2 % of the time, beside workers and alone."""
WORKS = 0.025
"""Workers get some CPU when they get this part of all. Beside a busy owner whose processes last it is
1 %, beside one who compiles 3 to 8 %."""
LASTS = 0.9
"""Seconds for which both must have been true, after the kernel has told of the owner's waiting: it
looks back for as long (host/cpu_pressure.py)."""
MUCH_LESS, QUIET = 0.5, 1.9
"""The owner has ended what the cap was for when they use this part of what they used then, for so
many seconds."""
FIRST, LONGEST = 30.0, 600.0
"""Seconds after which the cap ends to see whether it is still needed; each time that it is, twice as long."""
AGAIN = 10.0
"""It still is when both are true before this many seconds are over."""


class Contention(msgspec.Struct, frozen=True):
    """``both``: seconds for which the owner has waited and workers have got some; ``capped``:
    whether the cap is in force, ``wanted`` the most CPUs that the owner has used or waited for since,
    ``until`` when it ends to see (CLOCK_MONOTONIC), and ``patience`` how long that is; ``low``:
    seconds for which the owner has used much less. ``ended``: when it ended to see."""

    capped: bool = False
    both: float = 0.0
    wanted: float = 0.0
    until: float = 0.0
    patience: float = FIRST
    low: float = 0.0
    ended: float = -math.inf

    def after(self, seen: Observation) -> "Contention":
        """With this tick counted."""
        if seen.owner is None or not seen.interval:
            return self
        return self._while_capped(seen, seen.interval) if self.capped else self._before(seen, seen.interval)

    def _before(self, seen: Observation, seconds: float) -> "Contention":
        both = self.both + seconds if contends(seen) else 0.0
        if both < LASTS:
            return msgspec.structs.replace(self, both=both)
        patience = min(LONGEST, 2 * self.patience) if seen.time - self.ended < AGAIN else FIRST
        return Contention(True, 0.0, wanted_by_owner(seen), seen.time + patience, patience)

    def _while_capped(self, seen: Observation, seconds: float) -> "Contention":
        wanted = max(self.wanted, wanted_by_owner(seen))
        low = self.low + seconds if wanted_by_owner(seen) <= MUCH_LESS * wanted else 0.0
        if low >= QUIET or not seen.fleet.line:
            return NO_CONTENTION
        if seen.time >= self.until:
            return Contention(patience=self.patience, ended=seen.time)
        return msgspec.structs.replace(self, wanted=wanted, low=low)


NO_CONTENTION = Contention()


def contends(seen: Observation) -> bool:
    """Whether the owner has waited at this tick while workers got some CPU."""
    return (seen.owner_waits or 0.0) >= WAITS and workers_get_some(seen)


def workers_get_some(seen: Observation) -> bool:
    return (seen.donated or 0.0) >= WORKS * seen.capacity


def wanted_by_owner(seen: Observation) -> float:
    """CPUs that the owner uses, and those that they wait for: where their processes run, others of
    theirs wait for a part of the time (Documentation/accounting/psi.rst)."""
    return (seen.owner or 0.0) * (1 + (seen.owner_waits or 0.0))
