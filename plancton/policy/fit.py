"""How many workers fit beside the owner, and how many more could start. Pure.

A worker fits while the room, less all that the workers before it in line may use, is worth at least
`worthwhile` of its own CPUs, and the same for memory.
"""

import math
from bisect import bisect_left
from typing import NamedTuple

from plancton.model import Fleet, Observation, Settings

MARGIN = 0.2
"""More of its CPU must be free to start a worker than to keep one, so that the two don't alternate."""
MOST_WORKERS = 4096
"""No host has room for more; a bound for counting with tiny workers."""


class Room(NamedTuple):
    """What the owner leaves to workers, or what a worker needs: CPUs and bytes."""

    cpus: float
    memory: float

    def holds(self, needed: "Room") -> bool:
        return needed.cpus <= self.cpus and needed.memory <= self.memory


def room_now(seen: Observation, settings: Settings, cap: float | None = None) -> Room | None:
    """What the owner left in the last interval, of the CPUs no more than ``cap``; None while the
    kernel's figures don't say."""
    if seen.owner is None:
        return None
    cpus = seen.capacity - (seen.stolen or 0.0) - seen.owner - settings.reserve_cpus
    cpus = min([cpus, *(most for most in (settings.most_cpus, cap) if most is not None)])
    most = math.inf if settings.most_memory is None else settings.most_memory
    if seen.memory_available is None:
        return Room(cpus, most)
    owners = max(0, seen.memory_total - seen.memory_available - (seen.slice_anon or 0))
    return Room(cpus, min(most, seen.memory_total - settings.reserve_memory - owners))


def needs_to_stay(fleet: Fleet, place: int, settings: Settings) -> Room:
    """The room from which on the worker at this place in line fits."""
    worker = fleet.line[place]
    return Room(
        fleet.cpus_before[place] + settings.worthwhile * worker.cpus,
        fleet.memory_before[place] + settings.worthwhile * worker.memory,
    )


def count_fit(fleet: Fleet, max_workers: int | None, room: Room, settings: Settings) -> int:
    """How many of the workers in line fit, the first in line first.

    What a worker needs grows along the line, so the first that does not fit ends the count.
    """
    most = len(fleet.line) if max_workers is None else min(max_workers, len(fleet.line))
    return bisect_left(
        range(most), True, key=lambda place: not room.holds(needs_to_stay(fleet, place, settings))
    )


def needs_to_start(fleet: Fleet, more: int, settings: Settings) -> Room:
    """The room from which on ``more`` new workers may be started beside all that exist.

    Their memory is asked for whole: it is a promise, and taking it back costs a worker its job.
    """
    part = min(1.0, settings.worthwhile + MARGIN)
    return Room(
        fleet.present_cpus + (more - 1 + part) * settings.worker_cpus,
        fleet.present_memory + more * settings.worker_memory,
    )


def most_workers(seen: Observation, settings: Settings) -> int:
    """How many this host could ever hold; at least one more than there are."""
    most = min(seen.capacity / settings.worker_cpus, seen.memory_total / settings.worker_memory)
    most = most if seen.max_workers is None else min(most, seen.max_workers)
    return max(int(most), len(seen.fleet.workers) + 1)


def startable(fleet: Fleet, max_workers: int | None, room: Room, settings: Settings) -> int:
    """How many more workers the room is worth, beside all that exist."""
    most = MOST_WORKERS if max_workers is None else max_workers
    count = 0
    while len(fleet.workers) + count < most and room.holds(needs_to_start(fleet, count + 1, settings)):
        count += 1
    return count
