"""How long the next start waits after workers that failed, found no work, or had to leave young. Pure.

- A worker that ends by itself soon after its start is a failure, and so is one that found no work.
  Each failure in a row doubles the wait, and after a failure one worker is tried at a time.
- Nothing starts between a worker's end and the moment at which it is known how it ended.
- However many workers were started before the first failure was known, theirs is one failure:
  they tell the same thing once.
- A worker that had to leave young was started too soon (a flap). From the second one in a row on,
  the room must have been there for twice as long as the time before.
"""

import math
from bisect import bisect_right

import msgspec

from plancton.model import Ended, Fleet, Held, HeldReason, Observation, Phase, Settings, Worker
from plancton.units import human_seconds

SHORT_LIFE, SHORTEST_DELAY, LONGEST_DELAY = 60.0, 5.0, 1_800.0
"""A worker that ends by itself before SHORT_LIFE delays the next start, doubling between the two."""
IDLE_DELAY = 60.0
"""So does one that found no work, whatever its age, from this on: the pool is asked ever less often."""
SETTLED = 600.0
"""A worker retired younger than this was started too soon. Only from the second time on does
grace_spawn double, up to LONGEST_DELAY: an owner who comes once gets the promised times, one who
comes and goes is left alone."""


class StartDelay(msgspec.Struct, frozen=True):
    """What went wrong lately, in a row. Times are CLOCK_BOOTTIME seconds, as the workers' ages are.

    ``idle``: the last failure was a worker that found no work; ``failure`` says it in words.
    """

    failures: int = 0
    last_failure: float = -math.inf
    failure: str = ""
    idle: bool = False
    flaps: int = 0
    last_flap: float = -math.inf

    def after_ends(self, seen: Observation, ends: tuple[Ended, ...]) -> "StartDelay":
        """With those counted that ended by themselves."""
        delay = self
        for ended in ends:
            # Those started before the last failure was known tell nothing new.
            failed = ended.idle or ended.age < SHORT_LIFE
            if failed and seen.boottime - ended.age > delay.last_failure:
                how = "found no work" if ended.idle else "ended at once"
                delay = delay._failed(seen, f"{how} ({ended.reason})", ended.idle)
        return delay

    def after_leaving(self, seen: Observation, leavers: list[Worker]) -> "StartDelay":
        """With those counted that were told to leave because of the owner, or because they flood."""
        delay = self
        floods = [w.flooding for w in leavers if w.flooding]
        if floods:
            delay = delay._failed(seen, f"had to leave ({floods[0]})", idle=False)
        elif leavers and seen.burden:
            delay = delay._failed(seen, f"had to leave on suspicion ({seen.burden})", idle=False)
        ages = [w.age(seen.boottime) for w in leavers if not w.flooding and w.phase is not Phase.FINISHING]
        # Those started before the last flap leave for the same reason as the one that made it.
        if any(age < SETTLED and seen.boottime - age > delay.last_flap for age in ages):
            delay = msgspec.structs.replace(delay, flaps=delay.flaps + 1, last_flap=seen.boottime)
        return delay

    def after_filling_the_disk(self, seen: Observation) -> "StartDelay":
        """With one counted that was ended because it filled the disk."""
        return self._failed(seen, "filled the disk", idle=False)

    def forgiven(self, seen: Observation) -> "StartDelay":
        """Failures are forgotten once a worker started after them has lived long enough and got
        work, as far as that can be known; flaps once one has lived long enough."""
        failures, flaps = self.failures, self.flaps
        if failures and _oldest_since(seen.fleet.proven, seen, self.last_failure) >= SHORT_LIFE:
            failures = 0
        if flaps and _oldest_since(seen.fleet.starts, seen, self.last_flap) >= SETTLED:
            flaps = 0
        return msgspec.structs.replace(self, failures=failures, flaps=flaps)

    def grace_spawn(self, settings: Settings) -> float:
        """Seconds for which room must have been there: doubled with each flap from the second one on."""
        doubled = settings.grace_spawn * 2.0 ** min(max(0, self.flaps - 1), 30)
        return min(max(settings.grace_spawn, LONGEST_DELAY), doubled)

    def held(self, seen: Observation, settings: Settings) -> Held | None:
        """Why the next start waits; None when it does not."""
        if self.failures:
            what = f"the last worker {self.failure}"
            if (wait := self.last_failure + self._seconds() - seen.boottime) > 0:
                return Held(HeldReason.FAILURES, f"backing off for {_about(wait)}: {what}")
            if seen.unexplained or self._is_one_on_trial(seen.fleet):
                text = f"one worker is tried before any other starts: {what}"
                return Held(HeldReason.TRIAL, text)
        elif seen.unexplained:  # it may turn out to be the first failure
            return Held(HeldReason.UNEXPLAINED, "how the last worker ended is not known yet")
        if self.flaps and (wait := self.last_flap + self.grace_spawn(settings) - seen.boottime) > 0:
            text = f"backing off for {_about(wait)}: a worker had to leave soon after its start"
            return Held(HeldReason.FLAPS, text)
        return None

    def _failed(self, seen: Observation, failure: str, idle: bool) -> "StartDelay":
        return msgspec.structs.replace(
            self, failures=self.failures + 1, last_failure=seen.boottime, failure=failure, idle=idle
        )

    def _seconds(self) -> float:
        """How long to wait after the last failure."""
        shortest = IDLE_DELAY if self.idle else SHORTEST_DELAY
        return min(LONGEST_DELAY, shortest * 2.0 ** min(self.failures - 1, 30))

    def _is_one_on_trial(self, fleet: Fleet) -> bool:
        """Whether one is there that may yet show that what made the last one fail is over."""
        return fleet.active > len(fleet.running) or fleet.starts[-1:] > (self.last_failure,)


def _oldest_since(starts: tuple[float, ...], seen: Observation, since: float) -> float:
    """The age of the oldest of those started after this time."""
    place = bisect_right(starts, since)
    return seen.boottime - starts[place] if place < len(starts) else 0.0


def _about(seconds: float) -> str:
    """Rounded up, so that what is said does not change every second."""
    return human_seconds(math.ceil(seconds / 10) * 10 if seconds > 10 else math.ceil(seconds))
