"""Looks at the disks that workers write to: ever more often as they fill, and at who fills them.

Only the loop calls it. Docker is asked beside the loop how large the workers' files are, because it
goes through all of them for that.
"""

import math
from collections.abc import Iterable
from functools import partial

import msgspec

from plancton.config.schema import Config
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError
from plancton.docker.replies import Info
from plancton.host.cgroup_mounts import PROC
from plancton.host.slice import Slice
from plancton.inbox import Inbox, beside
from plancton.model import Observation, Writer
from plancton.units import Portion
from plancton.workers.container import INSTANCE
from plancton.workers.disks import Disks, is_near, read_disks, seconds_to_next_look, written_by_workers
from plancton.workers.roster import Entry
from plancton.workers.writers import Sizes, Writers

ASKED_AGAIN, FALLEN = 10.0, 64 << 20
"""Seconds, at least, between two questions to Docker how large files are; and bytes that must have
gone in between: a disk that stays nearly full costs nothing."""


class DiskGuard:
    """``disks`` are as they were found last; ``look_due`` is when they are looked at next
    (CLOCK_MONOTONIC)."""

    def __init__(self, socket: str, instance: str, inbox: Inbox) -> None:
        self._socket, self._instance, self._inbox = socket, instance, inbox
        self._paths = tuple[str, ...]()
        self._news: tuple[Info, Config] | None = None
        self._writers: Writers | None = None
        self._sizes = Sizes()
        self._asking, self._next_question, self._free_then = False, 0.0, math.inf
        self._found = tuple[Writer, ...]()
        self.disks, self.look_due = Disks(), 0.0

    def watch(self, info: Info, config: Config) -> None:
        """Look at the disks of this Docker and this configuration from now on. Which they are is found
        out at the next step: that may fail for want of a descriptor, and is tried again there."""
        self._news, self.look_due = (info, config), 0.0

    def watch_slice(self, workers_slice: Slice) -> None:
        self._writers = Writers(workers_slice)

    def step(self, now: float, reserve: Portion, entries: Iterable[Entry]) -> None:
        """Look, if that is due; at the workers only if it matters who writes."""
        self._found = ()
        if now < self.look_due:
            return
        if self._news:
            self._paths, self._news = written_by_workers(*self._news, PROC), None
        self.disks = read_disks(self._paths, reserve)
        self.look_due = now + seconds_to_next_look(self.disks, reserve)
        disk = self.disks.least
        if self._writers and disk and is_near(disk, reserve):
            self._found = self._writers.look(now, entries, self._sizes)
            short = disk.margin(reserve) < 0
            if self._found and (short or disk.free <= self._free_then - FALLEN):
                self._ask(now, disk.free, short)

    def _ask(self, now: float, free: int, short: bool) -> None:
        """Docker looks at each file, so it is asked seldom."""
        soon = short and self._free_then - free >= FALLEN
        if not self._asking and (soon or now >= self._next_question):
            self._asking, self._next_question, self._free_then = True, now + ASKED_AGAIN, free
            beside(self._inbox, partial(_sizes, self._socket, self._instance), self._answered)

    def _answered(self, sizes: dict[str, int]) -> None:
        self._asking, self._sizes = False, Sizes(sizes, self._sizes.now or None)

    def completed(self, seen: Observation) -> Observation:
        disk = self.disks.least
        if disk is None:
            return seen
        return msgspec.structs.replace(
            seen,
            disk_free=disk.free,
            disk_total=disk.total,
            disk_path=disk.path,
            disk_inodes=disk.inodes,
            writers=self._found,
        )


def _sizes(socket: str, instance: str) -> dict[str, int]:
    try:
        with Docker(socket) as docker:
            return docker.sizes(f"{INSTANCE}={instance}")
    except DockerError:
        return {}
