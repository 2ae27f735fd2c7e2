"""What the owner asks for besides CPU: a pause, or that all leave. Pure.

- A pause freezes all workers at once. They keep their memory and their jobs, and nothing is
  started. `plancton pause` ends when its time is over or on `plancton resume`.
- A rule (`owner.pause_when`, `owner.leave_when`) holds at once, and until it has not been true for
  `owner.pause_hold`: a signal that comes and goes moves nothing back and forth.
- Workers that have been paused for their patience leave: their jobs can go on elsewhere. One that
  leaves is never frozen, so all are thawed while one does.
- Where workers can't be frozen, they leave at once.
"""

import math

import msgspec

from plancton.model import (
    NO_WISHES,
    Action,
    Ended,
    Freeze,
    Leave,
    Observation,
    OwnerRules,
    Phase,
    Settings,
    Thaw,
    Worker,
)
from plancton.policy.unfit_patience import frozen_patience
from plancton.units import human_seconds

LEAST_HOLD = 10.0
"""Rules are held for at least this long, whatever the configuration says (seconds)."""
STARTING = 10.0
"""One that is being started would hang in a frozen slice, and Docker's call with it: that is waited
for this long (seconds). It takes less than one where Docker answers."""
CATCHING_UP = 600.0
"""Who was frozen finds that it has been without work for that long: one that ends for it so soon
afterwards says nothing about the pool (seconds)."""
SAY_AGAIN = 60.0
"""The words of a rule have figures in them, which are said again after this time (seconds)."""
NO_RULES = OwnerRules()


class Rule(msgspec.Struct, frozen=True):
    """One of the rules: ``words`` while it holds, since ``said``, and when it was last true
    (CLOCK_MONOTONIC)."""

    words: str = ""
    said: float = 0.0
    last: float = -math.inf

    def after(self, words: str, seen: Observation, settings: Settings) -> "Rule":
        """``words``: it is true now."""
        if words and self.words and seen.time - self.said < SAY_AGAIN:
            return Rule(self.words, self.said, seen.time)
        if words:
            return Rule(words, seen.time, seen.time)
        return NO_RULE if self.left(seen, settings) <= 0 else self

    def left(self, seen: Observation, settings: Settings) -> float:
        """Seconds until it ends if it does not become true again."""
        if not self.words:
            return math.inf
        return self.last + max(LEAST_HOLD, settings.pause_hold) - seen.time


NO_RULE = Rule()


class Standing(msgspec.Struct, frozen=True):
    """What the owner has asked for, as far as it still stands. ``words`` is why the workers are
    paused, ``since`` when (CLOCK_MONOTONIC); ``ended`` is when the last pause did (CLOCK_BOOTTIME)."""

    words: str = ""
    since: float = 0.0
    ended: float = -math.inf
    pause: Rule = NO_RULE
    leave: Rule = NO_RULE

    @property
    def is_paused(self) -> bool:
        return self.words != ""

    @property
    def sends_away(self) -> str:
        """Why all leave, by a rule; empty: none says so."""
        return f"not donating: {self.leave.words}" if self.leave.words else ""

    def after(self, seen: Observation, settings: Settings) -> "Standing":
        """With what the owner asks for at this tick."""
        wishes, rules = seen.wishes, seen.rules
        if wishes == NO_WISHES and rules == NO_RULES and not self.words and not self.leave.words:
            return self
        pause = self.pause.after(rules.pause, seen, settings)
        words = wishes.pause or (f"paused: {pause.words}" if pause.words else "")
        return Standing(
            words=words,
            since=self.since if self.is_paused else seen.time,
            ended=seen.boottime if self.is_paused and not words else self.ended,
            pause=pause,
            leave=self.leave.after(rules.leave, seen, settings),
        )

    def waits(self, worker: Worker, seen: Observation, settings: Settings) -> float:
        """Seconds for which a worker still waits for the end of the pause."""
        if not seen.wishes.freezable:
            return 0.0
        return self.since + frozen_patience(worker, settings) - seen.time

    def why_leave(self, worker: Worker, seen: Observation, settings: Settings) -> str:
        """Why a worker leaves now; empty: it does not."""
        if self.leave.words:
            return self.sends_away
        if not self.is_paused or self.waits(worker, seen, settings) > 0:
            return ""
        if not seen.wishes.freezable:
            return f"{self.words}, and it can't be frozen here"
        longest = human_seconds(frozen_patience(worker, settings))
        return f"{self.words}, and it does not wait for longer than {longest}"

    def wants_frozen(self, seen: Observation) -> bool:
        """Whether nobody may run: somebody is there, and nobody needs to."""
        if not self.is_paused or not seen.wishes.freezable or seen.stopping:
            return False
        soon = seen.time - self.since < STARTING
        return seen.fleet.line != () and not any(_must_run(w, soon) for w in seen.fleet.workers)

    def next_change(self, seen: Observation, settings: Settings) -> float:
        """Seconds until something may change by itself."""
        left = math.inf if seen.wishes.left is None else seen.wishes.left
        waits = [left, self.pause.left(seen, settings), self.leave.left(seen, settings)]
        if self.is_paused and seen.fleet.line:
            waits.append(self.waits(seen.fleet.line[-1], seen, settings))
        return min(waits)

    def was_frozen(self, ended: Ended, seen: Observation) -> bool:
        """Whether a pause may be why this one found no work."""
        return self.is_paused or seen.boottime - ended.age < self.ended > seen.boottime - CATCHING_UP


def _must_run(worker: Worker, soon: bool) -> bool:
    """What is killed dies frozen as well."""
    return worker.phase is Phase.LEAVING or (soon and worker.phase is Phase.STARTING)


def with_one_freezer(
    actions: tuple[Action, ...], standing: Standing, disk_freezes: bool, seen: Observation
) -> tuple[Action, ...]:
    """These actions with what freezes or thaws the workers first, and once: a pause and the disk's
    rule do it by one file. ``disk_freezes``: the disk's rule wants them frozen."""
    if not standing.is_paused and not seen.frozen:
        return actions
    others = tuple(action for action in actions if not isinstance(action, Freeze | Thaw))
    if standing.wants_frozen(seen) and not any(isinstance(action, Leave) for action in actions):
        return others if seen.frozen else (Freeze(standing.words), *others)
    if disk_freezes or not seen.frozen or len(others) < len(actions):
        return actions
    why = "some must leave" if standing.is_paused else "the pause is over"
    return (Thaw(why), *others)
