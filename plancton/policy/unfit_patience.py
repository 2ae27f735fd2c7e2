"""How long a worker waits that does not fit: as long as what would be lost with it. Pure.

Who waits as long as what he would lose never pays more than twice what he had paid by knowing the
future: Karlin, Manasse, Rudolph and Sleator, Competitive snoopy caching, Algorithmica 3 (1988),
which is known as the rule for renting skis. The kernel gives the owner everything meanwhile.

Only for CPU, which is yielded without it. Memory that the owner wants, and a maximum that somebody
sets, are served after `grace_kill` whatever is lost.
"""

from collections.abc import Callable

from plancton.model import Fleet, Settings, Worker
from plancton.policy.fit import needs_to_stay
from plancton.policy.sliding_window import LONG_ENOUGH, SlidingWindow, Span

LONGEST_SILENCE = 1_200.0
"""Who is frozen does not answer its pool, which gives up on it: HTCondor's worker drops its claim
after six times ALIVE_INTERVAL without a word (half an hour), and the schedd a job after its lease."""


def patience_of(worker: Worker, settings: Settings) -> float:
    """Seconds: at least `grace_kill`, and `stake` times what its jobs have used, up to
    `longest_wait`. It leaves after two thirds of them: with 1.5 after what they have used."""
    return max(settings.grace_kill, min(settings.stake * worker.stake, settings.longest_wait))


def frozen_patience(worker: Worker, settings: Settings) -> float:
    """Seconds: as long as one that does not fit waits, within what pools put up with."""
    return max(settings.grace_kill, min(LONGEST_SILENCE, patience_of(worker, settings)))


def longest_patience(settings: Settings) -> float:
    return max(settings.grace_kill, settings.longest_wait if settings.stake else 0.0)


def has_not_fitted(
    fleet: Fleet, place: int, kill: SlidingWindow, long: SlidingWindow, settings: Settings
) -> float | None:
    """For how many seconds the worker at this place in line has not fitted, once that is enough to
    leave. ``kill`` is the window of `grace_kill`, ``long`` that of the longest patience."""
    part = kill.part(is_unfit(fleet, place, settings))
    if part < LONG_ENOUGH:
        return None
    length = patience_of(fleet.line[place], settings)
    if length <= settings.grace_kill or kill.part(lacks_promise(fleet, place, settings)) >= LONG_ENOUGH:
        return part * settings.grace_kill
    waited = long.seconds(length, is_unfit(fleet, place, settings))
    return waited if waited >= LONG_ENOUGH * length else None


def until_enough(
    fleet: Fleet, place: int, kill: SlidingWindow, long: SlidingWindow, settings: Settings
) -> float:
    """Seconds until `has_not_fitted` can be true at the earliest, if it goes on not fitting."""
    unfit = is_unfit(fleet, place, settings)
    soonest = kill.earliest(kill.length, LONG_ENOUGH, unfit)
    length = patience_of(fleet.line[place], settings)
    if length <= settings.grace_kill:
        return soonest
    promised = kill.earliest(kill.length, LONG_ENOUGH, lacks_promise(fleet, place, settings))
    waited = LONG_ENOUGH * length - long.seconds(length, unfit)
    return max(soonest, min(promised, waited))


def is_unfit(fleet: Fleet, place: int, settings: Settings) -> Callable[[Span], bool]:
    """Whether the worker at this place in line did not fit during a span."""
    cpus, memory = needs_to_stay(fleet, place, settings)
    return lambda span: span.room < cpus or span.memory_room < memory or place >= span.max_workers


def lacks_promise(fleet: Fleet, place: int, settings: Settings) -> Callable[[Span], bool]:
    """Whether it did not fit for what no priority yields: memory, and the maximum."""
    _, memory = needs_to_stay(fleet, place, settings)
    return lambda span: span.memory_room < memory or place >= span.max_workers
