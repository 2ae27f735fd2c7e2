"""What it means for a worker that its host was suspended: its pool has had no answer meanwhile. Pure.

- A pool waits for the lease of a job whose worker is silent, and then has it run elsewhere. After a
  longer suspend the job would be computed for nothing: its worker leaves at once.
- A worker that finds that it has been without work for all that time says nothing about the pool.
"""

import math

import msgspec

from plancton.model import Ended, Observation, Settings, Worker
from plancton.policy.owner_rules import CATCHING_UP
from plancton.units import human_seconds


class Suspend(msgspec.Struct, frozen=True):
    """The last suspend was over by ``woke``; jobs that began before ``lost`` are lost, for the reason
    that ``words`` have (CLOCK_BOOTTIME)."""

    woke: float = -math.inf
    lost: float = -math.inf
    words: str = ""

    def after(self, before: float, seconds: float, seen: Observation, settings: Settings) -> "Suspend":
        """With one that took that many seconds, some time after ``before``."""
        if settings.lease is None or seconds <= settings.lease:
            return Suspend(seen.boottime, self.lost, self.words)
        slept = human_seconds(seconds)
        words = f"its job's lease has run out, because this host was suspended for {slept}"
        return Suspend(seen.boottime, before, words)

    def has_lost(self, worker: Worker) -> bool:
        """Whether its job runs elsewhere by now."""
        return bool(worker.jobs and worker.jobs[0] < self.lost)

    def was_asleep(self, ended: Ended, seen: Observation) -> bool:
        """Whether a suspend may be why this one found no work."""
        return seen.boottime - ended.age < self.woke > seen.boottime - CATCHING_UP


AWAKE = Suspend()
