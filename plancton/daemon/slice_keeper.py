"""Keeps the slice as it must be: its bounds, its CPUs, its tier, whatever others do to it."""

from collections.abc import Callable, Collection
from pathlib import Path

from plancton.config.resolve import Host, bounds, read_cpus
from plancton.config.watch import ConfigFile
from plancton.daemon.contention_watch import ContentionWatch
from plancton.daemon.host_figures import HostFigures
from plancton.daemon.host_settings import HostSettings
from plancton.host.slice import Slice
from plancton.host.slice_bounds import Limits
from plancton.host.topology import Cpus, Topology
from plancton.model import Capped, Observation
from plancton.policy.cpu_cap import slice_limit
from plancton.workers.roster import Roster

LOOK_ALL_THE_SAME = 30.0
"""Seconds after which it is looked at although the kernel has told of nothing: it does not tell of
what is written through another cgroup namespace's mount, or by a program that keeps the file open,
or what the kernel changes by itself."""


class SliceWatch:
    """Only the loop calls it. ``watch`` asks the kernel to tell when one of these files is written;
    whether it does."""

    def __init__(self, watch: Callable[[Collection[Path]], bool]) -> None:
        self._watch = watch
        self._told = False
        self._next = 0.0

    def changed(self) -> None:
        """Somebody has written to the slice: it is due."""
        self._next = 0.0

    def is_due(self, now: float, workers_slice: Slice) -> bool:
        """Whether to look now. The files are watched before they are read, and again each time:
        the slice may have been removed and made again."""
        if self._told and workers_slice.settled and now < self._next:
            return False
        self._told = self._watch(workers_slice.files())
        self._next = now + LOOK_ALL_THE_SAME
        return True


class SliceKeeper:
    """Only the loop calls it. ``slice`` is None until Docker is found. ``watch``: see `SliceWatch`;
    ``may_write``: this is no dry run. ``is_touched``: it is to be looked at soon."""

    def __init__(
        self,
        file: ConfigFile,
        roster: Roster,
        in_force: HostSettings,
        figures: HostFigures,
        contention: ContentionWatch,
        say: Callable[[str], None],
        watch: Callable[[Collection[Path]], bool],
        may_write: bool,
    ) -> None:
        self._file, self._roster, self._in_force = file, roster, in_force
        self._figures, self._contention, self._say, self._may_write = figures, contention, say, may_write
        self._watch = SliceWatch(watch)
        self._topology, self._cpus = Topology(), Cpus()
        self._limits = Limits()
        self._cap: Capped | None = None
        self._host: Host | None = None
        self.slice: Slice | None = None
        self.is_touched = False

    def touched(self) -> None:
        """Somebody has written to it, or it is to be another one."""
        self._watch.changed()
        self.is_touched = True

    def look_for_owner(self, if_more: bool = False) -> None:
        self._contention.find(self.slice, self._in_force.settings.caps_waiting, if_more)

    def look_at_cpus(self) -> None:
        """See which CPUs are there for workers and which for the owner."""
        allowed = self.slice.allowed_cpus() if self.slice else None
        self._look_at_limits()
        cpus = read_cpus(self._file.config, self._topology, allowed)
        if cpus.counted != self._cpus.counted:
            self._figures.count(cpus.counted)
        if cpus != self._cpus:
            self.touched()  # it is bound to other CPUs now
        self._cpus = cpus
        if self.slice:
            self.slice.counted = cpus.number
        self.look_for_owner(if_more=True)

    def _look_at_limits(self) -> None:
        """The administrator's own may have changed: they are said, and what fits is another number."""
        before = self._limits
        if self.slice is None or self.slice.limits == before:
            return
        self._limits, self._in_force.host = self.slice.limits, None
        self.touched()
        if self._limits.words != before.words:
            self._say(f"the administrator's own limits of the slice: {self._limits.words or 'none'}")

    def resolve(self, seen: Observation) -> None:
        """See to it that the settings are those for the host as it is now, and was at the tick before:
        workers must not pay for one odd reading."""
        disk = seen.disk_total or 0
        host = Host(int(seen.capacity), seen.memory_total, seen.swap_total, disk, self._cpus.most)
        before, self._host = self._host, host
        known = self._in_force.host
        if host != known and host.ram and (host == before or known is None):
            self._in_force.update(self._file.config, host, self.slice)
            self.look_at_cpus()
            self.look_for_owner()
            self._bound(host)  # before the first worker starts

    def keep_to(self, cap: Capped | None) -> None:
        """Keep the workers to what the owner lets all of them use."""
        before = self._cap
        if cap == before or self.slice is None or self._in_force.host is None:
            return
        self._cap = cap
        self._bound(self._in_force.host)
        if cap is None:
            self._say("all workers together may use all that is idle again")
        elif before is None or cap.reason != before.reason:
            self._say(f"all workers together may use {cap.cpus:g} CPUs: {cap.reason}")

    def _bound(self, host: Host) -> None:
        if self.slice is None or not self._may_write:
            return
        wanted = bounds(self._file.config, host, self._cpus.for_workers)
        if self._cap:
            wanted = wanted.capped(slice_limit(self._cap.cpus, self._roster.fleet, self._in_force.settings))
        if self.slice.bounds != wanted:
            self.slice.bound(wanted)

    def verify(self, now: float) -> None:
        """Look at it if it is time, and put back what is not as it must be."""
        if self.slice is None or not self._watch.is_due(now, self.slice):
            return
        if self._in_force.host is not None:
            self._bound(self._in_force.host)
        if repaired := self.slice.repair():
            self._say(repaired)
            self._in_force.host = None  # the tier may be another one
