"""The disk's reserve: when it is undercut, and who of the workers fills the disk; and what a new
worker may promise to its jobs. Pure.

Below the reserve nobody may write, so the workers are frozen: for seconds, until the one that wrote
most is gone. If nobody wrote much lately, the one whose files are largest leaves in order, or else
the last in line, one after the other. What has left takes its files along.
"""

import math

import msgspec

from plancton.model import Action, Freeze, Kill, Leave, Observation, Phase, Settings, Thaw, Writer
from plancton.policy.fit import most_workers
from plancton.units import human_bytes

DISK_WAIT = 30.0
"""The next worker leaves for the disk when the one before has had this long to take its files away."""
MOST_FROZEN = 3.0
"""Seconds for which workers that did nothing are frozen at most."""
DROPPED = 0.9
"""Once less than this part is free of what was free when the writer was last looked for, somebody
goes on writing."""
FASTEST, MANY_FILES = 64 << 20, 8 << 20
"""Bytes written lately, within a minute at most, from which on a worker may be what fills the disk;
and kernel memory for which it must have made some 5,000 files (1.7 kB each on ext4)."""
GOING = frozenset({Phase.LEAVING, Phase.KILLED})
LARGE = 256 << 20
"""Files smaller than this in all don't fill a disk."""


class DiskTrouble(msgspec.Struct, frozen=True):
    """What has been done about it.

    ``frozen`` is the CLOCK_MONOTONIC since when the workers are; ``caught``: a writer was ended
    since; ``left`` is the part that was free when one was last looked for; ``last_left`` the
    CLOCK_BOOTTIME at which one was last going while the disk was short.
    """

    frozen: float | None = None
    caught: bool = False
    left: float = math.inf
    last_left: float = -math.inf

    @property
    def is_frozen(self) -> bool:
        return self.frozen is not None

    def is_over(self, seen: Observation, dying: bool) -> bool:
        """Whether nobody needs to be frozen any longer."""
        if self.frozen is None or seen.time - self.frozen >= MOST_FROZEN:
            return True
        return not dying if self.caught else any(w.size is not None for w in seen.writers)

    def looks_for_writer(self, seen: Observation, settings: Settings) -> bool:
        """Whether the one who wrote most is to be ended: one each time that there is less."""
        if self.is_frozen:
            return not self.caught
        return _left(seen, settings) < DROPPED * self.left

    def waits(self, seen: Observation) -> bool:
        """Whether one has gone just now, and has yet to take its files away."""
        return seen.boottime - self.last_left < DISK_WAIT

    def after(self, actions: tuple[Action, ...], seen: Observation, settings: Settings) -> "DiskTrouble":
        """With these actions under way."""
        kinds, short = {type(action) for action in actions}, is_short_of_disk(seen, settings)
        caught = any(isinstance(action, Kill) and action.at_once for action in actions)
        frozen = seen.time if Freeze in kinds else None if Thaw in kinds else self.frozen
        left = math.inf if not short else _left(seen, settings) if caught or Freeze in kinds else self.left
        going = short and any(w.phase in GOING and not w.stuck for w in seen.fleet.workers)
        went = short and (caught or Leave in kinds or going)
        return DiskTrouble(
            frozen=frozen,
            caught=caught or (self.caught and Freeze not in kinds),
            left=left,
            last_left=seen.boottime if went else self.last_left,
        )


def is_short_of_disk(seen: Observation, settings: Settings) -> bool:
    if seen.disk_free is None:
        return False
    return seen.disk_free < settings.reserve_disk or _is_short_of_inodes(seen, settings)


def parts_left(seen: Observation, settings: Settings) -> int | None:
    """How many more workers can be promised `worker_disk`; None: any number.

    What the others have been promised counts whole, though they have written some of it: how much
    only Docker knows, which would have to go through all of their files.
    """
    if seen.disk_free is None or settings.worker_disk is None:
        return None
    free = seen.disk_free - settings.reserve_disk
    return max(0, free // settings.worker_disk - len(seen.fleet.workers))


def promise(seen: Observation, settings: Settings) -> int | None:
    """The bytes that a new worker may promise to its jobs; None: not known."""
    if settings.worker_disk is not None or seen.disk_free is None:
        return settings.worker_disk
    return max(0, seen.disk_free - settings.reserve_disk) // most_workers(seen, settings)


def too_little_to_promise(seen: Observation, settings: Settings) -> str:
    """Why no worker more can be promised its part, with figures."""
    count = len(seen.fleet.workers) + 1
    workers = "a worker is" if count == 1 else f"{count} workers are"
    takes, free = count * (settings.worker_disk or 0), (seen.disk_free or 0) - settings.reserve_disk
    left = human_bytes(max(0, free))
    return f"the owner leaves {left} of disk, {workers} promised {human_bytes(takes)}"


def _is_short_of_inodes(seen: Observation, settings: Settings) -> bool:
    """As many inodes are reserved as bytes, in parts of the whole."""
    inodes, total = seen.disk_inodes, seen.disk_total
    return inodes is not None and bool(total) and inodes < settings.reserve_disk / (total or 1)


def _lacks_only_inodes(seen: Observation, settings: Settings) -> bool:
    return (seen.disk_free or 0) >= settings.reserve_disk


def _left(seen: Observation, settings: Settings) -> float:
    """Which part is free of what it is short of."""
    if _lacks_only_inodes(seen, settings):
        return seen.disk_inodes or 0.0
    return (seen.disk_free or 0) / (seen.disk_total or 1)


def disk_shortage(seen: Observation, settings: Settings) -> str:
    """What it is short of, with figures; empty: of nothing."""
    if not is_short_of_disk(seen, settings):
        return ""
    where = f" ({seen.disk_path})" if seen.disk_path else ""
    if _lacks_only_inodes(seen, settings):
        reserved = settings.reserve_disk / (seen.disk_total or 1)
        return f"only {seen.disk_inodes or 0:.1%} of the inodes are free, {reserved:.1%} are reserved{where}"
    free, reserve = human_bytes(seen.disk_free or 0), human_bytes(settings.reserve_disk)
    return f"only {free} of disk are free, {reserve} are reserved{where}"


def fastest_writer(seen: Observation, settings: Settings) -> Writer | None:
    """Who wrote most lately, or made most files where it is these that lack; None: nobody did much."""
    there = {w.name for w in seen.fleet.workers if w.phase is not Phase.KILLED}
    files = _lacks_only_inodes(seen, settings)
    found = [w for w in seen.writers if w.name in there]
    most = max(found, key=lambda w: w.kernel if files else w.wrote, default=None)
    if most is None or (most.kernel < MANY_FILES if files else most.wrote < FASTEST):
        return None
    return most


def largest_writer(seen: Observation) -> Writer | None:
    """Whose files are largest, as Docker says; None where that is not known or they are small."""
    most = max(seen.writers, key=lambda w: w.size or 0, default=None)
    return most if most is not None and (most.size or 0) >= LARGE else None
