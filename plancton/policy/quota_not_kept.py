"""Whether the limit of the workers' CPU is kept where nothing else protects the owner (tier quota). Pure.

A kernel without CONFIG_CFS_BANDWIDTH knows no such limit, and a sched_ext scheduler need not keep
it. Only what the workers use tells.
"""

import msgspec

from plancton.model import Observation
from plancton.policy.quota import LEAST, WAY_OUT

MARGIN = 0.1
"""Part of all CPUs by which workers may be above their limit: it is kept in periods of 0.1 s."""
LASTS = 10.0
"""Seconds for which they must be: Docker needs some to set a limit."""
RETRY = 1_800.0
"""Seconds after which it is tried again: the scheduler may be another one."""


class Unheeded(msgspec.Struct, frozen=True):
    """``above``: seconds for which the workers have used more than their limit; ``until``: it is
    not kept, for all that is known, until then (CLOCK_MONOTONIC); ``words`` say what was seen."""

    above: float = 0.0
    until: float | None = None
    words: str = ""

    def after(self, seen: Observation, quota: float | None) -> "Unheeded":
        """With this tick counted, during which ``quota`` was the limit of all workers together."""
        if self.until is not None:
            return self if seen.time < self.until else HEEDED
        if quota is None or seen.donated is None or not seen.interval or not seen.docker:
            return HEEDED
        allowed = quota + WAY_OUT + LEAST * len(seen.fleet.workers) + MARGIN * seen.capacity
        if seen.donated <= allowed:
            return HEEDED
        above = self.above + seen.interval
        if above < LASTS:
            return Unheeded(above)
        words = f"workers used {seen.donated:.1f} CPUs with a limit of {quota:.1f}"
        return Unheeded(above, seen.time + RETRY, f"{words}: nothing would protect the owner")


HEEDED = Unheeded()
