"""When the next tick is due. Pure.

Where the kernel yields, nothing that must be quick depends on a tick. So the loop sleeps until a
decision may be due: until a window could fill, a deadline passes, or memory could have run short.
Where a quota has to follow the owner, the loop glances at the host each second, and ticks when the
quota would change (`changes_nothing`).
It sleeps no longer than ``calm`` seconds, or ``steady`` ones where nothing has moved for a minute
and workers rest, and no longer than a part of the windows.
"""

import math

from plancton.model import Decision, Fleet, Observation, Settings
from plancton.policy.contention import workers_get_some
from plancton.policy.decide import quota_in_force
from plancton.policy.disk import is_short_of_disk
from plancton.policy.memory_reserve import is_short_of_memory
from plancton.policy.quota import adjust
from plancton.policy.sliding_window import LONG_ENOUGH
from plancton.policy.starting import holds_another
from plancton.policy.state import State
from plancton.policy.unfit_patience import until_enough

BRISK = 1.0
"""Seconds between two ticks while something is under way; the least there is."""
PART = 1 / 3
"""No tick is longer than this part of a window: the window's averages would mean nothing."""
STEADY = 0.05
"""There is as much room as before: within this part of the host's CPUs."""
AT_REST = 0.1
"""CPUs: workers that use more may compete with the owner for the CPU, the network or the disk, which
is found at ticks."""
STRETCH, LONGEST = 3.0, 15.0
"""Where nothing moves, or on battery, ticks are that many times as far apart, but no further for
that than LONGEST seconds."""
FASTEST = 1_000_000_000
"""Bytes per second that an owner is expected to take at most. One thread of a fast computer, which
has to clear each page, takes a few times as much, but only for moments."""


def next_tick(
    seen: Observation, decision: Decision, state: State, settings: Settings, calm: float, steady: float
) -> float:
    """Seconds from this tick to the next, BRISK … ``calm``, or ``steady`` where nothing moves."""
    if decision.actions or _is_under_way(seen, settings):
        return BRISK
    waits = (
        settings.grace_kill * PART,
        settings.grace_spawn * PART,
        seen.fleet.next_deadline - seen.time,
        _until_one_leaves(seen, decision, state, settings),
        _until_one_starts(seen, decision, state, settings),
        _until_memory_is_short(seen, settings),
        state.standing.next_change(seen, settings),
        state.cap.left(seen, settings),
    )
    return max(BRISK, min(steady if _is_steady(seen, state) else calm, *waits))


def changes_nothing(lately: Observation, fleet: Fleet, state: State, settings: Settings) -> bool:
    """Whether a tick that saw this would leave each worker's quota as it is."""
    if lately.owner is None:
        return False
    quota = quota_in_force(lately, state, settings)
    return quota == state.quota or not adjust(fleet, quota)


def stretched(calm: float) -> float:
    """Seconds between ticks where they matter less than where this many are between them."""
    return max(calm, min(STRETCH * calm, LONGEST))


def _is_steady(seen: Observation, state: State) -> bool:
    """Whether workers rest, and there was about as much room all the time that `State.spawn` looks
    back."""
    if workers_get_some(seen) or (seen.donated or 0.0) > AT_REST:
        return False
    rooms = [span.room for span in state.spawn.spans]
    return state.spawn.covered and max(rooms) - min(rooms) <= STEADY * seen.capacity


def _is_under_way(seen: Observation, settings: Settings) -> bool:
    """Whether each second may change something, or what is known is not enough to tell."""
    return (
        seen.owner is None
        or not seen.docker
        or seen.stopping
        or seen.unexplained
        or seen.fleet.changing
        or is_short_of_memory(seen, settings)
        or is_short_of_disk(seen, settings)
    )


def _until_one_leaves(seen: Observation, decision: Decision, state: State, settings: Settings) -> float:
    """Until the last in line can have been unfit for long enough."""
    last = len(seen.fleet.line) - 1
    if decision.fit > last or decision.paused:
        return math.inf
    return until_enough(seen.fleet, last, state.kill, state.long, settings)


def _until_one_starts(seen: Observation, decision: Decision, state: State, settings: Settings) -> float:
    """Until there can have been room for another one for long enough."""
    if decision.held or decision.fit <= len(seen.fleet.line):
        return math.inf
    window = state.spawn
    length = min(settings.first_start, window.length) if state.first else window.length
    return window.earliest(length, LONG_ENOUGH, holds_another(seen.fleet, settings))


def _until_memory_is_short(seen: Observation, settings: Settings) -> float:
    """Until the owner can have taken all that is there beyond the reserve."""
    if seen.memory_available is None or not seen.fleet.workers:
        return math.inf
    return (seen.memory_available - settings.reserve_memory) / FASTEST
